package connect

import (
	"net"
	"strconv"
	"strings"
)

// AddressFault says what is wrong with an address host:port, or "". usual is
// the hint for one that isn't of this form, e.g. "Kafka's usual port is 9092".
func AddressFault(address, usual string) string {
	if strings.Contains(address, "://") {
		return "is a URL; write host:port, and what else it says beside it"
	}
	if strings.ContainsAny(address, ", ") {
		return "holds several addresses; write a list, one address each"
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "is not host:port; " + usual
	}
	if host == "" {
		return "has no host before the colon"
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return "has a port that is not a number from 1 to 65535"
	}
	return ""
}
