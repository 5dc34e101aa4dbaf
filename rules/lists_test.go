package rules

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/refundguard/refundguard/rules/event"
	"pgregory.net/rapid"
)

// loadLists loads one rule beside files of lists.
func loadLists(t *testing.T, files map[string]string, lists, when string) *Set {
	t.Helper()
	fsys := fstest.MapFS{"a.yaml": {Data: []byte("lists:\n" + lists + "\n" + one(when))}}
	for name, content := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(content)}
	}
	s, err := LoadFS(fsys, "", Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestExpiry: a value is in its list by the event's time, to the end of its last
// day.
func TestExpiry(t *testing.T) {
	csv := "value,expires,note\nforever,,x\nday,2026-03-01,x\ngone,2026-02-28,x\nhour,2026-03-01T13:00:00+01:00,x\ntwice,2026-02-01,x\ntwice,2026-04-01,x\n"
	s := loadLists(t, map[string]string{"l.csv": csv}, "  l: {file: l.csv}", "device_id in lists.l")
	inline := loadLists(t, nil, "  l: [forever, {value: day, expires: 2026-03-01}, {value: gone, expires: 2026-02-28, note: x}, {value: hour, expires: '2026-03-01T13:00:00+01:00'}, {value: twice, expires: 2026-02-01}, {value: twice, expires: 2026-04-01}]", "device_id in lists.l")
	for _, c := range []struct{ device, at, want string }{
		{"forever", "2126-03-01T00:00:00Z", "hit"},
		{"day", "2026-03-01T23:59:59Z", "hit"},
		{"day", "2026-03-02T00:00:00Z", "no"},
		{"gone", "2026-03-01T00:00:00Z", "no"},
		{"gone", "2026-02-28T23:59:59Z", "hit"},
		{"hour", "2026-03-01T11:59:59Z", "hit"},
		{"hour", "2026-03-01T12:00:00Z", "no"},
		{"twice", "2026-03-15T12:00:00Z", "hit"},
		{"x", "2026-03-01T00:00:00Z", "no"},
	} {
		in := Input{Event: refund(t, "device_id="+c.device, "occurred_at="+c.at)}
		for name, set := range map[string]*Set{"file": s, "inline": inline} {
			if got := verdict(evaluate(t, set, in, nil)); got != c.want {
				t.Errorf("%s: %s at %s: %s, want %s", name, c.device, c.at, got, c.want)
			}
		}
	}
}

// TestExpiryInWhere: a past event is judged by its own time.
func TestExpiryInWhere(t *testing.T) {
	s := loadLists(t, nil, "  l: [{value: d1, expires: 2026-03-01}]", "refunds.by(customer_id).where(device_id in lists.l).ever().count() > 5")
	for at, want := range map[string]bool{"2026-03-01T12:00:00Z": true, "2026-03-02T12:00:00Z": false} {
		if got := s.Series[0].Match(refund(t, "customer_id=c1", "device_id=d1", "occurred_at="+at)); got != want {
			t.Errorf("%s: %v", at, got)
		}
	}
	other := loadLists(t, nil, "  l: [{value: d1, expires: 2026-03-02}]", "refunds.by(customer_id).where(device_id in lists.l).ever().count() > 5")
	if s.Series[0].Name == other.Series[0].Name {
		t.Error("another expiry does not make another series")
	}
}

func TestListFileColumns(t *testing.T) {
	for csv, want := range map[string]string{
		"a\nb\n":                             "a b",
		"a,x\nb\n":                           "a b",
		"device_id,team\na,x\nb,y\n":         "a b",
		"note,value\nx,a\n\"y, z\",b\nshort": "a b",
		"# c\nexpires,value\n,a\n2099-01-01,b\n2020-01-01,c\n": "a b",
		" value , expires \n a , 2099-01-01 \nb,\n":            "a b",
		"\ufeffvalue\na\n\nb\n":                                "a b",
	} {
		s := loadLists(t, map[string]string{"l.csv": csv}, "  l: {file: l.csv}", "device_id in lists.l")
		var got []string
		for _, device := range []string{"a", "b", "c", "x", "y", "z", "short", "value", "device_id"} {
			if verdict(evaluate(t, s, Input{Event: refund(t, "device_id="+device)}, nil)) == "hit" {
				got = append(got, device)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q holds %v", csv, got)
		}
	}
}

// TestFaultBehindOtherLetters: the caret counts characters, as everywhere.
func TestFaultBehindOtherLetters(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"l.csv": "value,expires\nmüller,tomorrow\n", "r.yaml": "lists: {l: {file: l.csv}}\n" + one("device_id in lists.l")} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := Load(dir, Options{})
	if err == nil || !strings.Contains(err.Error(), "l.csv:2:8: list l") {
		t.Error(err)
	}
}

func TestInCIDR(t *testing.T) {
	s := loadLists(t, nil, "  l: [10.0.0.0/8, 10.1.0.0/16, 192.0.2.7, '2001:db8::/32', '::ffff:198.51.100.0/120', {value: 10.2.0.0/16, expires: 2026-02-01}, {value: 203.0.113.0/24, expires: 2026-02-28}]", "in_cidr(ip, lists.l)")
	for ip, want := range map[string]string{
		"10.0.0.0": "hit", "10.1.2.3": "hit", "10.2.3.4": "hit", "10.255.255.255": "hit", "9.255.255.255": "no", "11.0.0.0": "no",
		"192.0.2.7": "hit", "192.0.2.8": "no", "192.0.2.6": "no", "::ffff:10.0.0.1": "hit", "198.51.100.200": "hit",
		"2001:db8::1": "hit", "2001:DB8:ffff:ffff:ffff:ffff:ffff:ffff": "hit", "2001:db9::": "no", "2001:db7:ffff::": "no",
		"::a00:1": "no", "2001:db8::1%eth0": "hit", "203.0.113.5": "no",
		"": "missing", "10.0.0": "missing", "010.0.0.1": "missing", "10.0.0.1/8": "missing", "host": "missing", "%": "missing", strings.Repeat("1", 100): "missing",
	} {
		if got := verdict(evaluate(t, s, Input{Event: refund(t, "ip="+ip)}, nil)); got != want {
			t.Errorf("%s: %s, want %s", ip, got, want)
		}
	}
	if got := verdict(evaluate(t, s, Input{Event: refund(t)}, nil)); got != "missing" {
		t.Errorf("no ip: %s", got)
	}
	if got := verdict(evaluate(t, s, Input{Event: refund(t, "ip=203.0.113.5", "occurred_at=2026-02-28T00:00:00Z")}, nil)); got != "hit" {
		t.Errorf("before it expires: %s", got)
	}
	all := loadLists(t, nil, "  l: ['::/0', 0.0.0.0/0, 255.255.255.255]", "in_cidr(ip, lists.l)")
	for _, ip := range []string{"0.0.0.0", "255.255.255.255", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"} {
		if got := verdict(evaluate(t, all, Input{Event: refund(t, "ip="+ip)}, nil)); got != "hit" {
			t.Errorf("%s is not in all: %s", ip, got)
		}
	}
	where := loadLists(t, nil, "  l: [10.0.0.0/8]", "refunds.by(customer_id).where(not in_cidr(ip, lists.l)).ever().count() > 5")
	for ip, want := range map[string]bool{"ip=11.0.0.1": true, "ip=10.0.0.1": false, "ip=host": false, "agent_id=none": false} {
		if got := where.Series[0].Match(refund(t, ip)); got != want {
			t.Errorf("where, %s: %v", ip, got)
		}
	}
}

// TestNetworksEqualTheObvious compares the ranges with a walk over all networks.
func TestNetworksEqualTheObvious(t *testing.T) {
	address := rapid.Custom(func(t *rapid.T) netip.Addr {
		if rapid.Bool().Draw(t, "four") {
			return netip.AddrFrom4([4]byte{byte(rapid.SampledFrom([]int{0, 10, 255}).Draw(t, "a")), byte(rapid.SampledFrom([]int{0, 1, 128, 255}).Draw(t, "b")), rapid.Byte().Draw(t, "c"), rapid.SampledFrom([]byte{0, 1, 255}).Draw(t, "d")})
		}
		b := [16]byte{0x20, 1, 0xd, 0xb8, 15: rapid.Byte().Draw(t, "last"), 14: rapid.SampledFrom([]byte{0, 255}).Draw(t, "before")}
		if rapid.Bool().Draw(t, "ones") {
			for i := range b {
				b[i] = 0xff
			}
		}
		return netip.AddrFrom16(b)
	})
	rapid.Check(t, func(t *rapid.T) {
		var all []network
		for range rapid.IntRange(0, 12).Draw(t, "networks") {
			a := address.Draw(t, "network")
			p := netip.PrefixFrom(a, rapid.IntRange(0, a.BitLen()).Draw(t, "bits")).Masked()
			all = append(all, network{p, rapid.SampledFrom([]int64{1, 50, 100, never}).Draw(t, "expires")})
		}
		n := newNetworks(append([]network(nil), all...))
		for range 20 {
			a, at := address.Draw(t, "address"), rapid.SampledFrom([]int64{0, 49, 50, 99, 100}).Draw(t, "time")
			want := false
			for _, x := range all {
				want = want || x.prefix.Contains(a) && at < x.expires
			}
			if got := n.has(a, at); got != want {
				t.Fatalf("%s at %d: %v, want %v in %v", a, at, got, want, all)
			}
		}
	})
}

func TestInCIDRDoesNotAllocate(t *testing.T) {
	var nets strings.Builder
	for i := range 256 {
		fmt.Fprintf(&nets, "10.%d.0.0/17, '2001:db8:%x::/48', ", i, i)
	}
	s := loadLists(t, nil, "  l: ["+nets.String()+"192.0.2.0/24]", "in_cidr(ip, lists.l)")
	for _, ip := range []string{"10.7.255.1", "2001:db8:7::1"} {
		in, v := Input{Event: refund(t, "ip="+ip, "device_id=x")}, s.NewEvaluator()
		if n := testing.AllocsPerRun(100, func() { v.Begin(&in); v.Run(false) }); n != 0 {
			t.Errorf("%s: %v allocations", ip, n)
		}
	}
}

// FuzzListFile: any bytes are a list, or are refused with errors that print. A
// list that has a value in it shows it in its file.
func FuzzListFile(f *testing.F) {
	for _, s := range []string{"a\nb\n", "value,expires,note\na,2026-01-01,x\n", "\ufeffvalue\n", "10.0.0.0/8\n::1\n", "\"a\nb", "value,expiry\n", "note,expires\n,\n", "#\n", "a,2026-01-01\n"} {
		f.Add([]byte(s))
	}
	schema := event.Builtin()
	e := refund(f, "ip=10.0.0.1", "device_id=a")
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, when := range []string{"device_id in lists.l", "in_cidr(ip, lists.l)"} {
			s, err := LoadFS(fstest.MapFS{"a.yaml": {Data: []byte("lists: {l: {file: l.csv}}\n" + one(when))}, "l.csv": {Data: data}}, "", Options{Schema: schema})
			if err != nil {
				if err.Error() == "" {
					t.Fatal("an empty error")
				}
				continue
			}
			got := verdict(evaluate(t, s, Input{Event: e}, nil))
			if got != "hit" && got != "no" || got == "hit" && !bytes.Contains(data, []byte("a")) && !bytes.ContainsAny(data, "./:") {
				t.Errorf("%s gives %q with %q", when, got, data)
			}
		}
	})
}
