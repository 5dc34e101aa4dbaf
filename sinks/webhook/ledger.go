package webhook

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// ledger is what is known of one partition's alerts. Kafka keeps it: the
// committed offset is that of the earliest unfinished alert, and the commit's
// metadata lists the unfinished ones after it, so that a restart neither loses
// an alert nor sends again all that was delivered behind a slow one.
type ledger struct {
	seen int64    // everything before it is finished or open
	open []*entry // unfinished, by offset

	// What the last owner of the partition left: alerts below left and not in
	// inherited are finished.
	left      int64
	inherited map[int64]inheritance

	committed int64 // -1: nothing
	dirty     bool  // something changed since the last commit
}

// entry is one alert on its way. Its fields belong to the endpoint's loop.
type entry struct {
	alert  *alert
	record *kgo.Record
	ledger *ledger

	failed  int // tries that count against it
	tries   int // all tries of this process
	streak  int // failed tries since the endpoint's last success
	due     time.Time
	held    bool // failed while the endpoint was down: due as soon as it is back
	flying  bool // a try, or its dead letter, is on its way
	lost    bool // the partition was taken away
	lastErr error
	bury    *verdict // it goes to the dead letters
}

type inheritance struct {
	failed int
	due    time.Time
}

func newLedger(committed int64, metadata string) *ledger {
	l := &ledger{seen: max(committed, 0), committed: committed}
	// Metadata that isn't ours, or is damaged, costs repeats and nothing else.
	if left, inherited, err := decodeProgress(committed, metadata); err == nil {
		l.left, l.inherited = left, inherited
	}
	return l
}

// add opens an entry for the record, unless it was finished before.
func (l *ledger) add(r *kgo.Record) *entry {
	if r.Offset < l.seen {
		l.rewind(r.Offset)
	}
	before, known := l.inherited[r.Offset]
	delete(l.inherited, r.Offset)
	l.pass(r)
	if r.Offset < l.left && !known {
		return nil
	}
	e := &entry{record: r, ledger: l, failed: before.failed, due: before.due}
	l.open = append(l.open, e)
	return e
}

// rewind forgets what it knew of offset and after: the partition lost its end
// with a broker, or is another one of the same name.
func (l *ledger) rewind(offset int64) {
	l.open = slices.DeleteFunc(l.open, func(e *entry) bool {
		e.lost = e.record.Offset >= offset
		return e.lost
	})
	l.seen, l.left, l.inherited = offset, 0, nil
}

// pass notes a record that needs nothing more.
func (l *ledger) pass(r *kgo.Record) {
	l.seen = max(l.seen, r.Offset+1)
	l.dirty = true
}

func (l *ledger) finish(e *entry) {
	if i := slices.Index(l.open, e); i >= 0 {
		l.open = slices.Delete(l.open, i, i+1)
		l.dirty = true
	}
}

// prefix is the offset to commit: everything before it is finished.
func (l *ledger) prefix() int64 {
	if len(l.open) > 0 {
		return l.open[0].record.Offset
	}
	return l.seen
}

const (
	progressPrefix = "refundguard-webhook/1:"
	maxMetadata    = 4096 // a broker's default offset.metadata.max.bytes
)

// metadata is what a commit at prefix carries. Up to maxPending open entries
// fit; should they not, the metadata is left out, and a restart sends more
// again than it need.
func (l *ledger) metadata() string {
	end := max(l.seen, l.left)
	if len(l.open) == 0 && end == l.seen {
		return ""
	}
	from := l.prefix()
	buf := binary.AppendUvarint(nil, uint64(end-from))
	last := from
	for _, e := range l.open {
		buf = appendProgress(buf, e.record.Offset-last, e.failed, e.due)
		last = e.record.Offset
	}
	// Those that were left to us and not read again yet follow.
	for _, offset := range slices.Sorted(maps.Keys(l.inherited)) {
		if offset < l.seen {
			continue // retention deleted it before it was read again
		}
		i := l.inherited[offset]
		buf = appendProgress(buf, offset-last, i.failed, i.due)
		last = offset
	}
	text := progressPrefix + base64.RawStdEncoding.EncodeToString(buf)
	if len(text) > maxMetadata {
		return ""
	}
	return text
}

func appendProgress(buf []byte, gap int64, failed int, due time.Time) []byte {
	buf = binary.AppendUvarint(buf, uint64(gap))
	buf = binary.AppendUvarint(buf, uint64(min(failed, maxRetries)))
	var seconds uint64
	if failed > 0 && due.Unix() > 0 { // else it is due at once
		seconds = uint64(due.Unix())
	}
	return binary.AppendUvarint(buf, seconds)
}

var errNotProgress = errors.New("not the progress of a webhook endpoint")

func decodeProgress(from int64, metadata string) (left int64, open map[int64]inheritance, err error) {
	encoded, ok := strings.CutPrefix(metadata, progressPrefix)
	if !ok || from < 0 {
		return 0, nil, errNotProgress
	}
	buf, err := base64.RawStdEncoding.DecodeString(encoded)
	if err != nil {
		return 0, nil, errNotProgress
	}
	next := func(most uint64) uint64 {
		v, n := binary.Uvarint(buf)
		if n <= 0 || v > most {
			err = errNotProgress
			buf = nil
			return 0
		}
		buf = buf[n:]
		return v
	}
	const (
		widest  = 1 << 40 // no partition has as many records after its committed offset
		longest = 1 << 40 // Unix seconds
	)
	left = from + int64(next(widest))
	open = map[int64]inheritance{}
	for offset := from; len(buf) > 0; {
		offset += int64(next(widest))
		i := inheritance{failed: int(next(maxRetries))}
		if seconds := next(longest); seconds > 0 {
			i.due = time.Unix(int64(seconds), 0)
		}
		if err != nil || offset >= left {
			return 0, nil, errNotProgress
		}
		open[offset] = i
	}
	return left, open, err
}
