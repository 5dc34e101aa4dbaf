package rules

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

// FuzzCondition: any text compiles and evaluates, or is refused with errors
// that print. In whichever role it stands, it approves nothing that it doesn't
// understand.
func FuzzCondition(f *testing.F) {
	for _, s := range []string{
		`amount > 5`, `refunds.by(customer_id).where(reason == "x").within("7d").delayed("1d").count() >= 5`,
		`original != nil and instrument_id != original?.instrument_id`, `big ?? lists.vip in [1..2]`,
		`transactions.by({customer_id: customer_id ?? agent_id}).ever().avg(amount) > 3 * amount`,
		`(mfa ?? false) ? amount / 3 > 0.1e2 : not (device_id matches "^a")`, `min(amount, 5, -1) in [1, 2.5]`,
		`all(1..9, # > 1)`, `let x = 1; x`, "if a {b} else {c}", `$env["x"]`, `a.b[1:2].c?.d()`, "`raw`", `b"x"`, `{a: 1}.a`, `x | f()`, `::now()`,
		`9223372036854775807 + 1 > 0`, `1e400 > 0`, `0x10 > 1_0`, `occurred_at - original.occurred_at < days(1)`, "amount /* c */ > // d\n 5",
		`hits.by(customer_id).where(severity == "high" and rule matches "^a.*b{2,5}$").within("30d").stddev(occurred_at) > 1`, `decisions.by(customer_id).ever().last(outcome) == "reject"`,
		`refunds.by(customer_id).ever().first(mfa) and refunds.by(device_id).ever().since_last() ?? 999 <= 3600`, `refunds.by(customer_id).ever().max(occurred_at) > "2026-01-01T00:00:00Z"`,
		`in_cidr(ip, ["10.0.0.0/8", "::/0"]) and not in_cidr(customer_id, lists.vip)`, `in_cidr(ip, [ip, 5])`, `weekday(occurred_at, "Europe/Berlin") in 6..7 or hour(occurred_at, "../x") > 5`,
		`zscore(amount, refunds.by(customer_id).ever().avg(amount), 0) > 3`, `hash_bucket(customer_id, 100) < 5 and hash_bucket("", -1) > 0`, `distance_km(1, 2, weight, 4) > 5`, `same_currency(amount, amount / 0)`,
		`updates.by(transaction_id).ever().last(status) in ["failed"]`, `(mfa ? nil : device_id) == "x" and true or false`, `lower(upper(trim(device_id))) == "x"`,
	} {
		f.Add(s)
	}
	for _, h := range hostileRules(f) {
		if h.when != "" && len(h.when) < 1<<10 {
			f.Add(h.when)
		}
	}
	schema := testSchema(f)
	event0, original := refund(f, "customer_id=c1"), payment(f)
	transaction := payment(f, "customer_id=c1")
	inputs := someInputs(f)
	f.Fuzz(func(t *testing.T, when string) {
		quoted, err := json.Marshal(when)
		if err != nil {
			t.Skip()
		}
		rule := "lists: {vip: [a]}\nmacros: {big: amount > 5}\nrules: [{id: r, action: review, when: " + string(quoted) + ", message: " + string(quoted) + "}, {id: x, action: approve, when: amount > 1, exceptions: [{reason: x, when: " + string(quoted) + "}]}]\n"
		s, err := LoadFS(fstest.MapFS{"a.yaml": {Data: []byte(rule)}}, "", Options{Schema: schema})
		if err != nil {
			if !strings.Contains(err.Error(), "a.yaml") {
				t.Fatalf("an error without a place: %v", err)
			}
			return
		}
		v := s.NewEvaluator()
		for _, in := range []Input{{Event: event0}, {Event: event0, Original: original}} {
			v.Begin(&in)
			if r := v.Run(false); r.Outcome == 0 {
				t.Fatal("no outcome")
			}
			for i := range v.Values() {
				v.Values()[i] = IntValue(3)
			}
			v.Run(false)
		}
		files := inRoles(when)
		files["lists.yaml"] = &fstest.MapFile{Data: []byte("lists: {vip: [a]}\nmacros: {big: amount > 5}\n")}
		if s, err := LoadFS(files, "", Options{Schema: schema}); err == nil {
			meetAll(t, when, s, inputs, true)
		}
		onPayments := "rules: [{id: r, on: transactions, action: alert, when: " + string(quoted) + "}]\n"
		if p, err := LoadFS(fstest.MapFS{"a.yaml": {Data: []byte(onPayments)}}, "", Options{Schema: schema}); err == nil {
			v := p.Transactions.NewEvaluator()
			v.Begin(&Input{Event: transaction})
			v.Run(false)
		}
		past := refund(t, "customer_id=c1")
		for i := range s.Series {
			if s.Series[i].Source == "refunds" {
				s.Series[i].Match(past)
				s.Series[i].AppendKey(nil, past)
			}
		}
	})
}

// someInputs are as many of the hostile inputs as a fuzzer has time for.
func someInputs(t testing.TB) (some []hostileInput) {
	for i, in := range hostileInputs(t) {
		if i%4 == 0 {
			some = append(some, in)
		}
	}
	return some
}

// FuzzFile: any bytes are loaded, or refused with errors that have a place; what
// is loaded has the same version and says the same each time, and no live rule
// that fails lets a refund pass.
func FuzzFile(f *testing.F) {
	for _, s := range []string{
		one("amount > 5"), "a: [", "lists: {a: {file: a.csv}}\n", "rules:\n- id: &a x\n  <<: *a\n", "? a\n: b\n", "%YAML 1.1\n---\n!!map {a: !x b}\n",
		"rules:\n  - {id: a, score: 5, when: |\n   x}\n", "macros:\n a: >-2\n   b\n",
		"lists: {a: [x, {value: y, expires: 2026-01-01, note: z}], b: [10.0.0.0/8]}\nrules:\n- {id: r, on: transactions, action: alert, when: 'in_cidr(ip, lists.b) or ip in lists.a', exceptions: [{when: amount > 5, reason: x, owner: y, expires: 2026-12-31}], on_trip: keep}\n",
	} {
		f.Add([]byte(s))
	}
	schema := testSchema(f)
	folders, _ := filepath.Glob("testdata/hostile/*.yaml")
	for _, path := range folders {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	inputs := someInputs(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<12 {
			t.Skip()
		}
		load := func() (*Set, error) {
			return LoadFS(fstest.MapFS{"a.yaml": {Data: data}}, "", Options{Schema: schema, Now: testTime})
		}
		s, err := load()
		if err != nil {
			checkRefusal(t, "a.yaml", err)
			return
		}
		again, err := load()
		if err != nil || again.Version != s.Version {
			t.Fatalf("loaded again: %v", err)
		}
		if one, two := meetAll(t, "a.yaml", s, inputs, false), meetAll(t, "a.yaml", again, inputs, false); one != two {
			t.Fatalf("%s, then %s", one, two)
		}
	})
}
