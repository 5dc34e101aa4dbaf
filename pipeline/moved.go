package pipeline

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
)

// A deployment that moves to another cluster takes its state along, and nothing
// else: topics, offsets and the journal stay behind. What the new topics hold is
// new to it, but for the ids, sums and windows that it brings.
//
// That is safe only where the old cluster has nothing left to decide, and nothing
// was decided after the state was saved: the export asks for that. From then on
// no topic tells of what the state knows; so the new progress says that there was
// a move, and should the state be lost, refunds are held.

// movedFile lies beside a state that comes from another cluster. It says so even
// where that can't be read.
const movedFile = "moved.json"

// move is what that file says.
type move struct {
	TransactionalID string `json:"transactional_id"`
	Began           string `json:"began"`
	FromCluster     string `json:"from_cluster"`
	Lost            int64  `json:"lost,omitempty"`
	LostRefunds     int64  `json:"lost_refunds,omitempty"`
}

func (c *Config) movedPath() string { return filepath.Join(c.stateDir(), movedFile) }

// leave makes a saved state one that may arrive on another cluster. Whoever takes
// the same checkpoint gets the same.
func (st *savedState) leave(began string) move {
	p := st.Progress
	m := move{TransactionalID: p.TransactionalID, Began: began, FromCluster: p.ClusterID, Lost: p.Lost, LostRefunds: p.LostRefunds}
	st.Moved, st.Odd, st.Topics = true, nil, nil
	st.Journal, st.Alerts, st.Cases = map[int32]int64{}, map[int32]int64{}, map[int32]int64{}
	st.Progress = &progress{Version: progressVersion, TransactionalID: p.TransactionalID, Began: began, At: p.At, Ruleset: p.Ruleset, Saved: true, Lost: p.Lost, LostRefunds: p.LostRefunds}
	return m
}

// beginMoved begins a life with what was brought from another cluster.
func (s *session) beginMoved() error {
	if s.cfg.State.Dir == "" {
		return nil
	}
	b, err := os.ReadFile(s.cfg.movedPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var m move
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	switch {
	case err != nil || m.Began == "":
		return fatalf("%s says that the state comes from another cluster, and can't be read (%w): import it again", s.cfg.movedPath(), errors.Join(err))
	case m.TransactionalID != s.txnID:
		return fatalf("%s: the state in state.dir is of another deployment: transactional_id %q, this one's is %q", s.cfg.movedPath(), m.TransactionalID, s.txnID)
	case m.FromCluster == s.clusterID:
		return fatalf("%s: the state in state.dir left this cluster (%q) for another: restore the progress topic, or remove the folder", s.cfg.movedPath(), s.clusterID)
	}
	s.began, s.lost, s.lostRefunds, s.moved = m.Began, m.Lost, m.LostRefunds, s.cfg.now().UnixMilli()
	s.log.Info("beginning with the state of another cluster", "from", m.FromCluster, "cluster", s.clusterID, "began", m.Began)
	return nil
}

// arrive makes the state one of this cluster, from before its topics' first
// records.
func (st *savedState) arrive(last *progress, topics map[string]string) error {
	switch {
	case last.Moved == 0 || last.Began != st.Progress.Began:
		return errors.New("it comes from another cluster, and this deployment began without it")
	case st.Progress.TransactionalID != last.TransactionalID:
		return fmt.Errorf("it is of another deployment: transactional_id %q, this one's is %q", st.Progress.TransactionalID, last.TransactionalID)
	}
	own := *st.Progress
	own.ClusterID, own.Epoch, own.Streams = last.ClusterID, 0, nil
	for _, sp := range last.Streams {
		parts := make([]partitionProgress, len(sp.Partitions))
		for i, pp := range sp.Partitions {
			parts[i] = partitionProgress{Applied: pp.From, From: pp.From, DecideFrom: pp.DecideFrom}
			if sp.Decides || sp.Stream == "refunds" {
				parts[i].Decided = pp.From
			}
		}
		sp.Partitions = parts
		own.Streams = append(own.Streams, sp)
	}
	st.Progress, st.Topics = &own, maps.Clone(topics)
	st.Journal, st.Alerts, st.Cases = map[int32]int64{}, map[int32]int64{}, map[int32]int64{}
	return nil
}

// arrived ends a move: the folder holds a state of this cluster.
func (s *session) arrived() {
	if err := os.Remove(s.cfg.movedPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("removing what says that the state comes from another cluster", "error", err)
	}
}

// movedFrom is the time before which no topic of this cluster tells of what the
// state knows; noTime: there is none.
func (s *session) movedFrom(last *progress) int64 {
	at := s.moved
	if last != nil {
		at = last.Moved
	}
	if at == 0 || s.cfg.now().UnixMilli()-at > s.cfg.State.Retention.Milliseconds() {
		return noTime
	}
	return at
}

// loseMoved holds refunds back where the state that was brought is gone.
func (s *session) loseMoved() {
	s.log.Error("the state is lost, and it came from another cluster: no topic of this one tells of it, and refunds that need it are held as degraded")
	s.lost = s.cfg.now().UnixMilli()
	s.lostRefunds = s.lost
	for _, in := range s.inputs {
		s.engine.Incomplete(in.index, s.lost)
	}
}
