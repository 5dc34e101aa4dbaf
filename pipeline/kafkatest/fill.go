package kafkatest

import (
	"fmt"
	"os/exec"
	"strconv"
	"time"
)

// Fill makes every write of the real broker fail, as a full disk does. A broker
// that can't write its log ends by itself: Fill returns when it has. Restart
// brings it back on a disk with room. With the fake the test is skipped.
func (c *Cluster) Fill() {
	c.t.Helper()
	a, ok := c.broker.(*apache)
	if !ok {
		c.t.Skip("kafkatest: only the real broker has a disk")
	}
	c.away("fill the disk of", a.fill)
}

func (a *apache) fill() error {
	pid := strconv.Itoa(a.java.Process.Pid)
	if out, err := exec.Command("prlimit", "--pid", pid, "--fsize=1").CombinedOutput(); err != nil {
		return fmt.Errorf("limit the broker's files (prlimit, of util-linux): %w\n%s", err, out)
	}
	select {
	case <-a.exit:
	case <-time.After(patience):
		a.java.Process.Kill()
		<-a.exit
		return fmt.Errorf("the broker went on for %s without a disk\n%s", patience, a.logTail())
	}
	fmt.Fprintln(a.watch) // its pid can be another process from now on
	return nil
}
