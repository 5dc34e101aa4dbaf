package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/refundguard/refundguard/pipeline"
)

// probe is one part of the service that is asked whether it works.
type probe struct {
	name  string
	vital bool // without it no refund is decided
	ready func() error
}

// newServer serves /livez, /readyz and /metrics. It knows nothing that needs a
// login, and is meant for a loopback or an internal address.
func newServer(probes []probe, registry *prometheus.Registry) *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { readyz(w, r, probes) })
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry, MaxRequestsInFlight: 4}))
	return &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
}

// readiness is /readyz as JSON.
type readiness struct {
	Ready bool   `json:"ready"`
	Parts []part `json:"parts"`
}

type part struct {
	Name   string `json:"name"`
	Ready  bool   `json:"ready"`
	Vital  bool   `json:"vital"`
	Reason string `json:"reason,omitempty"`
}

// readyz answers 200 while refunds are decided, whatever the sinks do: they
// catch up by themselves, and are named in the body. With ?standby=ok an instance
// that stands by is ready, too.
func readyz(w http.ResponseWriter, r *http.Request, probes []probe) {
	answer := readiness{Ready: true, Parts: []part{}}
	for _, p := range probes {
		one := part{Name: p.name, Ready: true, Vital: p.vital}
		if err := p.ready(); err != nil {
			one.Ready, one.Reason = false, err.Error()
			waits := errors.Is(err, pipeline.ErrStandby) && r.URL.Query().Get("standby") == "ok"
			answer.Ready = answer.Ready && (!p.vital || waits)
		}
		answer.Parts = append(answer.Parts, one)
	}
	asJSON := strings.Contains(r.Header.Get("Accept"), "application/json")
	w.Header().Set("Content-Type", map[bool]string{true: "application/json", false: "text/plain; charset=utf-8"}[asJSON])
	w.Header().Set("Cache-Control", "no-store")
	if !answer.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	if asJSON {
		// What can fail here is only the connection.
		_ = json.NewEncoder(w).Encode(answer)
		return
	}
	for _, p := range answer.Parts {
		if p.Ready {
			fmt.Fprintf(w, "%s: ready\n", p.Name)
		} else {
			fmt.Fprintf(w, "%s: not ready: %s\n", p.Name, strings.Join(strings.FieldsFunc(p.Reason, breaksLine), "; "))
		}
	}
}

// breaksLine says that a reader may take what follows for another line.
func breaksLine(c rune) bool { return strings.ContainsRune("\n\r\v\f\u0085\u2028\u2029", c) }

// listen opens http.listen, or nothing for "".
func listen(address string) (net.Listener, error) {
	if address == "" {
		return nil, nil
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("http.listen: %w; choose another address, or end what holds it", err)
	}
	return listener, nil
}

// shutdown lets open requests end, for a moment.
func shutdown(server *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		return errors.Join(err, server.Close())
	}
	return nil
}
