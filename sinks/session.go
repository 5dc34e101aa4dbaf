package sinks

import "time"

// SessionTimeout is how long a consumer group keeps the place of a member that
// was killed; until then nobody reads its partitions. Heartbeats have a goroutine
// of their own and come every 3 s, whatever a sink is busy with. The client's
// default of 45 s would leave dashboards and alerts behind for that long, or twice
// that where members died while the group was rebalanced.
const SessionTimeout = 10 * time.Second
