package demo

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func folderOf(t *testing.T, content map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range content {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// drain is everything that a source gives, as "topic key value".
func drain(t *testing.T, s source) (all []string) {
	t.Helper()
	for {
		r, ok, err := s.next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return all
		}
		key := "-"
		if r.Key != nil {
			key = string(r.Key)
		}
		all = append(all, r.Stream+" "+key+" "+string(r.Value))
	}
}

func TestFilesAreMergedByTime(t *testing.T) {
	dir := folderOf(t, map[string]string{
		"transactions.jsonl": `{"transaction_id":"t1","customer_id":"c1","occurred_at":"2025-01-01T00:00:00Z"}` + "\n\n" +
			`  {"transaction_id":"t2",  "occurred_at":1735689603000}  ` + "\r\n" +
			`{"transaction_id":"t3","customer_id":"c\u0031","occurred_at":"2025-01-01T01:00:05+01:00"}`,
		"refunds.jsonl": `{"refund_id":"r1","customer_id":"c1","occurred_at":"2025-01-01T00:00:03Z"}` + "\n" +
			`{"refund_id":"broken` + "\n" +
			`{"refund_id":"r2","occurred_at":"2025-01-01T00:00:04Z"}` + "\n",
		"reviews.jsonl":        `{"review_id":"v1","refund_id":"r1","occurred_at":"2025-01-01T00:00:04Z"}`,
		"ledger_results.jsonl": `{"result_id":"l1","refund_id":"r1","occurred_at":"2025-01-01T00:00:09Z"}`,
		"labels.jsonl":         `{"refund_id":"r1","attack":"device_ring","label":"fraud"}`,
	})
	f, err := openFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	want := []string{
		`transactions c1 {"transaction_id":"t1","customer_id":"c1","occurred_at":"2025-01-01T00:00:00Z"}`,
		`transactions -   {"transaction_id":"t2",  "occurred_at":1735689603000}  `,
		`refunds c1 {"refund_id":"r1","customer_id":"c1","occurred_at":"2025-01-01T00:00:03Z"}`,
		`refunds - {"refund_id":"broken`,
		`refunds - {"refund_id":"r2","occurred_at":"2025-01-01T00:00:04Z"}`,
		`reviews r1 {"review_id":"v1","refund_id":"r1","occurred_at":"2025-01-01T00:00:04Z"}`,
		`transactions c1 {"transaction_id":"t3","customer_id":"c\u0031","occurred_at":"2025-01-01T01:00:05+01:00"}`,
		`ledger-results r1 {"result_id":"l1","refund_id":"r1","occurred_at":"2025-01-01T00:00:09Z"}`,
	}
	if got := drain(t, f); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if f.labels["r1"] != "device_ring" {
		t.Errorf("labels %v", f.labels)
	}
	if notes := strings.Join(f.notes(), "\n"); !strings.Contains(notes, "refunds.jsonl: lines without a readable occurred_at: 1 ") || !strings.Contains(notes, "line 2") {
		t.Errorf("notes %q", notes)
	}
}

func TestBadFilesAreRefused(t *testing.T) {
	good := `{"transaction_id":"t1","occurred_at":"2025-01-01T00:00:00Z"}` + "\n"
	cases := map[string]struct {
		files map[string]string
		says  []string
	}{
		"nothing":    {map[string]string{}, []string{"transactions.jsonl", "refundguard gen"}},
		"no records": {map[string]string{"transactions.jsonl": "\n", "refunds.jsonl": ""}, []string{"hold no records", "refundguard gen"}},
		"no refunds": {map[string]string{"transactions.jsonl": good}, []string{"refunds.jsonl"}},
		"another format": {map[string]string{"transactions.jsonl": "\n\nid,amount,currency\n", "refunds.jsonl": good},
			[]string{"transactions.jsonl:3:", "one such object a line", "id,amount,currency"}},
		"no time":     {map[string]string{"transactions.jsonl": `{"transaction_id":"t1"}`, "refunds.jsonl": good}, []string{"transactions.jsonl:1:", "occurred_at"}},
		"bad label":   {map[string]string{"transactions.jsonl": good, "refunds.jsonl": good, "labels.jsonl": "{}"}, []string{"labels.jsonl:1:"}},
		"a long line": {map[string]string{"transactions.jsonl": good, "refunds.jsonl": strings.Repeat("x", maxLine+1)}, []string{"refunds.jsonl:1:", "longer than"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			f, err := openFiles(folderOf(t, c.files))
			if err == nil {
				f.close()
				t.Fatal("no error")
			}
			for _, want := range c.says {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
		})
	}
}

func TestNoFolderOfData(t *testing.T) {
	dir := folderOf(t, map[string]string{"refunds.jsonl": ""})
	for path, says := range map[string]string{
		filepath.Join(dir, "nope"):          "nope: no such file or directory (--data names a folder with transactions.jsonl",
		filepath.Join(dir, "refunds.jsonl"): "refunds.jsonl is a file (--data names a folder",
	} {
		if _, err := openFiles(path); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("error %v does not say %q", err, says)
		}
	}
}

func TestLongLineInTheMiddle(t *testing.T) {
	line := `{"refund_id":"t1","occurred_at":"2025-01-01T00:00:00Z"}` + "\n"
	f, err := openFiles(folderOf(t, map[string]string{"transactions.jsonl": line, "refunds.jsonl": line + line + strings.Repeat("x", maxLine+1)}))
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	for {
		_, ok, err := f.next()
		if err != nil {
			if !strings.Contains(err.Error(), "refunds.jsonl:3:") {
				t.Errorf("error %q does not say the line", err)
			}
			return
		}
		if !ok {
			t.Fatal("no error")
		}
	}
}

func FuzzFiles(f *testing.F) {
	f.Add([]byte("{\"occurred_at\":1}\n{\"customer_id\":7,\"occurred_at\":\"x\"}\n\xff\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := openLines(filepath.Join(folderOf(t, map[string]string{"x": string(text)}), "x"), "refunds", "customer_id", 1)
		if err != nil {
			t.Fatal(err)
		}
		defer l.file.Close()
		want := 0
		for line := range strings.Lines(string(text)) {
			if strings.TrimSpace(line) != "" {
				want++
			}
		}
		got := 0
		for {
			if err := l.read(); err != nil {
				t.Fatal(err)
			}
			if !l.have {
				break
			}
			got++
		}
		if got != want {
			t.Errorf("%d lines of %q, want %d", got, text, want)
		}
	})
}
