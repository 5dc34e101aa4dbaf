package clickhouse

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// mark is what the metadata of a committed offset says. The offset itself is
// that of the first record that may not be stored; a batch is written ahead
// here before its first row is sent, so that whoever comes next sends the same
// batch again, under the same token, and no other one that overlaps it.
type mark struct {
	TopicID string `json:"topic_id"` // of the topic that the offset counts in
	To      *int64 `json:"to"`       // last offset of the batch under way; null: none

	// Of a batch that was refused by one table others have rows already; the
	// smaller ones in its stead don't write them again.
	Taken   map[string]int64 `json:"taken,omitempty"`   // by table: last offset that it has rows of
	Refused int              `json:"refused,omitempty"` // partition.refused
}

func (m mark) text() (string, error) {
	text, err := json.Marshal(m)
	return string(text), err
}

// parseMark reads committed metadata. What somebody else wrote (an operator who
// moved the group, say) is no mark.
func parseMark(text *string) (mark, bool) {
	var m mark
	if text == nil || json.Unmarshal([]byte(*text), &m) != nil || m.TopicID == "" {
		return mark{}, false
	}
	return m, true
}

// commit commits offset next of a partition with m as its metadata. The broker
// refuses it once the partition is another member's.
func commit(ctx context.Context, client *kgo.Client, topic string, partition int32, next kgo.EpochOffset, m mark) error {
	text, err := m.text()
	if err != nil {
		return err
	}
	ctx = kgo.PreCommitFnContext(ctx, func(req *kmsg.OffsetCommitRequest) error {
		for i := range req.Topics {
			for j := range req.Topics[i].Partitions {
				req.Topics[i].Partitions[j].Metadata = &text
			}
		}
		return nil
	})
	answered := false
	client.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{topic: {partition: next}},
		func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, answer error) {
			if err = answer; err != nil || resp == nil {
				return
			}
			for _, t := range resp.Topics {
				for _, p := range t.Partitions {
					answered = true
					if err == nil {
						err = kerr.ErrorForCode(p.ErrorCode)
					}
				}
			}
		})
	if err == nil && !answered {
		err = fmt.Errorf("the broker's answer says nothing of %s/%d", topic, partition)
	}
	return err
}
