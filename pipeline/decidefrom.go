package pipeline

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// decideFrom is which refunds are decided on a first start.
type decideFrom struct {
	set      bool
	earliest bool
	latest   bool
	at       time.Time
}

func parseDecideFrom(s string) (decideFrom, error) {
	switch s {
	case "":
		return decideFrom{}, nil
	case "earliest":
		return decideFrom{set: true, earliest: true}, nil
	case "latest":
		return decideFrom{set: true, latest: true}, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return decideFrom{}, fmt.Errorf("streams.refunds.decide_from is %q: write earliest, latest or a time such as 2026-01-31T00:00:00Z", s)
	}
	return decideFrom{set: true, at: t}, nil
}

// resolve turns it into the first offset to decide of each partition. Without
// a setting, that is possible only where the topic holds no records.
func (d decideFrom) resolve(ctx context.Context, adm *kadm.Client, topic string, partitions int) ([]int64, error) {
	starts, err := adm.ListStartOffsets(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("asking where %s begins: %w", topic, err)
	}
	ends, err := adm.ListCommittedOffsets(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("asking where %s ends: %w", topic, err)
	}
	var after kadm.ListedOffsets
	if !d.at.IsZero() {
		if after, err = adm.ListOffsetsAfterMilli(ctx, d.at.UnixMilli(), topic); err != nil {
			return nil, fmt.Errorf("asking for the offsets of %s at %s: %w", topic, d.at, err)
		}
	}
	out := make([]int64, partitions)
	for id := range out {
		first, ok1 := starts.Lookup(topic, int32(id))
		end, ok2 := ends.Lookup(topic, int32(id))
		if !ok1 || !ok2 || first.Err != nil || end.Err != nil {
			return nil, fmt.Errorf("asking for the offsets of %s partition %d: %w", topic, id, firstError(first.Err, end.Err, errNoAnswer))
		}
		switch {
		case !d.set && end.Offset > first.Offset:
			return nil, fatalf("topic %s already holds refunds (partition %d: offsets %d to %d), and nothing says which of them are to be decided.\n"+
				"Set streams.refunds.decide_from: latest (only those that come from now on; older ones feed windows), earliest (all of them: nothing else may have paid them), or a time such as 2026-01-31T00:00:00Z",
				topic, id, first.Offset, end.Offset-1)
		case d.latest:
			out[id] = end.Offset
		case !d.at.IsZero():
			a, ok := after.Lookup(topic, int32(id))
			if !ok || a.Err != nil {
				return nil, fmt.Errorf("asking for the offset of %s partition %d at %s: %w", topic, id, d.at, firstError(a.Err, errNoAnswer))
			}
			out[id] = a.Offset
			if a.Offset < 0 {
				out[id] = end.Offset
			}
		default:
			out[id] = first.Offset
		}
	}
	return out, nil
}
