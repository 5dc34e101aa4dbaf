package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/refundguard/refundguard/rules/event"
)

func newRulesResetCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reset RULE",
		Short: "Lets a rule go on whose breaker is tripped",
		Long: `A rule that by itself held more than limits.max_hold_share is tripped, and acts as
shadow if it says on_trip: shadow. After a reset it is live again, and what it
holds is counted anew. Where it isn't tripped, nothing happens.`,
		Example: "  refundguard rules reset velocity -c refundguard.yaml",
		Args:    cobra.ExactArgs(1),
	}
	w := newControlWriter(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := w.check(cmd); err != nil {
			return err
		}
		if err := knownRule(*w.file, args[0]); err != nil {
			return err
		}
		config, options, err := w.open()
		if err != nil {
			return err
		}
		id, c := "reset:"+args[0], &event.Control{Kind: event.ControlReset, Rule: args[0]}
		if err := w.put(cmd.Context(), options, config.Pipeline.Names().Controls, id, c); err != nil {
			return err
		}
		return w.say(cmd, id, c, fmt.Sprintf("rule %s is reset", args[0]))
	}
	return cmd
}
