package webhook

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"
)

// Finding is whether an endpoint can be connected to.
type Finding struct {
	Name string // the endpoint's
	Err  error  // nil: it answers; else why it doesn't, and what to do about it
}

// checkTimeout is short: what takes longer to answer a connect isn't well.
const checkTimeout = 5 * time.Second

// Check connects to all endpoints at once, as their alerts would, allow_private
// included, and sends nothing. The findings are in the order of cfg, which is one
// that Validate found right.
func Check(ctx context.Context, cfg Config) []Finding {
	findings := make([]Finding, len(cfg))
	var wg sync.WaitGroup
	for i, e := range cfg {
		wg.Go(func() { findings[i] = Finding{e.Name, reach(ctx, e)} })
	}
	wg.Wait()
	return findings
}

func reach(ctx context.Context, e Endpoint) error {
	u, err := url.Parse(e.URL)
	if err != nil {
		return errors.New("the URL can't be read: correct it") // it may hold a token
	}
	guard, err := newGuard(e.AllowPrivate)
	if err != nil {
		return fmt.Errorf("allow_private: %w", err)
	}
	port := u.Port()
	if port == "" {
		port = u.Scheme // http or https: the dialer knows their ports
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	conn, err := guard.dial(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return fmt.Errorf("%w: alerts wait, and go to the dead letters in the end; check the host and the port of its url, and what is between", err)
	}
	return conn.Close()
}
