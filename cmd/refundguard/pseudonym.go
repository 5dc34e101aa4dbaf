package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/refundguard/refundguard/sinks/privacy"
)

func newPseudonymCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pseudonym VALUE...",
		Short: "Prints what stands in ClickHouse for a customer, device, instrument or address",
		Long: `Prints, for each value, what ClickHouse has in its place where
privacy.pseudonymize names its field. It is the same in every field. Whoever can
read privacy.key_file can look people up with it.`,
		Example: "  refundguard pseudonym -c refundguard.yaml cus_17",
		Args:    cobra.MinimumNArgs(1),
	}
	file := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, values []string) error {
		l, err := loadConfig(*file, os.Environ())
		if err != nil {
			return err
		}
		p, err := l.pseudonymizer()
		if err != nil {
			return l.from.Faults("privacy", err)
		}
		if p == nil {
			return errors.New("privacy.pseudonymize names no field: ClickHouse has every value as it was sent")
		}
		for _, value := range values {
			fmt.Fprintln(cmd.OutOrStdout(), p.Of(value))
		}
		return nil
	}
	return cmd
}

// pseudonymizer is what privacy asks for; nil: nothing. The error has the
// section's keys.
func (c config) pseudonymizer() (*privacy.Pseudonymizer, error) {
	schema, err := c.Pipeline.Schema()
	if err != nil {
		return nil, nil // told under streams
	}
	known := []string{}
	paths := map[string][]string{}
	for _, st := range schema.Streams {
		for _, f := range st.Fields {
			known = append(known, f.Name)
			if len(f.From) > 0 {
				paths[f.Name] = append(paths[f.Name], strings.Join(f.From, "."))
			}
		}
	}
	var faults []error
	for i, name := range c.Privacy.Pseudonymize {
		if !slices.Contains(known, name) {
			faults = append(faults, fmt.Errorf("pseudonymize[%d]: no stream has a field %q", i, name))
		}
	}
	p, err := privacy.New(c.Privacy, paths)
	return p, errors.Join(append(faults, err)...)
}
