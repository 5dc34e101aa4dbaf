package main

import (
	"encoding/json"
	"testing"
)

// Each measurement of `bench` measures what it says.
func TestBenchMeasures(t *testing.T) {
	for _, what := range []string{"engine", "gate"} {
		r := runCommand(t, "bench", what, "--events", "2000", "-o", "json")
		var all []struct {
			Events, Refunds int
			Outcomes        map[string]int
		}
		if r.code != exitFine || json.Unmarshal([]byte(r.out), &all) != nil || len(all) != 1 {
			t.Errorf("%s: exit %d:\n%s%s", what, r.code, r.out, r.err)
			continue
		}
		sum := 0
		for _, n := range all[0].Outcomes {
			sum += n
		}
		if all[0].Events != 2000 || all[0].Refunds == 0 || sum != all[0].Refunds {
			t.Errorf("%s: %+v", what, all[0])
		}
	}
}
