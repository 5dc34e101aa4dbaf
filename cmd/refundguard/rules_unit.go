package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/refundguard/refundguard/rules/ruletest"
)

func newRulesTestCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "test [DIR | FILE]",
		Short: "Runs the unit tests that stand beside the rules",
		Long: `Runs the tests of a folder of rules: those of refunds.yaml stand in
refunds_test.yaml. They go through the real engine, in memory, without network
and clock. Of one file, refunds.yaml or refunds_test.yaml, only its tests run,
with all rules of its folder. Without a name it is rules.dir of the
configuration, or rules; with a configuration its streams, fields and
currencies are known too.

Exit codes: 0 all tests passed, 1 some did not, or there are none, 2 the
command was given wrongly.`,
		Example: `  refundguard rules test
  refundguard rules test rules --run velocity --cover
  refundguard rules test rules/refunds_test.yaml -o junit > junit.xml`,
		Args: cobra.MaximumNArgs(1),
	}
	file := configFlag(cmd)
	output := cmd.Flags().StringP("output", "o", "text", "output format: text, json or junit")
	run := cmd.Flags().String("run", "", "only tests whose name this regular expression matches")
	cover := cmd.Flags().Bool("cover", false, "show which rules have no test, and which never hit")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var o ruletest.Options
		if *run != "" {
			var err error
			if o.Run, err = regexp.Compile(*run); err != nil {
				return usage{fmt.Errorf("--run %q: %w", *run, err)}
			}
		}
		target, err := findRules(*file, argument(args, 0))
		if err != nil {
			return err
		}
		o.Rules = target.options
		return testRules(cmd, testsOf(target.dir), *output, *cover, o)
	}
	return cmd
}

// testsOf is the test file beside a rule file: by itself the rule file would be
// tested without the lists, the policy and the rules of its folder, which a
// refund meets.
func testsOf(path string) string {
	extension := filepath.Ext(path)
	tests := strings.TrimSuffix(path, extension) + "_test" + extension
	if info, err := os.Stat(tests); extension == "" || err != nil || info.IsDir() {
		return path
	}
	return tests
}

func testRules(cmd *cobra.Command, dir, output string, cover bool, o ruletest.Options) error {
	out := cmd.OutOrStdout()
	write := map[string]func(*ruletest.Report) error{
		"text":  func(r *ruletest.Report) error { return r.WriteText(out, cover) },
		"json":  func(r *ruletest.Report) error { return r.WriteJSON(out) },
		"junit": func(r *ruletest.Report) error { return r.WriteJUnit(out) },
	}[output]
	if write == nil {
		return usage{fmt.Errorf("--output %q is none of text, json and junit", output)}
	}
	rep, err := ruletest.Run(dir, o)
	if err != nil {
		return err
	}
	if err := write(rep); err != nil {
		return err
	}
	if !rep.OK {
		return errReported
	}
	return nil
}
