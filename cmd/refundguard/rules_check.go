package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/refundguard/refundguard/rules"
)

func newRulesCheckCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check [DIR | FILE]",
		Short: "Checks rule files as run would, and says what is wrong and where",
		Long: `Checks a folder of rule files, or one file by itself, as run would: rules.dir of
the configuration, or rules, unless one is named. With a configuration its
streams, fields and currencies are known too.

Output formats: text; json; github, which shows the findings at their lines in a
pull request when it runs in a GitHub workflow; junit, a test report with one
test per rule.

Exit codes: 0 the rules are fine (there may be warnings), 1 they are not, 2 the
command was given wrongly.`,
		Example: `  refundguard rules check
  refundguard rules check rules --strict
  refundguard rules check rules -c refundguard.yaml -o json
  refundguard rules check rules -o junit > rules.xml`,
		Args: cobra.MaximumNArgs(1),
	}
	file := configFlag(cmd)
	output := cmd.Flags().StringP("output", "o", "text", "output format: text, json, github or junit")
	strict := cmd.Flags().Bool("strict", false, "a value that may be missing, and nothing says what then, is an error")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		write := reportFormats[*output]
		if write == nil {
			return usage{fmt.Errorf("--output %q is none of text, json, github and junit", *output)}
		}
		target, err := findRules(*file, argument(args, 0))
		if err != nil {
			return err
		}
		target.options.Strict = target.options.Strict || *strict
		r := ruleReport{Dir: target.dir, Findings: rules.Errors{}}
		r.set, err = rules.Load(target.dir, target.options)
		switch {
		case err == nil:
			r.OK, r.Rules, r.Version, r.Past = true, len(r.all()), r.set.Version, pastOf(r.set)
			r.Findings = append(r.Findings, r.set.Warnings...)
		case !errors.As(err, &r.Findings):
			return err
		}
		if err := write(cmd, &r); err != nil {
			return err
		}
		if !r.OK {
			return errReported
		}
		return nil
	}
	return cmd
}
