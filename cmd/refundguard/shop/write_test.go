package shop_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/refundguard/refundguard/cmd/refundguard/shop"
)

func small(t *testing.T) *shop.Shop {
	t.Helper()
	s, err := shop.New(shop.Config{Seed: 1, Transactions: 5000, Attacks: true})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWrite(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new")
	ticks := 0
	lines, err := shop.Write(context.Background(), small(t), dir, false, func() { ticks++ })
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range shop.Files() {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		stream := strings.TrimSuffix(name, ".jsonl")
		if got := int64(strings.Count(string(text), "\n")); got != lines[stream] || got == 0 {
			t.Errorf("%s has %d lines, want %d", name, got, lines[stream])
		}
	}
	if ticks == 0 {
		t.Error("tick was never called")
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 3 {
		t.Errorf("the folder holds %v", entries)
	}
}

func TestWriteReplacesOnlyIfTold(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mine := filepath.Join(dir, "refunds.jsonl")
	if err := os.WriteFile(mine, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := shop.Write(context.Background(), small(t), dir, false, func() {}); err == nil || !strings.Contains(err.Error(), mine) {
		t.Errorf("error %v", err)
	}
	if text, _ := os.ReadFile(mine); string(text) != "mine" {
		t.Error("it was replaced")
	}
	if _, err := shop.Write(context.Background(), small(t), dir, true, func() {}); err != nil {
		t.Error(err)
	}
}

func TestWriteInterruptedLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	if _, err := shop.Write(ctx, small(t), dir, false, cancel); err == nil {
		t.Error("no error")
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("the folder holds %v", entries)
	}
}
