package demo

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/refundguard/refundguard/cmd/refundguard/shop"
)

// maxLine is how long a line of a file may be: what a Kafka broker takes by
// default, with room for the rest of the record.
const maxLine = 1_000_000

// inputs are the streams that a folder can hold, as STREAM.jsonl, with their
// topics and the field that keys their records. At one event time they come in
// this order.
var inputs = [...]struct{ stream, topic, key string }{
	{"transactions", "transactions", "customer_id"}, {"refunds", topicRefunds, "customer_id"},
	{"complaints", topicComplaints, "customer_id"}, {"confirmations", topicConfirmations, "customer_id"},
	{"reviews", topicReviews, "refund_id"}, {"ledger_results", topicResults, "refund_id"},
}

// files merges the streams of a folder by event time. Lines go on byte for
// byte; one that holds no time, because it is malformed, takes that of the
// line before.
type files struct {
	dir    string
	open   []*lines
	names  []string // of their streams
	last   *lines   // whose head was returned
	labels map[string]string
}

// wanted is what the data must be.
const wanted = "--data names a folder with transactions.jsonl and refunds.jsonl, e.g. from refundguard gen"

func openFiles(dir string) (*files, error) {
	if info, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("opening the data: %w (%s)", err, wanted)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("opening the data: %s is a file (%s)", dir, wanted)
	}
	f := &files{dir: dir, labels: map[string]string{}}
	for order, in := range inputs {
		l, err := openLines(filepath.Join(dir, in.stream+".jsonl"), in.stream, in.key, order)
		if errors.Is(err, fs.ErrNotExist) && order > 1 {
			continue
		}
		if err == nil {
			f.open, f.names = append(f.open, l), append(f.names, in.stream)
			err = l.first()
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w (%s)", err, wanted)
		}
		if err != nil {
			f.close()
			return nil, err
		}
	}
	if !slices.ContainsFunc(f.open, func(l *lines) bool { return l.have }) {
		f.close()
		return nil, fmt.Errorf("the files in %s hold no records (%s)", dir, wanted)
	}
	if err := f.readLabels(filepath.Join(dir, shop.Labels+".jsonl")); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

func (f *files) about() string { return f.dir }

func (f *files) streams() []string { return f.names }

func (f *files) notes() (notes []string) {
	for _, l := range f.open {
		if l.odd > 0 {
			notes = append(notes, fmt.Sprintf("%s: lines without a readable occurred_at: %d (the first is line %d); sent as they are, at the time of the line before", l.path, l.odd, l.firstOdd))
		}
	}
	return notes
}

func (f *files) close() {
	for _, l := range f.open {
		l.file.Close()
	}
}

func (f *files) next() (shop.Record, bool, error) {
	if f.last != nil {
		if err := f.last.read(); err != nil {
			return shop.Record{}, false, err
		}
		f.last = nil
	}
	for _, l := range f.open {
		if l.have && (f.last == nil || l.head.Time < f.last.head.Time) {
			f.last = l
		}
	}
	if f.last == nil {
		return shop.Record{}, false, nil
	}
	return f.last.head, true, nil
}

func (f *files) readLabels(path string) error {
	l, err := openLines(path, shop.Labels, "", 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer l.file.Close()
	for {
		if err := l.read(); err != nil {
			return err
		}
		if !l.have {
			return nil
		}
		var label struct {
			RefundID string `json:"refund_id"`
			Attack   string `json:"attack"`
		}
		if err := json.Unmarshal(l.head.Value, &label); err != nil || label.RefundID == "" || label.Attack == "" {
			return fmt.Errorf(`%s:%d: not a label: want {"refund_id":"…","attack":"…"}`, path, l.number)
		}
		f.labels[label.RefundID] = label.Attack
	}
}

// lines reads one file, one line ahead.
type lines struct {
	path, key string
	file      *os.File
	in        *bufio.Reader
	number    int
	have      bool
	head      shop.Record
	buf       []byte
	odd       int // lines without a readable time
	firstOdd  int
}

func openLines(path, stream, key string, order int) (*lines, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the data: %w", err)
	}
	topic := stream
	if stream != shop.Labels {
		topic = inputs[order].topic
	}
	return &lines{path: path, key: key, file: file, in: bufio.NewReaderSize(file, 1<<16), head: shop.Record{Stream: topic}}, nil
}

// first reads the first line and refuses a file that can't be what is asked
// for.
func (l *lines) first() error {
	if err := l.read(); err != nil {
		return err
	}
	if l.odd > 0 {
		return fmt.Errorf("%s:%d: no JSON object with an occurred_at (RFC 3339 with a zone, or Unix milliseconds): the file must hold one such object a line, as refundguard gen writes them; this line is %.60q",
			l.path, l.number, l.head.Value)
	}
	return nil
}

// read goes to the next line that isn't blank. At the end, have is false.
func (l *lines) read() error {
	for {
		l.number++
		line, err := l.line()
		if err != nil && err != io.EOF {
			return fmt.Errorf("%s:%d: %w", l.path, l.number, err)
		}
		if len(bytes.TrimSpace(line)) > 0 {
			l.take(line)
			return nil
		}
		if err == io.EOF {
			l.have = false
			return nil
		}
	}
}

// line is the next line without its end; io.EOF comes with the last.
func (l *lines) line() ([]byte, error) {
	l.buf = l.buf[:0]
	for {
		piece, err := l.in.ReadSlice('\n')
		l.buf = append(l.buf, piece...)
		if len(l.buf) > maxLine {
			return nil, fmt.Errorf("the line is longer than %d bytes, and no broker takes that: split or remove it", maxLine)
		}
		if err == bufio.ErrBufferFull {
			continue
		}
		return bytes.TrimSuffix(bytes.TrimSuffix(l.buf, []byte("\n")), []byte("\r")), err
	}
}

func (l *lines) take(line []byte) {
	l.have = true
	l.head.Value, l.head.Key = line, nil
	if l.key == "" {
		return
	}
	var fields struct {
		OccurredAt json.RawMessage `json:"occurred_at"`
		CustomerID *string         `json:"customer_id"`
		RefundID   *string         `json:"refund_id"`
	}
	err := json.Unmarshal(line, &fields)
	key := fields.CustomerID
	if l.key == "refund_id" {
		key = fields.RefundID
	}
	if key != nil {
		l.head.Key = []byte(*key)
	}
	if t, ok := eventTime(fields.OccurredAt); ok && err == nil {
		l.head.Time = t
		return
	}
	if l.odd++; l.odd == 1 {
		l.firstOdd = l.number
	}
}

// eventTime reads RFC 3339 or Unix milliseconds.
func eventTime(raw json.RawMessage) (int64, bool) {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		t, err := time.Parse(time.RFC3339Nano, text)
		return t.UnixMilli(), err == nil
	}
	ms, err := strconv.ParseInt(string(raw), 10, 64)
	return ms, err == nil
}
