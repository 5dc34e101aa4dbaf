package webhook

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/refundguard/refundguard/sinks"
)

// FuzzAnswer: whatever a receiver answers, an alert counts as delivered only by
// a 2xx, given up for good only by a 410, waits for an hour at most, and what is
// shown of the answer is short.
func FuzzAnswer(f *testing.F) {
	for _, answer := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 429 Slow\r\nRetry-After: 99999999999999999999\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 503 No\r\nRetry-After: Fri, 31 Dec 9999 23:59:59 GMT\r\n\r\nbusy",
		"HTTP/1.1 301 There\r\nLocation: http://169.254.169.254/\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\nx",
		"HTTP/1.1 500 x\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n" + strings.Repeat("x", 5000), "HTTP/1.0 99999 ?\r\n\r\n", "SSH-2.0-x\r\n", "", "HTTP/1.1 200 OK\r\n" + strings.Repeat("a: b\r\n", 3000),
		"HTTP/1.1 400 Bad\r\nContent-Length: 12\r\n\r\n\x1b[2J\r\nlevel=x",
	} {
		f.Add([]byte(answer))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		dial := func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			go func() {
				defer server.Close()
				r, err := http.ReadRequest(bufio.NewReader(server))
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, r.Body)
				_, _ = server.Write(answer)
			}()
			return client, nil
		}
		p, err := newPoster(Endpoint{URL: "http://receiver.example/", Format: "slack", Timeout: 5 * time.Second, MaxInFlight: 1}, dial)
		if err != nil {
			t.Fatal(err)
		}
		defer p.client.CloseIdleConnections()
		got := p.post(t.Context(), &alert{body: []byte("{}")})
		if got == nil {
			// The last status line that isn't a 1xx is what counts.
			r, err := finalResponse(answer)
			if err != nil || r.StatusCode/100 != 2 {
				t.Errorf("delivered by %.100q", answer)
			}
			return
		}
		if got.status/100 == 2 || got.err.Retryable == (got.status == 410) || got.err.After < 0 || got.err.After > maxRetryAfter || got.err.Reason == sinks.Reason("") {
			t.Errorf("%+v of %.100q", got, answer)
		}
		if text := got.Error(); len(text) > 2000 || strings.ContainsAny(text, "\n\r\x1b") {
			t.Errorf("shown as %q", text)
		}
	})
}

// finalResponse reads the first answer that isn't a 1xx.
func finalResponse(answer []byte) (*http.Response, error) {
	in := bufio.NewReader(strings.NewReader(string(answer)))
	for {
		r, err := http.ReadResponse(in, nil)
		if err != nil || r.StatusCode/100 != 1 || r.StatusCode == 101 {
			return r, err
		}
	}
}
