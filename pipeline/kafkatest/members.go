package kafkatest

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ExpireMembers takes the members of all consumer groups out of them; call it
// after killing their clients. The real broker is left alone: it does that itself
// when their sessions time out. The fake doesn't for a client that died while it
// waited to join, and then hands partitions to the dead for ever.
func (c *Cluster) ExpireMembers() {
	c.t.Helper()
	if _, ok := c.broker.(*fake); !ok {
		return
	}
	c.admin("expire the members of groups", func(ctx context.Context, adm *kadm.Client) error {
		groups, err := adm.DescribeGroups(ctx)
		if err != nil {
			return err
		}
		cl, err := newClient(c.broker.addr())
		if err != nil {
			return err
		}
		defer cl.Close()
		for _, g := range groups {
			if len(g.Members) == 0 {
				continue
			}
			leave := kmsg.NewPtrLeaveGroupRequest()
			leave.Group = g.Group
			for _, m := range g.Members {
				gone := kmsg.NewLeaveGroupRequestMember()
				gone.MemberID = m.MemberID
				leave.Members = append(leave.Members, gone)
			}
			left, err := leave.RequestWith(ctx, cl)
			if err != nil {
				return err
			}
			if err := kerr.ErrorForCode(left.ErrorCode); err != nil {
				return fmt.Errorf("leave group %s: %w", g.Group, err)
			}
		}
		return nil
	})
}
