package bench

import (
	"context"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/refundguard/refundguard/rules/event"
)

// verdict is what the digest is of.
type verdict struct {
	refund, outcome string
	score           int64
	rules           []string
}

func (d *digest) take(v verdict) {
	hits := []event.Hit{{Rule: "shadow", Mode: "shadow"}}
	for _, id := range v.rules {
		hits = append(hits, event.Hit{Rule: id, Mode: "live"})
	}
	d.add(v.refund, v.outcome, v.score, hits)
}

var verdicts = rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) verdict {
	return verdict{rapid.StringMatching(`rfd_[0-9]{1,9}`).Draw(t, "refund"), rapid.SampledFrom([]string{"approve", "review", "reject"}).Draw(t, "outcome"),
		rapid.Int64Range(0, 300).Draw(t, "score"), rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "ab"}), 0, 3).Draw(t, "rules")}
}), 1, 20, func(v verdict) string { return v.refund })

func sumUp(all []verdict) string {
	var d digest
	for _, v := range all {
		d.take(v)
	}
	return d.String()
}

// Whoever decides in whatever order, on however many workers, has the same digest;
// whoever decides one refund differently, or twice, or not, has another.
func TestADigestIsOfWhatWasDecided(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := verdicts.Draw(t, "decisions")
		want := sumUp(all)
		shuffled := rapid.Permutation(all).Draw(t, "shuffled")
		cut := rapid.IntRange(0, len(all)).Draw(t, "cut")
		var a, b digest
		for i, v := range shuffled {
			if i < cut {
				a.take(v)
			} else {
				b.take(v)
			}
		}
		a.merge(b.hi, b.lo)
		if a.String() != want {
			t.Fatalf("%s, and by two workers in another order %s", want, a.String())
		}
		i := rapid.IntRange(0, len(all)-1).Draw(t, "which")
		for name, change := range map[string]func(v *verdict){
			"outcome": func(v *verdict) {
				v.outcome = map[string]string{"approve": "reject", "review": "approve", "reject": "review"}[v.outcome]
			},
			"score":  func(v *verdict) { v.score++ },
			"rules":  func(v *verdict) { v.rules = append(slices.Clone(v.rules), "c") },
			"refund": func(v *verdict) { v.refund += "x" },
		} {
			other := slices.Clone(all)
			change(&other[i])
			if sumUp(other) == want {
				t.Fatalf("the same digest after another %s of %+v", name, all[i])
			}
		}
		if sumUp(append(slices.Clone(all), all[i])) == want || sumUp(slices.Delete(slices.Clone(all), i, i+1)) == want {
			t.Fatal("the same digest with one decision twice, or lost")
		}
	})
}

// Outcomes of 3,000 events by 1, 2 and 5 workers.
func TestWorkersDecideTheSame(t *testing.T) {
	want := ""
	for _, workers := range []int{1, 2, 5} {
		r, err := Engine(context.Background(), Options{Events: 3000, Seed: 7, CPUs: workers})
		if err != nil {
			t.Fatal(err)
		}
		if want == "" {
			want = r.Digest
		}
		if r.Digest != want || r.CPUs != workers || r.Transactions == nil || r.Transactions.Events != 750 {
			t.Errorf("%d workers: %+v, want the digest %s", workers, r, want)
		}
	}
	other, err := Engine(context.Background(), Options{Events: 3000, Seed: 8})
	if err != nil || other.Digest == want {
		t.Errorf("another seed: %+v, %v", other, err)
	}
}
