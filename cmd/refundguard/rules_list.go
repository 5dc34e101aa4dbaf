package main

import (
	"fmt"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/describe"
)

func newRulesListCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list [DIR | FILE]",
		Short: "Lists the rules: mode, severity, action, score, owner, tags, windows",
		Long: `Lists the rules of a folder, or of one file: rules.dir of the configuration, or
rules, unless one is named. Windows are the streams that a rule looks back into,
and how far.

Exit codes: 0 fine, 1 the rules are faulty, 2 the command was given wrongly.`,
		Example: `  refundguard rules list
  refundguard rules list rules --tag velocity
  refundguard rules list rules -o json`,
		Args: cobra.MaximumNArgs(1),
	}
	file, output := configFlag(cmd), outputFlag(cmd)
	tag := cmd.Flags().String("tag", "", "only rules with this tag")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkOutput(*output); err != nil {
			return err
		}
		book, err := openBook(cmd, *file, argument(args, 0))
		if err != nil {
			return err
		}
		rows := []describe.Row{}
		for _, r := range book.Rows() {
			if *tag == "" || containsText(r.Tags, *tag) {
				rows = append(rows, r)
			}
		}
		if *output == "json" {
			return writeJSON(cmd, rows)
		}
		printRows(cmd, rows)
		return nil
	}
	return cmd
}

func containsText(all []string, one string) bool {
	for _, s := range all {
		if s == one {
			return true
		}
	}
	return false
}

func printRows(cmd *cobra.Command, rows []describe.Row) {
	t := newTable(cmd.OutOrStdout(), "id", "mode", "severity", "action", "score", "owner", "tags", "windows")
	for _, r := range rows {
		score := ""
		if r.Score != 0 {
			score = fmt.Sprintf("%+d", r.Score)
		}
		action := r.Action
		if r.On != "refunds" {
			action = strings.TrimSpace(action + " on " + r.On)
		}
		t.AppendRow(table.Row{r.ID, r.Mode, r.Severity, action, score, r.Owner, strings.Join(r.Tags, ", "), strings.Join(r.Windows, "\n")})
	}
	t.Render()
	fmt.Fprintln(cmd.OutOrStdout(), count(len(rows), "rule"))
}

func newRulesExplainCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain RULE [DIR | FILE]",
		Short: "Says in words what a rule reads, how exactly, and what a hit does",
		Long: `Explains one rule: what it reads, which windows of the past it looks into, how
exact they are and what memory they take, what a missing value means, what a hit
does to a refund, and who owns the rule.

Exit codes: 0 fine, 1 the rules are faulty, 2 the command was given wrongly or
there is no such rule.`,
		Example: `  refundguard rules explain velocity-customer rules
  refundguard rules explain velocity-customer -o json`,
		Args: cobra.RangeArgs(1, 2),
	}
	file, output := configFlag(cmd), outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkOutput(*output); err != nil {
			return err
		}
		book, err := openBook(cmd, *file, argument(args, 1))
		if err != nil {
			return err
		}
		r := book.Find(args[0])
		if r == nil {
			return usage{fmt.Errorf("there is no rule %s; the rules are %s", args[0], ruleNames(book))}
		}
		if *output == "text" {
			return book.Explain(cmd.OutOrStdout(), r)
		}
		for _, row := range book.Rows() {
			if row.ID == args[0] {
				return writeJSON(cmd, struct {
					describe.Row
					OnMissing string `json:"on_missing"`
					*rules.Reading
				}{row, r.Rule.OnMissing.String(), r})
			}
		}
		return nil
	}
	return cmd
}

func ruleNames(b *describe.Book) string {
	names := []string{}
	for _, r := range b.Readings {
		if len(names) == 10 {
			names = append(names, "…")
			break
		}
		names = append(names, r.Rule.ID)
	}
	return strings.Join(names, ", ")
}
