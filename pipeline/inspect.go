package pipeline

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/refundguard/refundguard/pipeline/cases"
	"github.com/refundguard/refundguard/pipeline/store"
	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/engine"
)

// StateInfo is what a state folder holds.
type StateInfo struct {
	SavedAt         time.Time        `json:"saved_at"`
	TransactionalID string           `json:"transactional_id"`
	ClusterID       string           `json:"cluster_id"`
	Epoch           int64            `json:"epoch"`
	Ruleset         string           `json:"ruleset"`
	Balance         Balance          `json:"balance"`
	Streams         []StateStream    `json:"streams"`
	Contents        *engine.Contents `json:"contents"`
	DiskBytes       int64            `json:"disk_bytes"`
}

// StateStream is how far a stream is in a saved state.
type StateStream struct {
	Stream     string  `json:"stream"`
	Topic      string  `json:"topic"`
	TopicID    string  `json:"topic_id"`
	Applied    []int64 `json:"applied"`           // by partition, the next offset
	Decided    []int64 `json:"decided,omitempty"` // likewise
	FromOffset []int64 `json:"from"`              // by partition, the first that it has something of
}

// State is a state folder that is looked at and not changed. The service must
// not run on it meanwhile.
type State struct {
	cfg   Config
	store *store.Store
	saved *savedState
	info  StateInfo
	final bool // nothing came after it
}

// ErrNoState is for a folder in which nothing is saved.
var ErrNoState = errors.New("nothing is saved there")

// OpenState opens the state folder of a configuration.
func OpenState(cfg Config, log *slog.Logger) (*State, error) {
	schema, err := cfg.Schema()
	if err != nil {
		return nil, err
	}
	if cfg.State.Dir == "" {
		return nil, errors.New("state.dir is empty: the state is in memory only")
	}
	if _, err := os.Stat(filepath.Join(cfg.stateDir(), "db")); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", cfg.stateDir(), ErrNoState)
	}
	st, err := store.OpenToRead(nil, cfg.stateDir(), log)
	if errors.Is(err, store.ErrInUse) {
		return nil, fmt.Errorf("%w: end it first, or look at a copy of the folder", err)
	}
	if err != nil {
		if st != nil {
			err = errors.Join(err, st.Close())
		}
		return nil, err
	}
	s := &State{cfg: cfg, store: st}
	if st.Meta() == nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", cfg.stateDir(), ErrNoState), st.Close())
	}
	if s.saved, err = parseSaved(st.Meta()); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", cfg.stateDir(), err), st.Close())
	}
	contents, err := engine.Inspect(s.saved.Engine, schema)
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	p := s.saved.Progress
	s.info = StateInfo{SavedAt: time.UnixMilli(p.At).UTC(), TransactionalID: p.TransactionalID, ClusterID: p.ClusterID, Epoch: p.Epoch,
		Ruleset: p.Ruleset, Balance: p.Balance, Contents: contents, DiskBytes: st.Size()}
	for _, sp := range p.Streams {
		of := StateStream{Stream: sp.Stream, Topic: sp.Topic, TopicID: sp.TopicID}
		for _, pp := range sp.Partitions {
			of.Applied, of.FromOffset = append(of.Applied, pp.Applied), append(of.FromOffset, pp.From)
			if sp.Decides || sp.Stream == "refunds" {
				of.Decided = append(of.Decided, pp.Decided)
			}
		}
		s.info.Streams = append(s.info.Streams, of)
	}
	return s, nil
}

// Close gives the folder up.
func (s *State) Close() error { return s.store.Close() }

// Info is what the folder says of itself.
func (s *State) Info() StateInfo { return s.info }

// Each calls f for all that is saved, part by part. Every checksum is looked at.
func (s *State) Each(f func(engine.SavedEntry) error) error {
	return s.store.Scan([]byte{1}, nil, func(key, part []byte) error {
		if c, id, err := cases.Entry(key, part); c != nil || id != "" || err != nil {
			if c == nil || err != nil {
				return err
			}
			return f(engine.SavedEntry{Kind: "case", ID: id, Status: c.State.String(), Amount: c.Amount.Format(c.Currency), Currency: c.Currency.String(), Bytes: len(part)})
		}
		e, err := s.info.Contents.Entry(key, part)
		if err != nil {
			return fmt.Errorf("key %q: %w", key, err)
		}
		return f(e)
	})
}

// Verify reads all that is saved, and restores it as a start of the service
// would, with today's rules. It tells how many keys that makes.
func (s *State) Verify() (keys int64, err error) {
	if err := s.Each(func(engine.SavedEntry) error { return nil }); err != nil {
		return 0, err
	}
	schema, err := s.cfg.Schema()
	if err != nil {
		return 0, err
	}
	set, err := rules.Load(s.cfg.Rules.Dir, s.cfg.RuleOptions(schema))
	if err != nil {
		return 0, fmt.Errorf("rules in %s:\n%w", s.cfg.Rules.Dir, err)
	}
	cfg := s.cfg
	if cfg.Engine.Workers == 0 {
		cfg.Engine.Workers = runtime.GOMAXPROCS(0)
	}
	e := newEngine(cfg, schema, set)
	defer e.Close()
	e.KeepOnDisk(s.store) // as at a start: ids and transactions are looked at, and stay there
	if err := e.Restore(s.saved.Engine, time.Now().UnixMilli(), s.store); err != nil {
		return 0, err
	}
	return e.Stats().Keys, nil
}
