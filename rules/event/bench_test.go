package event_test

import (
	"testing"

	"github.com/refundguard/refundguard/rules/event"
)

// payment is a record as the generator and most payment systems write it.
const payment = `{"transaction_id":"tx_20240501_00048213","customer_id":"cus_1734829","amount":"129.90","currency":"USD",` +
	`"occurred_at":"2024-05-01T12:34:56.789Z","merchant_id":"mer_1842","status":"captured","method":"card",` +
	`"instrument_id":"card_9f3c81d2","device_id":"dev_5b7d1e90aa","ip":"203.0.113.77","country":"DE","channel":"app"}`

func BenchmarkDecode(b *testing.B) {
	for _, bench := range []struct{ name, record string }{
		{"transaction", payment},
		{"unknown fields", payment[:len(payment)-1] + `,"lines":[{"sku":"A1","n":2},{"sku":"B2","n":1}],"note":"leave at the door, please","risk":{"score":0.25,"flags":[]}}`},
	} {
		b.Run(bench.name, func(b *testing.B) {
			d := event.NewDecoder(event.Builtin().Stream("transactions"), event.DefaultLimits())
			data := []byte(bench.record)
			var ev event.Event
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if err := d.Decode(data, &ev); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkParseMoney(b *testing.B) {
	text := []byte("129.90")
	for b.Loop() {
		if _, err := event.ParseMoney(text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPack(b *testing.B) {
	ev := decode(b, "transactions", payment)
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = event.AppendPacked(buf[:0], ev)
	}
	b.ReportMetric(float64(len(buf)), "bytes")
}

func BenchmarkUnpack(b *testing.B) {
	ev := decode(b, "transactions", payment)
	buf := event.AppendPacked(nil, ev)
	var got event.Event
	b.ReportAllocs()
	for b.Loop() {
		if err := event.Unpack(ev.Stream, buf, &got); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecisionAppend(b *testing.B) {
	d := exampleDecision()
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = d.Append(buf[:0])
	}
	b.SetBytes(int64(len(buf)))
}

func BenchmarkParseDecision(b *testing.B) {
	d := exampleDecision()
	buf := d.Append(nil)
	b.ReportAllocs()
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		if _, err := event.ParseDecision(buf); err != nil {
			b.Fatal(err)
		}
	}
}
