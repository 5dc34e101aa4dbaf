package event_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/refundguard/refundguard/rules/event"
)

func TestAppendTime(t *testing.T) {
	check := func(t interface{ Fatalf(string, ...any) }, ms int64) {
		want := time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
		if got := string(event.AppendTime(nil, ms)); got != want {
			t.Fatalf("%d is %s, want %s", ms, got, want)
		}
	}
	first, last := time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
	// The calendar repeats every 400 years.
	for day := time.Date(1800, 1, 1, 0, 0, 0, 0, time.UTC); day.Year() < 2201; day = day.AddDate(0, 0, 1) {
		check(t, day.UnixMilli())
		check(t, day.UnixMilli()+86_399_999)
	}
	rapid.Check(t, func(t *rapid.T) {
		check(t, rapid.Int64Range(first.UnixMilli(), last.UnixMilli()).Draw(t, "ms"))
	})
	for ms, want := range map[int64]string{-1 << 63: "0001-01-01T00:00:00.000Z", 1<<63 - 1: "9999-12-31T23:59:59.999Z"} {
		if got := string(event.AppendTime(nil, ms)); got != want {
			t.Errorf("%d is %s, want %s", ms, got, want)
		}
	}
}
