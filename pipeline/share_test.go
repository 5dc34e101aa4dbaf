package pipeline_test

import (
	"strings"
	"testing"

	"github.com/refundguard/refundguard/pipeline"
)

func TestShares(t *testing.T) {
	for text, want := range map[string]pipeline.Share{"0": 0, "0%": 0, "1%": 10_000, "20%": 200_000, "0.5%": 5_000, "0.0001%": 1, "100%": 1_000_000, "33.3333%": 333_333} {
		var s, again pipeline.Share
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%s is %d, %v, want %d", text, s, err, want)
		}
		if err := again.UnmarshalText([]byte(s.String())); err != nil || again != s {
			t.Errorf("%s is written %s, which is read as %d, %v", text, s, again, err)
		}
	}
	for _, text := range []string{"", "%", "1", "0.2", "-1%", "101%", "100.0001%", "0.00001%", "1 %", "one%", "1%%"} {
		var s pipeline.Share
		if err := s.UnmarshalText([]byte(text)); err == nil || s != 0 {
			t.Errorf("%q was read as %s", text, s)
		}
	}
}

func TestHoldoutNeedsAnAmount(t *testing.T) {
	for _, c := range []struct {
		share pipeline.Share
		most  string
		says  string
	}{
		{0, "", ""}, {10_000, "50", ""}, {0, "50", ""},
		{10_000, "", "holdout.max_amount is missing"}, {10_000, "0", "above 0"}, {0, "much", "above 0"}, {1, "-5", "above 0"},
	} {
		cfg := pipeline.DefaultConfig()
		cfg.Holdout.Share, cfg.Holdout.MaxAmount = c.share, c.most
		if err := cfg.Validate(); (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s up to %q: %v, want %q", c.share, c.most, err, c.says)
		}
	}
}
