package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/refundguard/refundguard/pipeline"
	"github.com/refundguard/refundguard/pipeline/checkpoint"
)

// absolute makes a path of a folder one from the root; a URL stays as it is.
func absolute(where string) (string, error) {
	if where == "" || filepath.IsAbs(where) {
		return where, nil
	}
	if _, err := checkpoint.New(where, ""); err == nil {
		return where, nil
	}
	return filepath.Abs(where)
}

// bucket is where --from says, or state.checkpoint.
func (c config) bucket(from string) (*checkpoint.Bucket, error) {
	from, err := absolute(from)
	if err != nil {
		return nil, err
	}
	return pipeline.OpenCheckpoints(c.Pipeline, c.Kafka.TransactionalID, from)
}

func exportState(cmd *cobra.Command, flags stateFlags, to string, final bool) error {
	c, err := flags.load()
	if err != nil {
		return err
	}
	s, err := pipeline.OpenState(c.Pipeline, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer s.Close()
	bucket, err := c.bucket(to)
	if err != nil {
		return usage{fmt.Errorf("--to: %w", err)}
	}
	defer bucket.Close()
	info := s.Info()
	if final {
		options, err := c.Kafka.Options(slog.New(slog.DiscardHandler))
		if err != nil {
			return err
		}
		if err := s.Finish(cmd.Context(), c.Kafka.TransactionalID, options); err != nil {
			return fmt.Errorf("it isn't final: %w", err)
		}
	}
	began := time.Now()
	m, sent, err := s.PutCheckpoint(cmd.Context(), bucket)
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "exported as %s: %d files, %d bytes, %d of them sent, in %s\n", m.Name(), len(m.Files), m.Bytes(), sent, time.Since(began).Round(time.Millisecond))
	if final && info.Balance.InReview > 0 {
		fmt.Fprintf(out, "%d refunds are in review: what they sum up to goes along, their cases stay in the topics of this cluster\n", info.Balance.InReview)
	}
	return nil
}

func newStateCheckpointsCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "checkpoints", Short: "Lists the checkpoints of this deployment in the bucket",
		Long: `Lists the checkpoints of this deployment in state.checkpoint, the newest first. The
exit code is 1 where one can't be read, or there is none.`,
		Example: "  refundguard state checkpoints -c refundguard.yaml\n  refundguard state checkpoints --from s3://backup/refundguard -o json",
		Args:    cobra.NoArgs,
	}
	flags, output := newStateFlags(cmd), outputFlag(cmd)
	from := cmd.Flags().String("from", "", "a bucket (s3://bucket/path) or the path of a folder; default: state.checkpoint")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkOutput(*output); err != nil {
			return err
		}
		c, err := flags.load()
		if err != nil {
			return err
		}
		bucket, err := c.bucket(*from)
		if err != nil {
			return err
		}
		defer bucket.Close()
		all, refused, err := bucket.List(cmd.Context())
		if err != nil {
			return err
		}
		var faults []error
		for _, r := range refused {
			faults = append(faults, r.Err)
		}
		if len(all)+len(refused) == 0 {
			faults = append(faults, fmt.Errorf("%s holds no checkpoint of %s", bucket, c.Kafka.TransactionalID))
		}
		if *output == "json" {
			type named struct {
				Name string `json:"name"`
				checkpoint.Manifest
			}
			list := []named{}
			for _, m := range all {
				list = append(list, named{m.Name(), m})
			}
			return errors.Join(append(faults, json.NewEncoder(cmd.OutOrStdout()).Encode(list))...)
		}
		t := newTable(cmd.OutOrStdout(), "name", "saved at", "epoch", "cluster", "files", "bytes", "final")
		for i := range all {
			m := &all[i]
			t.AppendRow([]any{m.Name(), m.SavedAt.Format(time.RFC3339), m.Epoch, m.ClusterID, len(m.Files), m.Bytes(), m.Final})
		}
		t.Render()
		return errors.Join(faults...)
	}
	return cmd
}

func newStateRestoreCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "restore", Short: "Fills an empty state folder with the newest checkpoint that is whole",
		Long: `Downloads a checkpoint into state.dir, which must hold no state, and verifies every
byte of it. The service does the same at a start that finds the folder empty; it
then checks that the state is of this deployment and cluster, and reads what came
since.`,
		Example: "  refundguard state restore -c refundguard.yaml\n  refundguard state restore --from s3://backup/refundguard --dir /var/lib/refundguard",
		Args:    cobra.NoArgs,
	}
	flags := newStateFlags(cmd)
	from, name := takeFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return takeState(cmd, flags, *from, *name, false)
	}
	return cmd
}

func newStateImportCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "import", Short: "Fills an empty state folder with what was exported",
		Long: `Takes what refundguard state export --to wrote into state.dir, which must hold no
state, and verifies every byte of it.

With --cluster-moved the deployment goes on on another cluster, where its topics
begin anew. It takes only an export that is --final. Ids, sums and windows come
along, so that nothing is paid twice; offsets, the journal and open cases don't.
The first start there begins with this state, if the progress topic of that cluster
is empty. Import the same export on each machine of the deployment before that.`,
		Example: "  refundguard state import -c refundguard.yaml --from /backup/refundguard\n  refundguard state import -c new.yaml --from s3://backup/refundguard --cluster-moved",
		Args:    cobra.NoArgs,
	}
	flags := newStateFlags(cmd)
	from, name := takeFlags(cmd)
	moved := cmd.Flags().Bool("cluster-moved", false, "it is for another cluster than it was exported on")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *from == "" {
			return usage{errors.New("--from is missing: name what state export --to wrote to")}
		}
		return takeState(cmd, flags, *from, *name, *moved)
	}
	return cmd
}

func takeFlags(cmd *cobra.Command) (from, name *string) {
	return cmd.Flags().String("from", "", "a bucket (s3://bucket/path) or the path of a folder; default: state.checkpoint"),
		cmd.Flags().String("name", "", "which checkpoint; default: the newest that is whole")
}

func takeState(cmd *cobra.Command, flags stateFlags, from, name string, moved bool) error {
	c, err := flags.load()
	if err != nil {
		return err
	}
	bucket, err := c.bucket(from)
	if err != nil {
		return err
	}
	defer bucket.Close()
	take := pipeline.TakeCheckpoint
	if moved {
		take = pipeline.TakeMoved
	}
	began, out := time.Now(), cmd.OutOrStdout()
	r, err := take(cmd.Context(), c.Pipeline, bucket, name, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	for _, refused := range r.Refused {
		fmt.Fprintf(cmd.ErrOrStderr(), "refused: %v\n", refused)
	}
	fmt.Fprintf(out, "%s holds the state of %s: epoch %d of %s on cluster %s, %d bytes, every one verified, in %s\n",
		c.Pipeline.State.Dir, r.SavedAt.Format(time.RFC3339), r.Epoch, r.TransactionalID, r.ClusterID, r.Bytes(), time.Since(began).Round(time.Millisecond))
	if moved {
		fmt.Fprintln(out, "it is for another cluster: the first start on one that knows nothing of this deployment begins with it")
	}
	return nil
}
