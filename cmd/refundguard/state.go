package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/refundguard/refundguard/pipeline"
	"github.com/refundguard/refundguard/rules/engine"
)

func newStateCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "state",
		Short: "Looks at the saved state, and takes it to other machines",
		Long: `The keyed state is saved in state.dir while the service runs, and with
state.checkpoint its copies in a bucket. inspect, verify and export read the folder
and change nothing; restore and import fill an empty one. All need the folder for
themselves: end the service, or name a copy of the folder with --dir.`,
		Example: "  refundguard state inspect -c refundguard.yaml\n  refundguard state verify --dir /backup/state\n  refundguard state checkpoints -c refundguard.yaml\n  refundguard state restore -c refundguard.yaml",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newStateInspectCmd(), newStateVerifyCmd(), newStateExportCmd(), newStateCheckpointsCmd(), newStateRestoreCmd(), newStateImportCmd())
	return cmd
}

// stateFlags say which folder.
type stateFlags struct {
	file, dir *string
	observe   *bool
}

func newStateFlags(cmd *cobra.Command) stateFlags {
	return stateFlags{configFlag(cmd), cmd.Flags().String("dir", "", "the folder; default: state.dir"), observeFlag(cmd)}
}

func (f stateFlags) load() (config, error) {
	l, err := readConfig(*f.file)
	if err != nil {
		return config{}, err
	}
	c := l.config
	if *f.observe {
		c = c.observed()
	}
	if *f.dir != "" {
		c.Pipeline.State.Dir = *f.dir
	}
	return c, nil
}

func (f stateFlags) open() (*pipeline.State, error) {
	c, err := f.load()
	if err != nil {
		return nil, err
	}
	return pipeline.OpenState(c.Pipeline, slog.New(slog.DiscardHandler))
}

func newStateInspectCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "inspect", Short: "Says of when it is, whose, how far it is, and which series it has",
		Example: "  refundguard state inspect -c refundguard.yaml\n  refundguard state inspect -o json",
		Args:    cobra.NoArgs,
	}
	flags, output := newStateFlags(cmd), outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkOutput(*output); err != nil {
			return err
		}
		s, err := flags.open()
		if err != nil {
			return err
		}
		defer s.Close()
		info, out := s.Info(), cmd.OutOrStdout()
		if *output == "json" {
			return json.NewEncoder(out).Encode(info)
		}
		fmt.Fprintf(out, "saved at        %s\ndeployment      %s on cluster %s\nepoch           %d, rules %s\nbalance         %d read, %d approved, %d in review, %d rejected, %d dead-lettered, %d duplicates, %d history\non disk         %d bytes\n",
			info.SavedAt.Format(time.RFC3339), info.TransactionalID, info.ClusterID, info.Epoch, info.Ruleset, info.Balance.Read, info.Balance.Approved,
			info.Balance.InReview, info.Balance.Rejected, info.Balance.DeadLettered, info.Balance.Duplicates, info.Balance.History, info.DiskBytes)
		t := newTable(out, "stream", "topic", "from", "applied", "decided")
		for _, st := range info.Streams {
			t.AppendRow([]any{st.Stream, st.Topic, offsets(st.FromOffset), offsets(st.Applied), offsets(st.Decided)})
		}
		t.Render()
		t = newTable(out, "series", "columns", "complete since")
		for _, series := range info.Contents.Series {
			since := "always"
			switch {
			case series.Filling:
				since = "was being filled"
			case series.Since > 0:
				since = shortTime(time.UnixMilli(series.Since))
			}
			t.AppendRow([]any{series.Name, strings.Join(series.Columns, ", "), since})
		}
		t.Render()
		return nil
	}
	return cmd
}

// offsets are one a partition.
func offsets(all []int64) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(all), " ", ", "), "[]")
}

func newStateVerifyCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "verify", Short: "Reads all of it, with every checksum, and restores it as a start would",
		Example: "  refundguard state verify -c refundguard.yaml",
		Args:    cobra.NoArgs,
	}
	flags := newStateFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := flags.open()
		if err != nil {
			return err
		}
		defer s.Close()
		began := time.Now()
		keys, err := s.Verify()
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "fine: %d keys as of %s, read and restored in %s\n", keys, s.Info().SavedAt.Format(time.RFC3339), time.Since(began).Round(time.Millisecond))
		return nil
	}
	return cmd
}

func newStateExportCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "export", Short: "Writes what is saved to a bucket or folder, or as lines of JSON",
		Long: `With --to, writes all that is saved, as a checkpoint, to a bucket (s3://…) or a
folder, for refundguard state import. --final says that the deployment leaves its
cluster: it asks Kafka whether it stopped in order, whether anything is undecided,
and whether this is its last state; only such an export can be imported on another
cluster.

Without --to, writes one line of JSON for each id, transaction, status update, sum
of refunds and key of a window (for long ones, for each part that was added). That
is to be read, and can't be taken back.`,
		Example: "  refundguard state export -c refundguard.yaml --to /backup/refundguard\n  refundguard state export -c refundguard.yaml --to s3://backup/refundguard --final\n  refundguard state export -c refundguard.yaml --kind refunded",
		Args:    cobra.NoArgs,
	}
	flags := newStateFlags(cmd)
	kind := cmd.Flags().String("kind", "", "of lines of JSON: only id, transaction, update, refunded or window")
	to := cmd.Flags().String("to", "", "a bucket (s3://bucket/path) or the path of a folder")
	final := cmd.Flags().Bool("final", false, "with --to: the deployment leaves its cluster; refuses unless nothing is left to decide there")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *to != "" {
			return exportState(cmd, flags, *to, *final)
		}
		if *final {
			return usage{errors.New("--final is for --to")}
		}
		s, err := flags.open()
		if err != nil {
			return err
		}
		defer s.Close()
		out := bufio.NewWriter(cmd.OutOrStdout())
		encoder := json.NewEncoder(out)
		err = s.Each(func(e engine.SavedEntry) error {
			if *kind != "" && e.Kind != *kind {
				return nil
			}
			return encoder.Encode(e)
		})
		if err != nil {
			return err
		}
		return out.Flush()
	}
	return cmd
}
