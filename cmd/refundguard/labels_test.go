package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/refundguard/refundguard/rules/event"
)

// ledger is a front without a service, whose decisions and labels are written by
// the test.
func newLedger(t *testing.T, more string) *storeFront {
	s := newStoreFront(t)
	if _, err := kadm.NewClient(s.client).CreateTopics(t.Context(), 2, 1, nil, "refund-decisions", "refund-labels"); err != nil {
		t.Fatal(err)
	}
	content := fmt.Sprintf("kafka: {seed_brokers: [%q]}\nrules: {dir: %q}\n%s\n", s.brokers[0], filepath.Join(filepath.Dir(s.file), "rules"), more)
	if err := os.WriteFile(s.file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *storeFront) put(topic, key string, value []byte) {
	s.t.Helper()
	if err := s.client.ProduceSync(s.t.Context(), &kgo.Record{Topic: topic, Key: []byte(key), Value: value}).FirstErr(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *storeFront) decide(ids ...string) {
	for _, id := range ids {
		d := event.Decision{DecisionID: event.DecisionID(id, 0), RefundID: id, Outcome: event.Approve, DecidedBy: "engine"}
		s.put("refund-decisions", id, d.Append(nil))
	}
}

// listed is what labels list says.
func (s *storeFront) listed(args ...string) []event.Label {
	s.t.Helper()
	r := runCommand(s.t, append([]string{"labels", "list", "-c", s.file, "--limit", "0", "-o", "json"}, args...)...)
	var values []json.RawMessage
	if err := json.Unmarshal([]byte(r.out), &values); err != nil || r.code != exitFine {
		s.t.Fatalf("exit %d, %v in:\n%s%s", r.code, err, r.out, r.err)
	}
	var labels []event.Label
	for _, v := range values {
		l, err := event.ParseLabel(v)
		if err != nil {
			s.t.Fatal(err)
		}
		labels = append(labels, *l)
	}
	return labels
}

func TestLabelsAreImportedOnce(t *testing.T) {
	s := newLedger(t, "")
	s.decide("r1", "r2", "r,3")
	file := write(t, "labels.csv", "\ufeffnote,at,label,refund_id\n\"said \"\"no\"\"\",2026-01-02T03:04:05+01:00,fraud,r1\n,1767225600123,legit,r2\n,2026-01-02T00:00:00Z,legit,\"r,3\"\n,1767225600123,legit,r2\n")
	if r := runCommand(t, "labels", "import", file, "-c", s.file, "--dry-run"); r.code != exitFine || !strings.Contains(r.out, "3 labels would be written, 1 there already") || len(s.listed()) != 0 {
		t.Fatalf("exit %d:\n%s%s", r.code, r.out, r.err)
	}
	for _, says := range []string{"3 labels written, 1 there already", "0 labels written, 4 there already"} {
		if r := runCommand(t, "labels", "import", file, "-c", s.file); r.code != exitFine || !strings.Contains(r.out, says) {
			t.Fatalf("exit %d, want %q in:\n%s%s", r.code, says, r.out, r.err)
		}
		if labels := s.listed(); len(labels) != 3 {
			t.Fatalf("%+v", labels)
		}
	}
	want := event.Label{LabelID: event.LabelID("import", "r1", "fraud", "1767319445000", "", `said "no"`), RefundID: "r1", Label: "fraud", Source: "import",
		At: 1767319445000, Weight: 30, Note: `said "no"`}
	if labels := s.listed("--refund", "r1"); len(labels) != 1 || labels[0] != want {
		t.Errorf("%+v\nwant %+v", labels, want)
	}
	if labels := s.listed("--refund", "r,3"); len(labels) != 1 || labels[0].Label != "legit" {
		t.Errorf("%+v", labels)
	}
	// A heavier one counts, though it is older.
	heavier := event.Label{LabelID: "x", RefundID: "r2", Label: "fraud", Source: "chargeback", At: 1, Weight: 40}
	for range 2 {
		s.put("refund-labels", "r2", heavier.Append(nil))
	}
	s.put("refund-labels", "r2", []byte("nonsense"))
	if labels := s.listed("--refund", "r2"); len(labels) != 2 {
		t.Errorf("%+v", labels)
	}
	if r := runCommand(t, "labels", "list", "-c", s.file, "--refund", "r2"); r.code != exitFine || !strings.Contains(r.out, "fraud counts: chargeback, 1970-01-01") {
		t.Errorf("exit %d:\n%s%s", r.code, r.out, r.err)
	}
	if r := runCommand(t, "labels", "list", "-c", s.file, "--refund", "r9"); r.code != exitFine || r.out != "no labels\n" {
		t.Errorf("exit %d:\n%s%s", r.code, r.out, r.err)
	}
}

// Each file stands beside all that is said of it. What is right of it is written
// with --skip-bad only.
func TestLabelFilesWithFaults(t *testing.T) {
	at := "2026-01-02T00:00:00Z"
	future := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	for name, c := range map[string]struct {
		file string
		says []string
		skip int // labels written with --skip-bad; -1: none, it is refused all the same
	}{
		"values": {"refund_id,label,at,by\nr1,Fraud," + at + ",ann\nr2,legit,yesterday,ann\n,legit," + at + ",\nr1,legit," + future + ",\nr2,legit,1767225600,\nr1,legit," + at + ",ann\n", []string{
			`:2:4: label can't be "Fraud"; write fraud or legit`,
			`:3:10: at can't be "yesterday"; write when it was known`,
			`:4:1: refund_id has 0 bytes; write 1 to 256`,
			`:5:10: at is "` + future + `", which is in the future`,
			`:6:10: at can't be "1767225600"`,
		}, 1},
		"unknown refunds": {"label,at,refund_id\nfraud," + at + ",r1\nfraud," + at + ",r7\nmaybe," + at + ",r8\nfraud," + at + ", r1\n", []string{
			`:3:28: refund "r7" is unknown: no decision of it is in refund-decisions; correct refund_id`,
			`:4:1: label can't be "maybe"`, `:4:28: refund "r8" is unknown`, `:5:28: refund " r1" is unknown`,
		}, 1},
		"contradiction": {"refund_id,label,at\nr1,fraud," + at + "\nr1,legit," + at + "\nr2,legit," + at + "\n", []string{
			`:3:1: refund "r1" is imported as fraud at this very time already; the later of two labels counts`,
		}, 2},
		"too few values": {"refund_id,label,at,note\nr1,fraud," + at + "\nr2,legit," + at + ",a,b\nr1,fraud," + at + ",\n", []string{
			`:2:1: 3 values, and the header has 4; write one value`, `:3:1: 5 values, and the header has 4`,
		}, 1},
		"control character": {"refund_id,label,at,note\nr1,fraud," + at + ",a\x00b\nr2,legit," + at + ",\n", []string{`:2:31: a value holds a control character`}, 1},
		"long note":         {"refund_id,label,at,note\nr1,fraud," + at + "," + strings.Repeat("x", 4097) + "\nr2,legit," + at + ",\n", []string{`:2:31: note has 4097 bytes; write 0 to 4096`}, 1},
		"columns":           {"refund_id,labels,at,at\nr1,fraud," + at + "\n", []string{`:1:11: unknown column "labels"; the columns are`, `:1:21: the column at is there twice`, `:1:1: the column label is missing`}, -1},
		"semicolons":        {"refund_id;label;at\nr1;fraud;" + at + "\n", []string{`:1:1: unknown column "refund_id;label;at"`, "separated by commas"}, -1},
		"no header":         {"r1,fraud," + at + "\n", []string{`:1:1: unknown column "r1"`, "the column refund_id is missing"}, -1},
		"empty":             {"", []string{":1:1: the file has no header; begin it with a line refund_id,label,at"}, -1},
		"open quote":        {"refund_id,label,at,note\nr1,fraud," + at + ",\"open\nr2,fraud," + at + ",\n", []string{":2:", "not CSV: extraneous or missing"}, -1},
		"swallowed row":     {"refund_id,label,at,note\nr1,fraud," + at + ",\"open\nr2,fraud," + at + ",\"\n", []string{":2:31: a value goes on in the next line"}, -1},
		"not UTF-8":         {"refund_id,label,at,note\nr1,fraud," + at + ",ok\nr1,fraud," + at + ",\xe4\n", []string{":3:1: not UTF-8 text"}, -1},
	} {
		t.Run(name, func(t *testing.T) {
			s := newLedger(t, "")
			s.decide("r1", "r2")
			file := write(t, "labels.csv", c.file)
			r := runCommand(t, "labels", "import", file, "-c", s.file)
			for _, says := range append(c.says, "nothing was written") {
				if !strings.Contains(r.err, says) {
					t.Errorf("want %q in:\n%s", says, r.err)
				}
			}
			if labels := s.listed(); r.code != exitProblems || len(labels) > 0 || strings.Contains(r.out, "written") {
				t.Errorf("exit %d, %d labels:\n%s", r.code, len(labels), r.out)
			}
			r = runCommand(t, "labels", "import", file, "-c", s.file, "--skip-bad", "-o", "json")
			var told struct {
				Written int
				Faults  []struct {
					Where        string
					Line, Column int
				}
			}
			if err := json.Unmarshal([]byte(r.out), &told); err != nil {
				t.Fatalf("%v in:\n%s%s", err, r.out, r.err)
			}
			code := map[bool]int{true: exitProblems, false: exitFine}[c.skip < 0]
			if labels := s.listed(); r.code != code || len(labels) != max(c.skip, 0) || told.Written != len(labels) {
				t.Errorf("exit %d, %d labels:\n%s", r.code, len(labels), r.out)
			}
			if len(told.Faults) == 0 || told.Faults[0].Where != file || told.Faults[0].Line == 0 || told.Faults[0].Column == 0 {
				t.Errorf("%+v", told)
			}
		})
	}
}

// A corrected file must not be written beside what it contradicts: which of the
// two counts would be chance.
func TestImportContradictsAnEarlierOne(t *testing.T) {
	s := newLedger(t, "")
	s.decide("r1")
	head := "refund_id,label,at\n"
	for _, c := range []struct {
		row    string
		code   int
		labels int
	}{{"r1,fraud,2026-01-02T00:00:00Z\n", exitFine, 1}, {"r1,legit,2026-01-02T00:00:00Z\n", exitProblems, 1}, {"r1,legit,2026-01-02T00:00:01Z\n", exitFine, 2}} {
		if r := runCommand(t, "labels", "import", write(t, "l.csv", head+c.row), "-c", s.file); r.code != c.code || len(s.listed()) != c.labels {
			t.Errorf("%s: exit %d, %v:\n%s%s", c.row, r.code, s.listed(), r.out, r.err)
		}
	}
	if r := runCommand(t, "labels", "list", "-c", s.file, "--refund", "r1"); !strings.Contains(r.out, "legit counts: import") {
		t.Error(r.out)
	}
}

func TestImportNeedsTheTopic(t *testing.T) {
	s := newLedger(t, "topics: {labels: elsewhere}")
	s.decide("r1")
	file := write(t, "l.csv", "refund_id,label,at\nr1,fraud,2026-01-02T00:00:00Z\n")
	if r := runCommand(t, "labels", "import", file, "-c", s.file); r.code != exitProblems || !strings.Contains(r.err, "there is no topic elsewhere: start refundguard run") {
		t.Errorf("exit %d:\n%s%s", r.code, r.out, r.err)
	}
	if r := runCommand(t, "labels", "import", "no/such.csv", "-c", s.file); r.code != exitUsage || !strings.Contains(r.err, "no/such.csv") {
		t.Errorf("exit %d:\n%s%s", r.code, r.out, r.err)
	}
}

// FuzzLabelFile: whatever a file holds, each of its rows is one line that is read
// back from what is written, or has a fault.
func FuzzLabelFile(f *testing.F) {
	f.Add([]byte("refund_id,label,at,by,note\nr1,fraud,2026-01-02T00:00:00Z,ann,\"a,b\"\n\nr2,legit,1767225600123,,\n"))
	f.Add([]byte("\ufeffat,label,refund_id\r\n1767225600123,fraud,\"r\"\"1\"\r\n"))
	f.Add([]byte("refund_id,label,at\nr1,fraud,\"1767225600123\nr2,fraud,1767225600123"))
	now := time.UnixMilli(1767999999999)
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := readLabelFile("f.csv", strings.NewReader(string(data)), now)
		if err != nil {
			t.Fatal(err)
		}
		if file.broken {
			if len(file.faults) == 0 {
				t.Fatal("broken without a fault")
			}
			return
		}
		told := map[int]bool{}
		for _, fault := range file.faults {
			told[fault.Line] = true
		}
		last := 1
		for _, r := range file.rows {
			if r.line <= last || r.bad != told[r.line] {
				t.Fatalf("row of line %d after that of %d, bad: %v, told: %v", r.line, last, r.bad, told[r.line])
			}
			last = r.line
			told[r.line] = true
			if r.bad {
				continue
			}
			back, err := event.ParseLabel(r.Label.Append(nil))
			if err != nil || *back != *r.Label {
				t.Fatalf("%+v is read back as %+v, %v", r.Label, back, err)
			}
		}
		in := csv.NewReader(strings.NewReader(strings.TrimPrefix(string(data), "\ufeff")))
		in.FieldsPerRecord = -1
		if all, err := in.ReadAll(); err != nil || len(told) != len(all)-1 {
			t.Fatalf("%d rows, %d are taken or have a fault; %v", len(all)-1, len(told), err)
		}
	})
}
