package clickhouse

import (
	"context"
	"fmt"
	"math"
	"time"
)

// write stores c, in parts that are announced one by one: all of it where
// ClickHouse takes it. A part that is refused for what a row of it says is
// halved until the culprit is alone, which is then given up. A part that was
// refused left no row behind, so that its halves can't repeat one.
func (p *partition) write(ctx context.Context, c span, announced bool) error {
	for {
		months := maxMonths
		if announced {
			months = math.MaxInt // its bounds are settled
		}
		rows, n := p.reader.read(c.records, months)
		part, rest := c.cut(n)
		if !announced {
			if err := p.commit(ctx, &part.to); err != nil {
				return err
			}
			// Until the part is stored, nothing may be committed over its mark.
			p.progress = false
		}
		refused, err := p.store(ctx, part, rows, announced)
		switch {
		case err != nil:
			return err
		case refused == nil:
			p.forgive(len(part.records))
			p.advance(part)
		case len(part.records) == 1:
			if err := p.giveUp(ctx, part, refused); err != nil {
				return err
			}
		default:
			left, right := part.cut(len(part.records) / 2)
			if err := p.write(ctx, left, false); err != nil {
				return err
			}
			if err := p.write(ctx, right, false); err != nil {
				return err
			}
		}
		if len(rest.records) == 0 {
			return nil
		}
		c, announced = rest, false
	}
}

// refusal says which table won't take a row for what it says, and why.
type refusal struct {
	table string
	err   error
}

// store writes the rows of c to all their tables. It goes on, with the same
// rows, until ClickHouse has taken all of them, or refused them: tables that
// have taken theirs are not asked again. It may be a repeat of what somebody
// else has sent.
func (p *partition) store(ctx context.Context, c span, rows *rows, repeat bool) (refused *refusal, err error) {
	start := time.Now()
	// Two topics, or one that was deleted and made again, have records with
	// the same offsets; and so has a log that an unclean election cut, under
	// another leader epoch.
	token := fmt.Sprintf("%s-%s-%d-%d-%d-%d", p.topicID, p.topic, p.id, c.from, c.to, c.epoch)
	for _, l := range rows.loads() {
		if last, ok := p.taken[l.table]; ok && c.to <= last {
			continue
		}
		why, err := p.load(ctx, &l, c, token, repeat)
		switch {
		case err != nil:
			return nil, err
		case why == nil:
			if p.taken == nil {
				p.taken = make(map[string]int64)
			}
			p.taken[l.table] = c.to
			p.sink.metrics.rows.WithLabelValues(l.table).Add(float64(l.rows))
		case len(c.records) > 1:
			return &refusal{l.table, why}, nil
		case refused == nil: // the record's other rows are stored all the same
			refused = &refusal{l.table, why}
		}
	}
	if err := p.touch(ctx, rows, c); err != nil {
		return nil, err
	}
	if refused != nil {
		return refused, nil
	}
	for _, u := range rows.unreadable {
		p.sink.metrics.unreadable.WithLabelValues(p.topic).Inc()
		p.sink.log.Warn("record can't be read: kept in table "+unreadableTable, "partition", p.name(), "offset", u.rec.Offset, "error", u.err)
	}
	if len(c.records) > 0 {
		p.sink.metrics.stored(p.topic, time.Since(start))
	}
	return nil, nil
}

// load inserts until it works or ctx ends, or until ClickHouse has said that it
// is for what a row says that it doesn't.
func (p *partition) load(ctx context.Context, l *load, c span, token string, repeat bool) (refused, err error) {
	err = p.sink.persist(ctx, p.name(), func(ctx context.Context) error {
		select {
		case p.sink.slots <- struct{}{}: // not kept between tries: others may do better
			defer func() { <-p.sink.slots }()
		case <-ctx.Done():
			return ctx.Err()
		}
		ctx, cancel := context.WithTimeout(ctx, p.sink.cfg.Timeout)
		defer cancel()
		to := p.sink.target()
		err := l.insert(ctx, to, token)
		if err == nil && repeat {
			err = l.restore(ctx, to, p.topic, p.id, c, token)
		}
		repeat = true
		if err == nil || !aboutRows(err) {
			return err
		}
		found, unknown := l.any(ctx, to, p.topic, p.id, c)
		switch {
		case unknown != nil:
			return unknown
		case found:
			// Half of it under another token would be there twice.
			return advise(err, "a materialized view on "+l.table+" fails, or the group's offsets were moved back: mend the view (e.g. toInt32OrNull for toInt32) or drop it")
		case len(c.records) == 1 && p.refused >= p.sink.cfg.MaxRefused:
			return advise(err, fmt.Sprintf("%d records were refused and dead-lettered lately, so it may be the table that is wrong: mend it, or set clickhouse.max_refused higher", p.refused))
		}
		refused = err
		return nil
	})
	return refused, err
}
