package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/refundguard/refundguard/rules/event"
)

// holdID is one for each merchant, and one for everything.
func holdID(merchant string) string {
	if merchant == "" {
		return "hold"
	}
	return "hold:" + merchant
}

func heldOf(merchant string) string {
	if merchant == "" {
		return "everything"
	}
	return "merchant " + merchant
}

func newHoldCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "hold [--merchant ID] --reason WHY",
		Short: "Sends to review whatever would be approved, until it is resumed",
		Long: `The kill switch: from now on each refund that the rules would approve, or those
of one merchant, goes to review, with reason HOLD. What is rejected stays
rejected. What waits in review is released by analysts only, whatever
review.on_deadline says. It lasts until refundguard resume. There is an alert when it begins and
one when it ends, and refundguard_holds counts those in force.`,
		Example: "  refundguard hold --reason \"the ledger pays twice\"\n  refundguard hold --merchant mer_1 --reason \"their keys were stolen\"\n  refundguard hold list",
		Args:    cobra.NoArgs,
	}
	w := newControlWriter(cmd).reasoned(cmd)
	merchant := cmd.Flags().String("merchant", "", "only the refunds of this merchant_id")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := w.check(cmd); err != nil {
			return err
		}
		if cmd.Flags().Changed("merchant") && *merchant == "" {
			return usage{errors.New("--merchant is empty: name one, or leave it out to hold everything")}
		}
		config, options, err := w.open()
		if err != nil {
			return err
		}
		c := &event.Control{Kind: event.ControlHold, MerchantID: *merchant, All: *merchant == ""}
		if err := w.put(cmd.Context(), options, config.Pipeline.Names().Controls, holdID(*merchant), c); err != nil {
			return err
		}
		return w.say(cmd, holdID(*merchant), c, heldOf(*merchant)+" is on hold")
	}
	cmd.AddCommand(newHoldListCmd())
	return cmd
}

func newHoldListCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "Lists what is on hold",
		Example: "  refundguard hold list -c refundguard.yaml\n  refundguard hold list -o json",
		Args:    cobra.NoArgs,
	}
	reader, output := newControlReader(cmd), outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return listControls(cmd, reader, *output, event.ControlHold, "nothing is on hold")
	}
	return cmd
}

func newResumeCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "resume [--merchant ID]",
		Short: "Ends a hold",
		Long: `Ends a hold: of everything, or with --merchant that of one merchant. Holds of
merchants stay when everything is resumed. What was held is in review, and stays
there until somebody decides.`,
		Example: "  refundguard resume\n  refundguard resume --merchant mer_1",
		Args:    cobra.NoArgs,
	}
	w := newControlWriter(cmd)
	merchant := cmd.Flags().String("merchant", "", "the hold of this merchant_id")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if cmd.Flags().Changed("merchant") && *merchant == "" {
			return usage{errors.New("--merchant is empty: name one, or leave it out to resume everything")}
		}
		return w.end(cmd, event.ControlHold, holdID(*merchant), heldOf(*merchant)+" is resumed", fmt.Errorf("%s is not on hold: see refundguard hold list", heldOf(*merchant)))
	}
	return cmd
}
