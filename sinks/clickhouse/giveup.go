package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/refundguard/refundguard/connect"
	"github.com/refundguard/refundguard/sinks"
)

const (
	// CodeRefused is of records that a table won't take for what they say.
	CodeRefused = "CLICKHOUSE_REFUSED"
	// HeaderTable names that table.
	HeaderTable = "refundguard-table"
)

// forgiveness is how many records have to be stored to make one that was
// refused forgotten: what is given up is limited by Config.MaxRefused, so that
// a table that refuses everything doesn't empty the stream into the dead
// letters.
const forgiveness = 1000

func (p *partition) forgive(stored int) {
	p.accepted += stored
	p.refused = max(0, p.refused-p.accepted/forgiveness)
	p.accepted %= forgiveness
}

// giveUp goes on behind the one record of c, which becomes a dead letter.
func (p *partition) giveUp(ctx context.Context, c span, why *refusal) error {
	rec := c.records[0]
	p.refused++
	if p.topic == p.sink.topics.DeadLetters {
		p.advance(c) // it is in the dead letters, where else
	} else {
		letter := p.deadLetter(rec, why)
		next := kgo.EpochOffset{Epoch: c.epoch, Offset: c.to + 1}
		if err := p.sink.persist(ctx, p.name(), func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, buryTimeout)
			defer cancel()
			return p.bury(ctx, letter, next)
		}); err != nil {
			return err
		}
		p.advance(c)
		p.progress = false
	}
	p.sink.metrics.refused.WithLabelValues(p.topic).Inc()
	p.sink.log.Error("ClickHouse refuses a record for what it says: it is in the dead letters instead",
		"partition", p.name(), "offset", rec.Offset, "table", why.table, "error", why.err)
	return nil
}

func (p *partition) deadLetter(rec *kgo.Record, why *refusal) *kgo.Record {
	const most = 1000 // ClickHouse may quote the whole row
	message := why.err.Error()
	if len(message) > most {
		message = strings.ToValidUTF8(message[:most], "") + "…"
	}
	letter := sinks.DeadLetter(p.sink.topics.DeadLetters, rec, CodeRefused, message)
	letter.Headers = append(letter.Headers, kgo.RecordHeader{Key: HeaderTable, Value: []byte(why.table)})
	return letter
}

const buryTimeout = 30 * time.Second

// bury writes a dead letter and commits the offset behind its record, in one
// transaction: both are done, or neither. Each try has a client of its own:
// the broker ends the last try's transaction, or that of a predecessor, before
// it has another under the same id.
func (p *partition) bury(ctx context.Context, letter *kgo.Record, next kgo.EpochOffset) error {
	fail := func(doing string, err error) error {
		if err == nil {
			return nil
		}
		return kafkaFault(fmt.Sprintf("write a dead letter: %s (it needs the rights to write to topic %s with transactional.id %s)",
			doing, letter.Topic, p.transactionalID()), err)
	}
	client, err := kgo.NewClient(append(p.sink.options[:len(p.sink.options):len(p.sink.options)],
		kgo.TransactionalID(p.transactionalID()),
		kgo.TransactionTimeout(2*buryTimeout),
		// Before KIP-890, which has rules of its own for who adds offsets.
		kgo.MaxVersions(kversion.V3_6_0()),
	)...)
	if err != nil {
		return fail("make a client", err)
	}
	defer client.Close()
	// A record that is on its way is waited for, whatever ctx says.
	defer context.AfterFunc(ctx, client.Close)()
	id, epoch, err := client.ProducerID(ctx)
	if err != nil {
		return fail("begin", err)
	}
	at, err := p.committed(ctx, client)
	if err != nil {
		return fail("ask whether it is written", err)
	}
	if at >= next.Offset {
		return nil // the last try has worked, though its answer got lost
	}
	if err := client.BeginTransaction(); err != nil {
		return fail("begin", err)
	}
	err = client.ProduceSync(ctx, letter).FirstErr()
	if err == nil {
		err = p.commitWithin(ctx, client, id, epoch, next)
	}
	return fail("write", errors.Join(err, connect.EndTransaction(ctx, client, kgo.TransactionEndTry(err == nil), letter)))
}

func (p *partition) transactionalID() string {
	return fmt.Sprintf("%s-%s-%d", p.sink.cfg.Group, p.topic, p.id)
}

// committed is the group's offset, once no transaction has a say in it.
func (p *partition) committed(ctx context.Context, client *kgo.Client) (int64, error) {
	offsets, err := kadm.NewClient(client).FetchOffsets(ctx, p.sink.cfg.Group)
	if err != nil {
		return 0, err
	}
	at, ok := offsets.Lookup(p.topic, p.id)
	if !ok {
		return -1, nil
	}
	return at.At, at.Err
}

// commitWithin makes the offset a part of the client's transaction. Like any
// other commit it is refused from a member that lost the partition.
func (p *partition) commitWithin(ctx context.Context, client *kgo.Client, id int64, epoch int16, next kgo.EpochOffset) error {
	join := kmsg.NewPtrAddOffsetsToTxnRequest()
	join.TransactionalID, join.ProducerID, join.ProducerEpoch, join.Group = p.transactionalID(), id, epoch, p.sink.cfg.Group
	joined, err := join.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	if err := kerr.ErrorForCode(joined.ErrorCode); err != nil {
		return err
	}
	text, err := mark{TopicID: p.topicID, Taken: p.taken, Refused: p.refused}.text()
	if err != nil {
		return err
	}
	part := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	part.Partition, part.Offset, part.LeaderEpoch, part.Metadata = p.id, next.Offset, next.Epoch, &text
	topic := kmsg.NewTxnOffsetCommitRequestTopic()
	topic.Topic, topic.Partitions = p.topic, append(topic.Partitions, part)
	commit := kmsg.NewPtrTxnOffsetCommitRequest()
	commit.TransactionalID, commit.ProducerID, commit.ProducerEpoch, commit.Group = p.transactionalID(), id, epoch, p.sink.cfg.Group
	commit.MemberID, commit.Generation = p.client.GroupMetadata()
	commit.Topics = append(commit.Topics, topic)
	answer, err := commit.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	for _, t := range answer.Topics {
		for _, answered := range t.Partitions {
			if err := kerr.ErrorForCode(answered.ErrorCode); err != nil {
				return err
			}
		}
	}
	return nil
}
