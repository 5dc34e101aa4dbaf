package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/refundguard/refundguard/cmd/refundguard/settings"
	"github.com/refundguard/refundguard/rules/event"
)

func newSnoozeCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "snooze --rule RULE --customer ID --for 7d --reason WHY",
		Short: "Lets one customer, merchant, instrument or device off one rule for a while",
		Long: `Lets one customer, merchant, instrument or device off one rule until a time. The
rule's hits on them are in each decision with mode snoozed, and decide nothing;
the decision's controls name the snooze. It ends by itself. The same again, with
another time or reason, takes its place.`,
		Example: "  refundguard snooze --rule velocity --customer cus_1 --for 7d --reason \"moves house\"\n  refundguard snooze list\n  refundguard snooze end snooze-0123456789ab",
		Args:    cobra.NoArgs,
	}
	w := newControlWriter(cmd).reasoned(cmd)
	c := &event.Control{Kind: event.ControlSnooze}
	cmd.Flags().StringVar(&c.Rule, "rule", "", "the rule's id")
	cmd.Flags().StringVar(&c.CustomerID, "customer", "", "customer_id of who is let off; or one of the next three")
	cmd.Flags().StringVar(&c.MerchantID, "merchant", "", "merchant_id")
	cmd.Flags().StringVar(&c.InstrumentID, "instrument", "", "instrument_id")
	cmd.Flags().StringVar(&c.DeviceID, "device", "", "device_id")
	how := cmd.Flags().String("for", "", "for how long, such as 12h or 7d")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := w.check(cmd); err != nil {
			return err
		}
		d, err := settings.ParseDuration(*how)
		if err != nil || d <= 0 {
			return usage{fmt.Errorf("--for %q: give how long, such as 12h or 7d", *how)}
		}
		c.Until = time.Now().Add(d).UnixMilli()
		if _, err := event.ParseControl(c.Append(nil)); err != nil {
			return usage{errors.New("give --rule, and exactly one of --customer, --merchant, --instrument and --device")}
		}
		if err := knownRule(*w.file, c.Rule); err != nil {
			return err
		}
		config, options, err := w.open()
		if err != nil {
			return err
		}
		field, value := c.Subject()
		id := snoozeID(c.Rule, field, value)
		if err := w.put(cmd.Context(), options, config.Pipeline.Names().Controls, id, c); err != nil {
			return err
		}
		return w.say(cmd, id, c, fmt.Sprintf("rule %s is snoozed for %s %s until %s", c.Rule, field, value, time.UnixMilli(c.Until).UTC().Format(time.RFC3339)))
	}
	cmd.AddCommand(newSnoozeListCmd(), newSnoozeEndCmd())
	return cmd
}

// snoozeID is one for each rule and whom it lets off.
func snoozeID(rule, field, value string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", rule, field, value))
	return "snooze-" + hex.EncodeToString(sum[:6])
}

func newSnoozeListCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "Lists the snoozes in force",
		Example: "  refundguard snooze list -c refundguard.yaml\n  refundguard snooze list -o json",
		Args:    cobra.NoArgs,
	}
	reader, output := newControlReader(cmd), outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return listControls(cmd, reader, *output, event.ControlSnooze, "no snoozes are in force")
	}
	return cmd
}

// listControls shows those of one kind that are in force.
func listControls(cmd *cobra.Command, reader *topicReader, output, kind, none string) error {
	if err := checkOutput(output); err != nil {
		return err
	}
	config, options, err := reader.open()
	if err != nil {
		return err
	}
	found, err := reader.inForce(cmd.Context(), options, config.Pipeline.Names().Controls, kind)
	if err != nil {
		return err
	}
	if output == "json" {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(found)
	}
	if len(found) == 0 {
		_, err := fmt.Fprintln(cmd.OutOrStdout(), none)
		return err
	}
	t := newTable(cmd.OutOrStdout(), "id", "rule", "whom", "since", "until", "by", "reason")
	for _, l := range found {
		field, value := l.Control.Subject()
		whom, until := field+" "+value, ""
		if l.Control.All {
			whom = "everything"
		}
		if l.Control.Until > 0 {
			until = shortTime(time.UnixMilli(l.Control.Until))
		}
		t.AppendRow([]any{l.ID, l.Control.Rule, whom, shortTime(time.UnixMilli(l.Control.At)), until, l.Control.By, cut(l.Control.Reason, 60)})
	}
	t.Render()
	return nil
}

func newSnoozeEndCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "end ID", Short: "Ends a snooze before its time",
		Example: "  refundguard snooze end snooze-0123456789ab",
		Args:    cobra.ExactArgs(1),
	}
	w := newControlWriter(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return w.end(cmd, event.ControlSnooze, args[0], "the snooze is over", fmt.Errorf("no snooze %s is in force: see refundguard snooze list", args[0]))
	}
	return cmd
}

// end ends a control of one kind, which must be in force.
func (w *controlWriter) end(cmd *cobra.Command, kind, id, text string, none error) error {
	if err := w.check(cmd); err != nil {
		return err
	}
	config, options, err := w.open()
	if err != nil {
		return err
	}
	topic := config.Pipeline.Names().Controls
	found, err := w.inForce(cmd.Context(), options, topic, kind)
	if err != nil {
		return err
	}
	for _, l := range found {
		if l.ID != id {
			continue
		}
		if err := w.put(cmd.Context(), options, topic, id, nil); err != nil {
			return err
		}
		return w.say(cmd, id, nil, text)
	}
	return none
}
