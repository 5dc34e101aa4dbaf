package pipeline

import (
	"fmt"
	"strings"

	"github.com/refundguard/refundguard/rules/engine"
	"github.com/refundguard/refundguard/rules/event"
)

// Share is a part of a whole in millionths: "20%", "0.5%", "0".
type Share int64

// UnmarshalText reads a percentage of at most 100 and 4 decimals.
func (s *Share) UnmarshalText(text []byte) error {
	number, percent := strings.CutSuffix(string(text), "%")
	m, err := event.ParseMoney([]byte(number)) // which is in 1/10,000, exactly
	if err != nil || m < 0 || m > 100_0000 || !percent && m != 0 {
		return fmt.Errorf("%q is not a share: write a percentage from 0%% to 100%% with at most 4 decimals, such as 1%%", text)
	}
	*s = Share(m)
	return nil
}

// MarshalText is what UnmarshalText reads.
func (s Share) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

func (s Share) String() string { return event.Money(s).String() + "%" }

func (h HoldoutConfig) engine() engine.Holdout {
	most, _ := event.ParseMoney([]byte(h.MaxAmount)) // checked by Validate
	return engine.Holdout{Millionths: int64(h.Share), MaxAmount: most, Key: h.Key}
}
