package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// round is what one run printed: figures and digests by the name of what was
// measured and their own.
type round struct {
	figures map[string]float64
	digests map[string]string
}

// compared are the figures that say how fast a version is.
var compared = []string{"events_per_second", "cpu_us_per_event"}

// parse finds the figures wherever they are in what bench prints as JSON.
func parse(text []byte) (round, error) {
	r := round{map[string]float64{}, map[string]string{}}
	var all any
	if err := json.Unmarshal(text, &all); err != nil {
		return r, fmt.Errorf("what bench printed is no JSON: %w:\n%s", err, text)
	}
	r.find("", all)
	if len(r.figures) == 0 {
		return r, fmt.Errorf("bench printed none of %s:\n%s", strings.Join(compared, ", "), text)
	}
	return r, nil
}

func (r *round) find(where string, v any) {
	switch v := v.(type) {
	case []any:
		names := map[string]int{}
		for _, one := range v {
			name := nameOf(one)
			if names[name]++; names[name] > 1 || name == "" {
				name = fmt.Sprintf("%s#%d", name, names[name])
			}
			r.find(join(where, name), one)
		}
	case map[string]any:
		for key, one := range v {
			switch {
			case key == "digest":
				if text, ok := one.(string); ok {
					r.digests[join(where, key)] = text
				}
			case slices.Contains(compared, key):
				if n, ok := one.(float64); ok {
					r.figures[join(where, key)] = n
				}
			default:
				r.find(join(where, key), one)
			}
		}
	}
}

// nameOf tells one measurement of a list from the others.
func nameOf(v any) string {
	m, _ := v.(map[string]any)
	for _, key := range []string{"name", "customers", "keys"} {
		if name, ok := m[key]; ok {
			return fmt.Sprint(name)
		}
	}
	return ""
}

func join(where, name string) string { return strings.TrimPrefix(where+": "+name, ": ") }

// compare prints the ratio new/old of each figure, round by round: what else the
// machine did in a round is in both. The error says which digests differ.
func compare(out io.Writer, before, after []round) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "FIGURE\tOLD, MEDIAN\tNEW, MEDIAN\tNEW/OLD, MEDIAN\tMIN..MAX")
	unmatched := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(after[0].figures)) {
		var olds, news, ratios []float64
		for i := range after {
			o, in := before[i].figures[name]
			n, also := after[i].figures[name]
			if in && also && o != 0 {
				olds, news, ratios = append(olds, o), append(news, n), append(ratios, n/o)
			}
		}
		if len(ratios) == 0 {
			unmatched[name] = true
			continue
		}
		fmt.Fprintf(t, "%s\t%.2f\t%.2f\t%.3f\t%.3f..%.3f\n", name, median(olds), median(news), median(ratios), slices.Min(ratios), slices.Max(ratios))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(unmatched)) {
		fmt.Fprintf(out, "%s: the old version has none\n", name)
	}
	return compareDigests(out, before, after)
}

// compareDigests takes a digest of another length for one of another kind, which
// says nothing.
func compareDigests(out io.Writer, before, after []round) error {
	var differ []error
	for name := range before[0].digests {
		if after[0].digests[name] == "" {
			fmt.Fprintf(out, "%s: the new version has none\n", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(after[0].digests)) {
		first := after[0].digests[name]
		for i := range after {
			n, o := after[i].digests[name], before[i].digests[name]
			switch {
			case n != first:
				differ = append(differ, fmt.Errorf("%s: the new version has %s, and in round %d %s: it doesn't decide the same each time", name, first, i+1, n))
			case o == "" && i == 0:
				fmt.Fprintf(out, "%s: the old version has none\n", name)
			case len(o) != len(n) && i == 0:
				fmt.Fprintf(out, "%s: not compared, the old version has one of another kind\n", name)
			case o != n && len(o) == len(n):
				differ = append(differ, fmt.Errorf("%s: old %s, new %s: they decide differently", name, o, n))
			}
		}
	}
	if len(differ) == 0 {
		return nil
	}
	return errors.Join(slices.CompactFunc(differ, func(a, b error) bool { return a.Error() == b.Error() })...)
}

func median(all []float64) float64 {
	s := slices.Sorted(slices.Values(all))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}
