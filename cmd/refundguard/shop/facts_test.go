package shop_test

import (
	"encoding/json"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/refundguard/refundguard/cmd/refundguard/shop"
)

// line has every field that a record of the shop can have.
type line struct {
	TransactionID string    `json:"transaction_id"`
	RefundID      string    `json:"refund_id"`
	CustomerID    string    `json:"customer_id"`
	Amount        string    `json:"amount"`
	Currency      string    `json:"currency"`
	OccurredAt    time.Time `json:"occurred_at"`
	Status        string    `json:"status"`
	Method        string    `json:"method"`
	Reason        string    `json:"reason"`
	InstrumentID  string    `json:"instrument_id"`
	DeviceID      string    `json:"device_id"`
	IP            string    `json:"ip"`
	Attack        string    `json:"attack"`
	Label         string    `json:"label"`

	value float64
	raw   string
}

// year is a shop's records by stream, updates of transactions apart.
type year struct {
	transactions, updates, refunds []line
	labels                         map[string]string
	byID                           map[string]line
}

func read(t *testing.T, cfg shop.Config) year {
	t.Helper()
	s, err := shop.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	y := year{labels: map[string]string{}, byID: map[string]line{}}
	last := int64(0)
	for {
		r, ok := s.Next()
		if !ok {
			return y
		}
		if r.Time < last {
			t.Fatalf("time goes back by %d ms at %s", last-r.Time, r.Value)
		}
		last = r.Time
		var l line
		if err := json.Unmarshal(r.Value, &l); err != nil {
			t.Fatalf("%s: %v", r.Value, err)
		}
		l.raw = string(r.Value)
		if r.Stream == shop.Labels {
			y.labels[l.RefundID] = l.Attack
			continue
		}
		if l.OccurredAt.UnixMilli() != r.Time || string(r.Key) != l.CustomerID {
			t.Fatalf("record's time %d and key %q against %s", r.Time, r.Key, r.Value)
		}
		if l.value, err = strconv.ParseFloat(l.Amount, 64); err != nil || l.value <= 0 {
			t.Fatalf("amount of %s: %v", r.Value, err)
		}
		switch _, known := y.byID[l.TransactionID]; {
		case r.Stream == shop.Refunds:
			y.refunds = append(y.refunds, l)
		case known:
			y.updates = append(y.updates, l)
		default:
			y.transactions = append(y.transactions, l)
			y.byID[l.TransactionID] = l
		}
	}
}

func within(t *testing.T, what string, got, least, most float64) {
	t.Helper()
	t.Logf("%-60s %10.4g", what, got)
	if !(got >= least && got <= most) {
		t.Errorf("%s is %.4g: it should be %.4g to %.4g", what, got, least, most)
	}
}

func at(values []float64, share float64) float64 {
	slices.Sort(values)
	return values[int(share*float64(len(values)-1))]
}

// The measured facts of a real shop, each with some room.
func TestShapeOfAYear(t *testing.T) {
	t.Parallel()
	y := read(t, shop.Config{Seed: 1})
	n, m := float64(len(y.transactions)), float64(len(y.refunds))
	within(t, "transactions", n, 50_000, 50_000)
	within(t, "refunds to a purchase", m/n, 0.19, 0.21)
	within(t, "updates to a transaction", float64(len(y.updates))/n, 0.1, 0.3)

	var paid, back, guests, purchaseGuests, unlinked, main, unknown, strange float64
	var amounts, purchases, delays []float64
	customers, refunders, before := map[string]int{}, map[string][]time.Time{}, map[string]time.Time{}
	for _, l := range y.transactions {
		if l.CustomerID == "" {
			purchaseGuests++
		} else {
			customers[l.CustomerID]++
			if _, ok := before[l.CustomerID]; !ok {
				before[l.CustomerID] = l.OccurredAt
			}
		}
		if l.Currency == "USD" {
			main++
			paid += l.value
			purchases = append(purchases, l.value)
		}
	}
	for _, l := range y.refunds {
		if l.Currency == "USD" {
			back += l.value
			amounts = append(amounts, l.value)
		}
		if l.CustomerID == "" {
			guests++
		} else {
			refunders[l.CustomerID] = append(refunders[l.CustomerID], l.OccurredAt)
			if first, ok := before[l.CustomerID]; !ok || first.After(l.OccurredAt) {
				unknown++
			}
		}
		if o, ok := y.byID[l.TransactionID]; ok {
			delays = append(delays, l.OccurredAt.Sub(o.OccurredAt).Hours()/24)
			if l.value > o.value {
				t.Errorf("honest refund over its original: %s of %s", l.raw, o.raw)
			}
			if o.CustomerID != l.CustomerID || o.Currency != l.Currency || o.Status == "failed" || l.OccurredAt.Before(o.OccurredAt) {
				t.Errorf("refund %s can't be of %s", l.raw, o.raw)
			}
			if l.Method == "original" && l.InstrumentID != o.InstrumentID {
				strange++
			}
		}
		if l.TransactionID == "" {
			unlinked++
		}
	}
	within(t, "main currency", main/n, 0.88, 0.97)
	within(t, "refunded value", back/paid, 0.05, 0.09)
	within(t, "purchase median", at(purchases, 0.5), 290, 310)
	within(t, "purchase mean", paid/main, 470, 560)
	within(t, "refund median", at(amounts, 0.5), 16, 18.5)
	within(t, "refund p99", at(amounts, 0.99), 1500, 5000)
	within(t, "refunds without customer", guests/m, 0.042, 0.052)
	within(t, "purchases without customer", purchaseGuests/n, 0.075, 0.095)
	within(t, "refunds without transaction", unlinked/m, 0.3, 0.37)
	within(t, "refunds without an earlier purchase", unknown/m, 0.015, 0.06)
	within(t, "refunds to a replaced card", strange/m, 0.001, 0.006)
	within(t, "days to the refund, median", at(delays, 0.5), 8.5, 12.5)
	within(t, "days to the refund, p90", at(delays, 0.9), 68, 98)
	within(t, "customers who bought", float64(len(customers)), 8500, 10_700)
	within(t, "customers who ask for refunds", float64(len(refunders))/float64(len(customers)), 0.36, 0.5)

	repeat := map[int]float64{}
	for _, times := range refunders {
		for i, x := range times {
			k := 0
			for _, e := range times[:i+1] {
				if x.Sub(e) < 30*24*time.Hour {
					k++
				}
			}
			repeat[min(k, 5)]++
		}
	}
	m -= guests
	within(t, "first refund in 30 days", repeat[1]/m, 0.64, 0.76)
	within(t, "second", repeat[2]/m, 0.14, 0.23)
	within(t, "third", repeat[3]/m, 0.04, 0.08)
	within(t, "fourth", repeat[4]/m, 0.012, 0.04)
	within(t, "fifth and more", repeat[5]/m, 0.01, 0.045)
}

func TestRhythm(t *testing.T) {
	t.Parallel()
	y := read(t, shop.Config{Seed: 2, Transactions: 15_000})
	var hours [24]float64
	var days [7]float64
	var months [13]float64
	for _, l := range y.transactions {
		hours[l.OccurredAt.Hour()]++
		days[l.OccurredAt.Weekday()]++
		months[l.OccurredAt.Month()]++
	}
	n := float64(len(y.transactions))
	within(t, "at night", (hours[22]+hours[23]+hours[0]+hours[3]+hours[5])/n, 0, 0)
	within(t, "at noon", hours[12]/n, 0.14, 0.18)
	within(t, "on Saturdays", days[time.Saturday]/n, 0, 0.01)
	within(t, "November to January", months[11]/months[1], 2, 3)
	night, saturday := 0.0, 0.0
	for _, l := range y.refunds {
		if h := l.OccurredAt.Hour(); h < 7 || h > 21 {
			night++
		}
		if l.OccurredAt.Weekday() == time.Saturday {
			saturday++
		}
	}
	within(t, "refunds at night", night/float64(len(y.refunds)), 0, 0.002)
	within(t, "refunds on Saturdays", saturday/float64(len(y.refunds)), 0, 0.02)
}
