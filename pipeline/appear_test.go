package pipeline_test

import (
	"slices"
	"testing"
	"time"
)

// The topic of verdicts is created where it is missing; another that somebody
// creates while the service works is read from then on.
func TestTopicsThatCome(t *testing.T) {
	slow(t)
	r := &life{held: newHeld(t, 2, 1)}
	r.writeRules(lifeRules)
	in := r.run()
	r.until("live", func() bool { return in.Ready() == nil })
	r.send("refunds", 0, refund("held", "", "ann", "60", time.Minute))
	r.until("it is held", func() bool { return in.Balance().InReview == 1 })
	r.verdict("v1", "held", "approve", "bob")
	r.until("it is released", func() bool { return in.Balance().Approved == 1 })

	if resp, err := r.adm.CreateTopics(t.Context(), 2, 1, nil, "ledger-results", "confirmations"); err != nil || resp.Error() != nil {
		t.Fatal(err, resp.Error())
	}
	r.result("l1", "held", "executed", "60")
	r.confirm("c1", "held", false)
	r.until("the customer denied it", func() bool { return slices.Equal(r.alerted("held"), []string{"denied-by-customer"}) })
}
