package main

import "testing"

func TestRead(t *testing.T) {
	const good = "fuzz: elapsed: 3s, execs: 8849 (2593/sec), new interesting: 16 (total: 1315)\nfuzz: elapsed: 6s, execs: 23471 (4873/sec), new interesting: 65 (total: 1364)\n"
	for output, want := range map[string]figures{
		"":          {},
		good:        {execs: 23471, fresh: 65, corpus: 1364},
		good + "ok": {execs: 23471, fresh: 65, corpus: 1364},
		good + "--- FAIL: FuzzX (6.0s)\n    context deadline exceeded\nFAIL\n":                                                          {execs: 23471, fresh: 65, corpus: 1364, endedLate: true},
		good + "--- FAIL: FuzzX\n    x_test.go:5: context deadline exceeded\n\n    Failing input written to testdata/fuzz/FuzzX/12ab\n": {execs: 23471, fresh: 65, corpus: 1364, input: "testdata/fuzz/FuzzX/12ab"},
		"fuzz: elapsed: 6s, gathering baseline coverage: 436/470 completed\nPASS\n":                                                     {baseline: true},
		"--- FAIL: FuzzX\npanic: context deadline exceeded\n":                                                                           {},
	} {
		if got := read(output); got != want {
			t.Errorf("%q: %+v, want %+v", output, got, want)
		}
	}
}
