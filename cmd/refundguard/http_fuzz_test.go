package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

// FuzzHTTP: any bytes that are a request are answered in full: 200 or 503 for
// what is there, by what the probes say and nothing else, and 4xx for the rest.
// A probe's text can't pass for another probe.
func FuzzHTTP(f *testing.F) {
	f.Add([]byte("GET /readyz HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\n\r\n"), "", "")
	f.Add([]byte("GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"), "kafka is away\nclickhouse: ready", "gone\r\n\r\npipeline: ready")
	f.Add([]byte("GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: application/openmetrics-text;q=x\r\nAccept-Encoding: gzip, zstd\r\n\r\n"), "a", "")
	f.Add([]byte("GET /metrics?name[]=go_goroutines&name[]=%00 HTTP/1.0\r\n\r\n"), "", "")
	f.Add([]byte("HEAD /livez HTTP/1.1\r\nHost: x\r\nRange: bytes=0-\r\n\r\n"), "", "\u2028")
	f.Add([]byte("POST //readyz/../metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabc"), "", "")
	f.Add([]byte("CONNECT a:1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n"), "", "")
	registry := newRegistry()
	f.Fuzz(func(t *testing.T, raw []byte, pipelineErr, sinkErr string) {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			return // the standard library has refused it
		}
		probes := []probe{
			{"pipeline", true, func() error { return failing(pipelineErr) }},
			{"clickhouse", false, func() error { return failing(sinkErr) }},
		}
		w := httptest.NewRecorder()
		newServer(probes, registry).Handler.ServeHTTP(w, r)
		body := w.Body.String()
		switch {
		case w.Code >= 300 && w.Code < 500:
			return // another path, or another method
		case w.Code != 200 && w.Code != 503:
			t.Fatalf("status %d of %q", w.Code, raw)
		}
		switch r.URL.Path {
		case "/livez":
			if w.Code != 200 || body != "ok\n" {
				t.Errorf("%d %q", w.Code, body)
			}
		case "/metrics":
			if w.Code == 200 && body == "" && r.URL.RawQuery == "" && r.Method != http.MethodHead {
				t.Errorf("no metrics for %q", raw)
			}
		case "/readyz":
			if (w.Code == 200) != (pipelineErr == "") {
				t.Errorf("status %d, and the pipeline says %q", w.Code, pipelineErr)
			}
			if strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") {
				var answer readiness
				if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.Ready != (w.Code == 200) || len(answer.Parts) != 2 ||
					answer.Parts[0].Ready != (pipelineErr == "") || answer.Parts[1].Ready != (sinkErr == "") {
					t.Errorf("%v: %s", err, body)
				}
				return
			}
			lines := regexp.MustCompile("[\\n\\r\\v\\f\u0085\u2028\u2029]+").Split(strings.TrimSuffix(body, "\n"), -1)
			if len(lines) != 2 || !strings.HasPrefix(lines[0], "pipeline: ") || !strings.HasPrefix(lines[1], "clickhouse: ") {
				t.Errorf("not two lines: %q", body)
			}
		default:
			t.Errorf("status %d of %q", w.Code, raw)
		}
	})
}

func failing(text string) error {
	if text == "" {
		return nil
	}
	return errors.New(text)
}
