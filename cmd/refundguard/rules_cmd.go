package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/describe"
)

func newRulesCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rules",
		Short: "Works with rule files",
		Example: `  refundguard rules new velocity-device --template velocity
  refundguard rules fmt -w rules
  refundguard rules check rules
  refundguard rules explain velocity-device rules
  refundguard rules stats -c refundguard.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newRulesCheckCmd(), newRulesTestCmd(), newRulesFmtCmd(), newRulesListCmd(), newRulesExplainCmd(),
		newRulesSchemaCmd(), newRulesNewCmd(), newRulesStatsCmd(), newRulesResetCmd())
	return cmd
}

// ruleTarget is which rules a command works with.
type ruleTarget struct {
	dir     string // a folder, or one file
	options rules.Options
	exact   int // state.exact_events
}

// findRules takes what the command names, or rules.dir of the configuration.
// With a configuration its streams, fields and currencies are known too.
func findRules(file, named string) (ruleTarget, error) {
	l, err := readConfig(file)
	if err != nil {
		return ruleTarget{}, err
	}
	if err := l.Pipeline.Validate(); err != nil {
		return ruleTarget{}, l.from.Faults("", err)
	}
	schema, err := l.Pipeline.Schema()
	if err != nil {
		return ruleTarget{}, err
	}
	t := ruleTarget{dir: l.Pipeline.Rules.Dir, options: l.Pipeline.RuleOptions(schema), exact: l.Pipeline.State.ExactEvents}
	if named != "" {
		t.dir = named
	}
	if _, err := os.Stat(t.dir); errors.Is(err, fs.ErrNotExist) {
		return ruleTarget{}, usage{fmt.Errorf("%s does not exist; name a folder of rule files, or one file", t.dir)}
	}
	return t, nil
}

// openBook loads the rules with what each of them reads. Faults of the rules go
// to standard error.
func openBook(cmd *cobra.Command, file, named string) (*describe.Book, error) {
	target, err := findRules(file, named)
	if err != nil {
		return nil, err
	}
	set, readings, err := rules.Inspect(target.dir, target.options)
	var faults rules.Errors
	if errors.As(err, &faults) {
		if err := faults.WriteText(cmd.ErrOrStderr()); err != nil {
			return nil, err
		}
		return nil, errReported
	}
	if err != nil {
		return nil, err
	}
	return &describe.Book{Set: set, Readings: readings, Schema: target.options.Schema, Exact: target.exact}, nil
}

func argument(args []string, i int) string {
	if i < len(args) {
		return args[i]
	}
	return ""
}

func writeJSON(cmd *cobra.Command, v any) error {
	encoder := json.NewEncoder(cmd.OutOrStdout())
	encoder.SetEscapeHTML(false) // conditions hold < and >
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
