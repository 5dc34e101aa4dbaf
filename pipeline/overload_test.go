package pipeline

import (
	"testing"
	"time"
)

func TestOverload(t *testing.T) {
	for name, c := range map[string]struct {
		waiting func(second int) int64
		shed    string // by second
	}{
		"nothing waits":          {func(int) int64 { return 0 }, "..............."},
		"a backlog gets shorter": {func(s int) int64 { return 9_000_000 - int64(s)*300_000 }, "..............."},
		"a little waits":         {func(s int) int64 { return int64(s) * 5_000 }, "..............."},
		"a burst":                {func(s int) int64 { return []int64{0, 200_000, 400_000, 600_000, 300_000}[min(s, 4)] }, "..............."},
		"more and more":          {func(s int) int64 { return 100_000 + int64(s)*100_000 }, "..........#####"},
		"more and more, then less": {func(s int) int64 {
			return []int64{100_000 + int64(s)*100_000, 1_300_000 - int64(s-12)*400_000}[min(s/13, 1)]
		}, "..........####.."},
	} {
		var o overload
		got := ""
		for second := range len(c.shed) {
			got += map[bool]string{true: "#", false: "."}[o.look(c.waiting(second), time.Unix(int64(second), 0))]
		}
		if got != c.shed {
			t.Errorf("%s: shed %s, want %s", name, got, c.shed)
		}
	}
}
