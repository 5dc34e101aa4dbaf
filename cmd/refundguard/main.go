// Command refundguard decides which refunds go on to be paid.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // rules name time zones, whatever the machine has

	"github.com/spf13/cobra"

	"github.com/refundguard/refundguard/sinks/clickhouse/local"
)

// Exit codes.
const (
	exitFine     = 0
	exitProblems = 1 // the work was done, or tried, and found problems
	exitUsage    = 2 // the command was given wrongly
)

func main() {
	local.RunIfChild()
	// The first signal asks for an orderly end, the second is the system's.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	root := newRootCmd()
	code := exitCode(root.ExecuteContext(ctx), root)
	stop()
	os.Exit(code)
}

func newRootCmd() *cobra.Command {
	root := &cobra.Command{
		Use:   "refundguard",
		Short: "Decides which refunds go on to be paid: approve, review or reject, by your rules",
		Example: `  refundguard demo                      # everything on this machine, with data
  refundguard config print -c refundguard.yaml
  refundguard rules check rules
  refundguard run -c refundguard.yaml`,
		Version:       buildVersion().Version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(newRunCmd(), newConfigCmd(), newRulesCmd(), newReviewCmd(), newReportCmd(), newMigrateCmd(), newPseudonymCmd(), newEraseCmd(), newDoctorCmd(), newDLQCmd(), newAlertsCmd(), newLabelsCmd(),
		newSnoozeCmd(), newHoldCmd(), newResumeCmd(), newStateCmd(), newStatusCmd(), newVersionCmd(),
		newGenCmd(), newDemoCmd(), newBenchCmd())
	markProblems(root)
	return root
}

// problem is an error of the work itself, as opposed to how it was asked for.
type problem struct{ error }

func (p problem) Unwrap() error { return p.error }

// usage is an error of the arguments that only the command itself could find.
type usage struct{ error }

func (u usage) Unwrap() error { return u.error }

// errReported ends a command that has said itself what it found.
var errReported = errors.New("problems were found")

// markProblems tells what commands return from what cobra says of arguments.
func markProblems(cmd *cobra.Command) {
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			err := run(cmd, args)
			if u := (usage{}); err == nil || errors.As(err, &u) {
				return err
			}
			return problem{err}
		}
	}
	for _, sub := range cmd.Commands() {
		markProblems(sub)
	}
}

// exitCode prints an error that nobody has printed yet.
func exitCode(err error, root *cobra.Command) int {
	switch {
	case err == nil:
		return exitFine
	case errors.Is(err, errReported):
		return exitProblems
	}
	fmt.Fprintln(root.ErrOrStderr(), "refundguard:", err)
	if p := (problem{}); errors.As(err, &p) {
		return exitProblems
	}
	if u := (usage{}); !errors.As(err, &u) {
		fmt.Fprintln(root.ErrOrStderr(), "see refundguard --help, or --help of the command")
	}
	return exitUsage
}
