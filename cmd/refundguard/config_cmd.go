package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

// configFlag adds -c, which every command that reads a configuration has.
func configFlag(cmd *cobra.Command) *string {
	return cmd.Flags().StringP("config", "c", os.Getenv("REFUNDGUARD_CONFIG"),
		"configuration file; $REFUNDGUARD_CONFIG names it too")
}

// outputFlag adds -o, which every command that prints a table has.
func outputFlag(cmd *cobra.Command) *string {
	return cmd.Flags().StringP("output", "o", "text", "output format: text or json")
}

func checkOutput(format string) error {
	if format != "text" && format != "json" {
		return usage{fmt.Errorf("--output %q is neither text nor json", format)}
	}
	return nil
}

func newConfigCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "config",
		Short:   "Looks at the configuration",
		Example: "  refundguard config print -c refundguard.yaml",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newConfigPrintCmd())
	return cmd
}

func newConfigPrintCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "print",
		Short: "Prints the configuration that holds, secrets hidden, and what is wrong with it",
		Long: `Prints the configuration that holds: defaults, then the file, then the
environment, each over the one before. Secrets are hidden. What is wrong goes to
standard error, and the exit code is then 1.

Every key can be set in the environment: its path in upper case, joined by _,
after REFUNDGUARD_. Lists are written with commas; a section of a list has its
number, from 0; a variable that is set to nothing counts as not set:

  REFUNDGUARD_KAFKA_SEED_BROKERS=kafka-0:9092,kafka-1:9092
  REFUNDGUARD_STREAMS_REFUNDS_DECIDE_FROM=latest
  REFUNDGUARD_CURRENCY_RATES_EUR=1.08
  REFUNDGUARD_WEBHOOKS_0_SECRET_FILE=/run/secrets/webhook`,
		Example: `  refundguard config print -c refundguard.yaml
  refundguard config print -c refundguard.yaml --origin
  REFUNDGUARD_KAFKA_SEED_BROKERS=kafka:9092 refundguard config print -o json`,
		Args: cobra.NoArgs,
	}
	file, output := configFlag(cmd), outputFlag(cmd)
	origin := cmd.Flags().Bool("origin", false, "say where each value comes from")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkOutput(*output); err != nil {
			return err
		}
		l, err := loadConfig(*file, os.Environ())
		if err != nil {
			return err
		}
		if err := printConfig(cmd, l, *output, *origin); err != nil {
			return err
		}
		if err := l.check(); err != nil {
			fmt.Fprintln(cmd.ErrOrStderr(), err)
			return errReported
		}
		return nil
	}
	return cmd
}

func printConfig(cmd *cobra.Command, l *loaded, output string, origin bool) error {
	if output == "text" {
		var from func(string) string
		if origin {
			from = l.from.Origin
		}
		text, err := l.shown.YAML(from)
		if err != nil {
			return err
		}
		_, err = cmd.OutOrStdout().Write(text)
		return err
	}
	var document any = l.shown
	if origin {
		origins := map[string]string{}
		for _, key := range l.shown.Keys() {
			origins[key] = l.from.Origin(key)
		}
		document = map[string]any{"config": l.shown, "origins": origins}
	}
	encoder := json.NewEncoder(cmd.OutOrStdout())
	encoder.SetIndent("", "  ")
	return encoder.Encode(document)
}
