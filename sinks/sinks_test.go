package sinks_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/refundguard/refundguard/sinks"
)

func TestBackoffGrowsAndStaysBounded(t *testing.T) {
	b := sinks.Backoff{Min: 10 * time.Millisecond, Max: 80 * time.Millisecond}
	for i, most := range []time.Duration{10, 20, 40, 80, 80, 80} {
		most *= time.Millisecond
		if got := b.Next(); got < most/2 || got > most {
			t.Errorf("pause %d is %v, want %v to %v", i, got, most/2, most)
		}
	}
	for range 100 {
		if got := b.Next(); got < 40*time.Millisecond || got > 80*time.Millisecond {
			t.Fatalf("pause %d is %v", b.Failures(), got)
		}
	}
	b.Reset()
	if got := b.Next(); got > 10*time.Millisecond {
		t.Errorf("after Reset the pause is %v", got)
	}
}

func TestBackoffWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b sinks.Backoff
		start := time.Now()
		if err := b.Wait(t.Context(), time.Minute); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(start); waited != time.Minute {
			t.Errorf("waited %v, although the receiver asked for a minute", waited)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := b.Wait(ctx, 0); !errors.Is(err, context.Canceled) {
			t.Errorf("Wait under a canceled context: %v", err)
		}
	})
}

func TestNetworkReason(t *testing.T) {
	for _, c := range []struct {
		err  error
		want sinks.Reason
	}{
		{context.Canceled, sinks.Canceled},
		{fmt.Errorf("read: %w", context.DeadlineExceeded), sinks.Timeout},
		{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, sinks.Unreachable},
		{&net.DNSError{Name: "nowhere", IsNotFound: true}, sinks.Unreachable},
		{&net.DNSError{Name: "slow", IsTimeout: true}, sinks.Timeout},
		{fmt.Errorf("handshake: %w", io.EOF), sinks.Unreachable},
		{errors.New("something"), sinks.Other},
	} {
		if got := sinks.NetworkReason(c.err); got != c.want {
			t.Errorf("NetworkReason(%v) = %s, want %s", c.err, got, c.want)
		}
	}
}

func TestErrorSaysWhatAndWhy(t *testing.T) {
	err := &sinks.Error{Op: "insert into decisions", Reason: sinks.Unreachable, Err: io.EOF}
	if got, want := err.Error(), "insert into decisions: unreachable: EOF"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !errors.Is(err, io.EOF) {
		t.Error("the cause is hidden")
	}
}
