package pipeline_test

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Rules that change while an epoch is committed are taken, even if the commit
// fails and everything starts over.
func TestAReloadDuringACommitThatFails(t *testing.T) {
	r := newHeld(t, 1, 1)
	r.cfg.Rules.Reload = 20 * time.Millisecond
	in := r.run()
	r.send("refunds", 0, refund("X", "", "ann", "60", time.Hour))
	r.until("X is decided", func() bool { return in.Balance().Read == 1 })
	r.c.ControlKey(int16(kmsg.EndTxn), func(req kmsg.Request) (kmsg.Response, error, bool) {
		r.writeRules("rules:\n  - {id: all, action: reject, when: 'amount > 1'}\n")
		r.c.SleepControl(func() { time.Sleep(time.Second) })
		q := req.(*kmsg.EndTxnRequest)
		resp := q.ResponseKind().(*kmsg.EndTxnResponse)
		resp.ErrorCode = kerr.UnknownServerError.Code
		return resp, nil, true
	})
	r.send("refunds", 0, refund("Y", "", "ann", "60", time.Hour))
	r.until("Y is decided", func() bool { return in.Balance().Read == 2 })
	time.Sleep(500 * time.Millisecond)
	r.send("refunds", 0, refund("Z", "", "ann", "60", time.Hour))
	r.until("Z is decided", func() bool { return in.Balance().Read == 3 })
	if d := r.decided(); len(d["Z"]) != 1 || !strings.HasPrefix(d["Z"][0], "reject") {
		t.Errorf("decided %v", d)
	}
}
