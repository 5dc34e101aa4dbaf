package shop_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/refundguard/refundguard/cmd/refundguard/shop"
)

func TestSameSeedSameBytes(t *testing.T) {
	t.Parallel()
	// Other bytes for the same seed are a change that users see: their
	// comparisons between runs end here.
	want := "6158dd55240782fc90ff6282c39f943207e637ad4ca24e925daf6dabf92672fa"
	sum := func(seed uint64) string {
		s, err := shop.New(shop.Config{Seed: seed, Transactions: 3000, Attacks: true, Bad: 10_000})
		if err != nil {
			t.Fatal(err)
		}
		h := sha256.New()
		for r, ok := s.Next(); ok; r, ok = s.Next() {
			h.Write([]byte(r.Stream))
			h.Write(r.Key)
			h.Write(r.Value)
		}
		return hex.EncodeToString(h.Sum(nil))
	}
	if got := sum(7); got != want {
		t.Errorf("seed 7 gives %s, and gave %s", got, want)
	}
	if sum(8) == want {
		t.Error("seed 8 gives the same as seed 7")
	}
}

func TestIDsAreUnique(t *testing.T) {
	t.Parallel()
	y := read(t, shop.Config{Seed: 3, Transactions: 10_000, Attacks: true})
	seen := map[string]bool{}
	for _, l := range y.refunds {
		if seen[l.RefundID] {
			t.Errorf("refund_id twice: %s", l.raw)
		}
		seen[l.RefundID] = true
	}
	for id := range y.labels {
		if !seen[id] {
			t.Errorf("label for %s, which is no refund", id)
		}
	}
	if len(y.transactions) != 10_000 {
		t.Errorf("%d transaction ids, want 10,000", len(y.transactions))
	}
}

func TestAddressesAreForDocumentation(t *testing.T) {
	t.Parallel()
	var allowed []netip.Prefix
	for _, p := range []string{"192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32"} {
		allowed = append(allowed, netip.MustParsePrefix(p))
	}
	y := read(t, shop.Config{Seed: 4, Transactions: 5000, Attacks: true})
	for _, l := range append(y.refunds, y.transactions...) {
		if l.IP == "" {
			continue
		}
		a, err := netip.ParseAddr(l.IP)
		ok := false
		for _, p := range allowed {
			ok = ok || err == nil && p.Contains(a)
		}
		if !ok {
			t.Fatalf("address %q in %s: %v", l.IP, l.raw, err)
		}
	}
}

func TestUpdatesKeepTheTransaction(t *testing.T) {
	t.Parallel()
	y := read(t, shop.Config{Seed: 5, Transactions: 5000})
	next := map[string]string{"authorized": "captured", "captured": "settled charged_back", "settled": "charged_back"}
	status := map[string]string{}
	for _, u := range y.updates {
		first := y.byID[u.TransactionID]
		was := first.Status
		if s, ok := status[u.TransactionID]; ok {
			was = s
		}
		if !strings.Contains(next[was], u.Status) || next[was] == "" {
			t.Errorf("%s after status %q", u.raw, was)
		}
		status[u.TransactionID] = u.Status
		if u.Amount != first.Amount || u.CustomerID != first.CustomerID || u.InstrumentID != first.InstrumentID {
			t.Errorf("update %s changes %s", u.raw, first.raw)
		}
	}
	if len(y.updates) == 0 {
		t.Error("no updates")
	}
}

// Each attack must be what its label says, judged from the streams alone.
func TestAttacks(t *testing.T) {
	t.Parallel()
	for _, cfg := range []shop.Config{{Seed: 1, Attacks: true, Transactions: 25_000}, {Seed: 2, Attacks: true, Transactions: 2000}, {Seed: 3, Attacks: true, Transactions: 10_000, Days: 10}} {
		y := read(t, cfg)
		kinds := map[string]int{}
		customers := map[string]map[string]bool{}
		span := map[string][2]time.Time{}
		refunded := map[string]float64{}
		for _, l := range y.refunds {
			kind := y.labels[l.RefundID]
			kinds[kind]++
			o, linked := y.byID[l.TransactionID]
			if linked {
				refunded[l.TransactionID] += l.value
			}
			if kind == "" {
				if linked && refunded[l.TransactionID] > o.value+0.001 {
					t.Errorf("more than was paid, unlabelled: %s of %s", l.raw, o.raw)
				}
				continue
			}
			if !linked || l.CustomerID == "" {
				t.Fatalf("attack without its transaction or customer: %s", l.raw)
			}
			switch kind {
			case shop.Ring:
				if customers[l.DeviceID] == nil {
					customers[l.DeviceID] = map[string]bool{}
					span[l.DeviceID] = [2]time.Time{l.OccurredAt, l.OccurredAt}
				}
				customers[l.DeviceID][l.CustomerID] = true
				span[l.DeviceID] = [2]time.Time{span[l.DeviceID][0], l.OccurredAt}
			case shop.OverRefund:
				if refunded[l.TransactionID] <= o.value {
					t.Errorf("not over the payment: %s of %s", l.raw, o.raw)
				}
			case shop.OtherInstrument:
				if l.InstrumentID == o.InstrumentID || l.InstrumentID == "" {
					t.Errorf("not another instrument: %s of %s", l.raw, o.raw)
				}
			}
		}
		t.Logf("%+v: %v of %d refunds", cfg, kinds, len(y.refunds))
		for _, kind := range []string{shop.Ring, shop.OverRefund, shop.OtherInstrument} {
			if kinds[kind] == 0 {
				t.Errorf("%+v: no %s", cfg, kind)
			}
		}
		if attacks := len(y.labels); attacks*10 > len(y.refunds) {
			t.Errorf("%+v: %d attacks among %d refunds", cfg, attacks, len(y.refunds))
		}
		for device, c := range customers {
			if d := span[device][1].Sub(span[device][0]); len(c) < 4 || d > 72*time.Hour {
				t.Errorf("%+v: the ring on %s has %d customers within %s", cfg, device, len(c), d)
			}
		}
	}
}

func TestBadRecords(t *testing.T) {
	t.Parallel()
	s, err := shop.New(shop.Config{Seed: 6, Transactions: 10_000, Bad: 20_000})
	if err != nil {
		t.Fatal(err)
	}
	var records, repeats, conflicts, malformed int
	seen := map[string][]byte{}
	for r, ok := s.Next(); ok; r, ok = s.Next() {
		records++
		var l struct {
			RefundID   string    `json:"refund_id"`
			Amount     string    `json:"amount"`
			OccurredAt time.Time `json:"occurred_at"`
		}
		switch err := json.Unmarshal(r.Value, &l); {
		case err != nil || l.Amount == "" || strings.HasPrefix(l.Amount, "-") || !bytes.Contains(r.Value, []byte(`"currency":"`)) ||
			bytes.Contains(r.Value, []byte(`"currency":"x`)) || bytes.Contains(r.Value, []byte("\xff\xfe")):
			malformed++
		case seen[string(r.Value)] != nil:
			repeats++
		case l.RefundID != "" && seen[l.RefundID] != nil:
			conflicts++
		default:
			seen[string(r.Value)] = []byte{}
			if l.RefundID != "" {
				seen[l.RefundID] = []byte{}
			}
		}
	}
	t.Logf("%d records: %d repeats, %d conflicts, %d malformed", records, repeats, conflicts, malformed)
	if n := repeats + conflicts + malformed; n < records*15/1000 || n > records*25/1000 || repeats == 0 || conflicts == 0 || malformed == 0 {
		t.Errorf("bad records are to be about 2 %%, of all three kinds")
	}
}

func TestSmallestShops(t *testing.T) {
	t.Parallel()
	for _, cfg := range []shop.Config{{Transactions: 1, Days: 1, Customers: 1, Attacks: true, Bad: 500_000}, {Transactions: 1}, {Transactions: 10_000, Customers: 1, Days: 1}, {Transactions: 100, Days: 3000, Attacks: true}} {
		s, err := shop.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for r, ok := s.Next(); ok; r, ok = s.Next() {
			if r.Stream == shop.Transactions {
				n++
			}
		}
		if n < cfg.Transactions {
			t.Errorf("%+v: %d transactions", cfg, n)
		}
	}
}

func TestFaultsAreAllReported(t *testing.T) {
	t.Parallel()
	_, err := shop.New(shop.Config{Days: -1, Customers: -2, Transactions: -3, Bad: 2_000_000, End: time.Date(2025, 1, 1, 1, 0, 0, 0, time.UTC)})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"days is -1", "customers is -2", "transactions is -3", "bad records to a million is 2000000", "2025-01-01T01:00:00Z"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q doesn't say %q", err, want)
		}
	}
}

func BenchmarkNext(b *testing.B) {
	s, err := shop.New(shop.Config{Transactions: 20_000_000, Customers: 1_000_000, Days: 365, Attacks: true})
	if err != nil {
		b.Fatal(err)
	}
	s.Next() // runs through the time before the start
	b.ReportAllocs()
	size := int64(0)
	for b.Loop() {
		r, _ := s.Next()
		size += int64(len(r.Value))
	}
	b.SetBytes(size / int64(b.N))
}
