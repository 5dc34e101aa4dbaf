package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/refundguard/refundguard/sinks/clickhouse"
)

func newMigrateCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Creates or brings up to date the tables in ClickHouse",
		Long: `Creates the database clickhouse.database and its tables, or brings them up to
date. It can be repeated. run does the same at start, unless clickhouse.migrate
is false.`,
		Example: "  refundguard migrate -c refundguard.yaml",
		Args:    cobra.NoArgs,
	}
	file := configFlag(cmd)
	observe := observeFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		l, err := readClickHouse(*file, *observe)
		if err != nil {
			return err
		}
		applied, err := clickhouse.Migrate(cmd.Context(), l.ClickHouse)
		for _, name := range applied {
			fmt.Fprintln(cmd.OutOrStdout(), "applied", name)
		}
		if err == nil && len(applied) == 0 {
			fmt.Fprintf(cmd.OutOrStdout(), "database %s is up to date\n", l.ClickHouse.Database)
		}
		return err
	}
	return cmd
}

func observeFlag(cmd *cobra.Command) *bool {
	return cmd.Flags().Bool("observe", false, "beside a live deployment: topics, groups and database of its own, nothing is paid or alerted")
}
