package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/refundguard/refundguard/rules/editor"
)

func newRulesSchemaCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "schema",
		Short: "Prints the JSON Schema of rule files, for editors",
		Long: `Prints the JSON Schema (2020-12) of rule files: with it an editor completes keys
and values, shows what they mean and underlines what is wrong. Save it beside the
rules as ` + editor.SchemaFile + `; the first line of a rule file then names it:

  ` + editor.Modeline + `

With a configuration the documentation of conditions has its streams and fields.

Exit codes: 0 fine, 1 the configuration is faulty, 2 the command was given
wrongly.`,
		Example: `  refundguard rules schema > rules/` + editor.SchemaFile + `
  refundguard rules schema -c refundguard.yaml`,
		Args: cobra.NoArgs,
	}
	file := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		target, err := findRules(*file, os.DevNull) // no rules are read
		if err != nil {
			return err
		}
		_, err = cmd.OutOrStdout().Write(editor.Schema(target.options.Schema))
		return err
	}
	return cmd
}
