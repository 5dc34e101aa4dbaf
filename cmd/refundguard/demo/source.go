package demo

import (
	"fmt"

	"github.com/refundguard/refundguard/cmd/refundguard/shop"
)

// source gives records in event-time order; false at the end. A record's bytes
// are valid until the next call.
type source interface {
	next() (shop.Record, bool, error)
	streams() []string // what it can hold
	about() string     // for people
	notes() []string   // what a person should know about what was read
	close()
}

// generated is the shop that never was.
type generated struct {
	shop *shop.Shop
	text string
}

func generate(cfg shop.Config) (source, error) {
	s, err := shop.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("making a shop: %w", err)
	}
	return &generated{s, fmt.Sprintf("a generated shop (seed %d)", cfg.Seed)}, nil
}

func (g *generated) next() (shop.Record, bool, error) {
	r, ok := g.shop.Next()
	return r, ok, nil
}

func (*generated) streams() []string { return []string{shop.Transactions, shop.Refunds} }
func (g *generated) about() string   { return g.text }
func (*generated) notes() []string   { return nil }
func (*generated) close()            {}
