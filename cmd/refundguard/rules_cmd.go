package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/refundguard/refundguard/rules"
)

func newRulesCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "rules",
		Short:   "Works with rule files",
		Example: "  refundguard rules check rules",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newRulesCheckCmd())
	return cmd
}

func newRulesCheckCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check [DIR | FILE]",
		Short: "Checks rule files as run would, and says what is wrong and where",
		Long: `Checks a folder of rule files, or one file, as run would: rules.dir of the
configuration, or rules, unless one is named. With a configuration its streams,
fields and currencies are known too.

Exit codes: 0 the rules are fine (there may be warnings), 1 they are not, 2 the
command was given wrongly.`,
		Example: `  refundguard rules check
  refundguard rules check rules --strict
  refundguard rules check rules -c refundguard.yaml -o json`,
		Args: cobra.MaximumNArgs(1),
	}
	file, output := configFlag(cmd), outputFlag(cmd)
	strict := cmd.Flags().Bool("strict", false, "warnings are errors")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkOutput(*output); err != nil {
			return err
		}
		l, err := loadConfig(*file, os.Environ())
		if err != nil {
			return err
		}
		if len(l.faults) > 0 {
			return l.faults
		}
		if err := l.Pipeline.Validate(); err != nil {
			return l.from.Faults("", err)
		}
		schema, err := l.Pipeline.Schema()
		if err != nil {
			return err
		}
		options := l.Pipeline.RuleOptions(schema)
		options.Strict = options.Strict || *strict
		dir := l.Pipeline.Rules.Dir
		if len(args) == 1 {
			dir = args[0]
		}
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			return usage{fmt.Errorf("%s does not exist; name a folder of rule files, or one file", dir)}
		}
		set, err := rules.Load(dir, options)
		return report(cmd, *output, dir, set, err)
	}
	return cmd
}

// ruleReport is what rules check prints as JSON.
type ruleReport struct {
	OK       bool         `json:"ok"`
	Dir      string       `json:"dir"`
	Rules    int          `json:"rules"`
	Version  string       `json:"version,omitempty"`
	Findings rules.Errors `json:"findings"`
}

func report(cmd *cobra.Command, output, dir string, set *rules.Set, err error) error {
	r := ruleReport{OK: err == nil, Dir: dir, Findings: rules.Errors{}}
	switch {
	case set != nil:
		r.Rules, r.Version = len(set.Rules), set.Version
		r.Findings = append(r.Findings, set.Warnings...)
	case !errors.As(err, &r.Findings):
		return err
	}
	if output == "json" {
		encoder := json.NewEncoder(cmd.OutOrStdout())
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(r); err != nil {
			return err
		}
	} else if err := reportText(cmd, r); err != nil {
		return err
	}
	if !r.OK {
		return errReported
	}
	return nil
}

func reportText(cmd *cobra.Command, r ruleReport) error {
	out := cmd.OutOrStdout()
	warnings := 0
	for _, finding := range r.Findings {
		if finding.Warning {
			warnings++
		}
		if _, err := fmt.Fprintf(out, "%v\n\n", finding); err != nil {
			return err
		}
	}
	var err error
	if r.OK {
		_, err = fmt.Fprintf(out, "%s: %s, %s, %s\n", r.Dir, count(r.Rules, "rule"), count(warnings, "warning"), r.Version)
	} else {
		_, err = fmt.Fprintf(out, "%s: %s, %s\n", r.Dir, count(len(r.Findings)-warnings, "error"), count(warnings, "warning"))
	}
	return err
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
