package engine_test

import (
	"bufio"
	"encoding/csv"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/engine"
	"github.com/refundguard/refundguard/rules/event"
)

// TestHitsOfARealShopsYear runs eight rules over a year of sales and refunds,
// and holds hits and feature values against what other programs computed. The
// data set is not part of the project: REFUNDGUARD_RETAIL is its folder.
func TestHitsOfARealShopsYear(t *testing.T) {
	dir := os.Getenv("REFUNDGUARD_RETAIL")
	if dir == "" {
		t.Skip("REFUNDGUARD_RETAIL is not set")
	}
	schema := event.Builtin()
	set, err := rules.Load(filepath.Join("testdata", "retail.yaml"), rules.Options{Schema: schema, Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	want := retailFeatures(t, filepath.Join(dir, "refund_features.csv"))
	transactions := readItems(t, schema, "transactions", filepath.Join(dir, "transactions.jsonl"))
	refunds := readItems(t, schema, "refunds", filepath.Join(dir, "refunds.jsonl"))

	e := engine.New(engine.Config{Schema: schema, Workers: 3, ReadAhead: 3_600_000}, set)
	defer e.Close()
	faults, compared, hits := 0, 0, map[string]int{}
	report := func(format string, args ...any) {
		if faults++; faults <= 20 {
			t.Errorf(format, args...)
		}
	}
	due := make([]*engine.Item, 0, len(refunds))
	texts := make([]map[string]string, len(refunds))
	for len(refunds) > 0 { // all that is stamped at one time is applied before its refunds are decided
		now := refunds[0].Event.Time
		var n, m int
		for n < len(transactions) && transactions[n].Event.Time <= now {
			n++
		}
		for m < len(refunds) && refunds[m].Event.Time == now {
			m++
		}
		e.Apply(transactions[:n])
		e.Apply(refunds[:m])
		due = append(due[:0], refunds[:m]...)
		e.Decide(due, func(_, i int, d *event.Decision, r *rules.Result) { texts[i] = describeRetail(d, r) })
		for i, it := range due {
			id := it.Event.ID()
			row, ok := want[id]
			if !ok {
				if it.Event.Str(it.Event.Stream.Slot("customer_id")) != "" {
					report("%s is not in the table", id)
				}
				if texts[i]["R1"] != "0" || texts[i]["R3"] != "0" {
					report("%s has no customer, and a rule hit: %v", id, texts[i])
				}
				continue
			}
			compared++
			for column, value := range row {
				if texts[i][column] != value {
					report("%s: %s is %q, want %q", id, column, texts[i][column], value)
				}
				if value == "1" && strings.HasPrefix(column, "R") {
					hits[column]++
				}
			}
		}
		transactions, refunds = transactions[n:], refunds[m:]
	}
	if compared != len(want) || compared != 4247 {
		t.Errorf("%d refunds were compared, the table has %d", compared, len(want))
	}
	if faults > 0 {
		t.Errorf("%d differences in all", faults)
	}
	for _, r := range []string{"R1", "R2", "R3", "R4", "R5", "R6", "R7", "R8"} {
		if hits[r] == 0 {
			t.Errorf("%s never hits: nothing was tested", r)
		}
	}
	t.Logf("%d rows agree; hits: %v", compared, hits)
}

// retailFeatures reads what is to be found, by refund and column.
func retailFeatures(t *testing.T, path string) map[string]map[string]string {
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	records, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]map[string]string{}
	for _, record := range records[1:] {
		row := map[string]string{}
		for i, column := range records[0][1:] {
			row[column] = record[i+1]
		}
		row["R5-counted"], row["R8-exact"] = row["R5"], row["R8"]
		rows[record[0]] = row
	}
	return rows
}

func readItems(t *testing.T, schema *event.Schema, stream, path string) []*engine.Item {
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	index := -1
	for i, s := range schema.Streams {
		if s.Name == stream {
			index = i
		}
	}
	d := event.NewDecoder(schema.Streams[index], event.DefaultLimits())
	var items []*engine.Item
	for lines := bufio.NewScanner(file); lines.Scan(); {
		data := []byte(lines.Text()) // the event's texts alias it
		it := &engine.Item{Stream: index}
		it.Event.Vals = make([]event.Value, 0, event.MaxFields)
		if err := d.Decode(data, &it.Event); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		it.Prepare(data)
		items = append(items, it)
	}
	return items
}

var pastEvents = regexp.MustCompile(`^(refund|transaction)s\.by\(customer_id\)\.(?:within\("(\d+[hd])"\)|(ever)\(\))\.(count|sum)\((?:amount)?\)$`)

// describeRetail gives a decision the form of the table's rows.
func describeRetail(d *event.Decision, r *rules.Result) map[string]string {
	row := map[string]string{}
	for _, rule := range []string{"R1", "R2", "R3", "R4", "R5", "R5-counted", "R6", "R7", "R8", "R8-exact"} {
		row[rule] = "0"
	}
	for _, h := range r.Hits {
		row[h.Rule] = "1"
	}
	for _, e := range r.Errors {
		row[e.Rule] = e.Error
	}
	for _, f := range d.Features {
		if f.Name == `transactions.by(customer_id).ever().since_last()` {
			if f.Kind != event.FeatureNil {
				row["seconds_since_purchase"] = strconv.FormatFloat(math.Round(f.Float), 'f', -1, 64)
			} else {
				row["seconds_since_purchase"] = ""
			}
			continue
		}
		m := pastEvents.FindStringSubmatch(f.Name)
		if m == nil {
			continue
		}
		name := strings.Replace(m[1], "transaction", "purchase", 1) + "_" + m[4] + "_" + m[2] + m[3]
		if f.Kind == event.FeatureMoney {
			row[name] = string(event.Money(f.Num).Append(nil, 2))
		} else {
			row[name] = strconv.FormatInt(f.Num, 10)
		}
	}
	return row
}
