package webhook

import (
	"fmt"
	"net/netip"
	"strings"
	"syscall"
)

// guard decides which addresses may be dialled. It sees the resolved address
// of each connection, so neither a name that points inwards nor one that is
// rebound between two look-ups passes it.
type guard struct {
	private bool            // allow_private: true
	hosts   map[string]bool // names, lower case; what they resolve to isn't looked at
	nets    []netip.Prefix
}

// refusedError is why a connection was not made.
type refusedError struct {
	addr netip.Addr
	kind string
}

func (e *refusedError) Error() string {
	return fmt.Sprintf("the address %s is %s, which alerts are not sent to unless allow_private lists it", e.addr, e.kind)
}

func newGuard(allow []string) (*guard, error) {
	g := &guard{hosts: map[string]bool{}}
	// One item of several is how the environment writes a list.
	for _, item := range strings.Fields(strings.ReplaceAll(strings.Join(allow, " "), ",", " ")) {
		item = strings.ToLower(item)
		switch item {
		case "true", "1":
			g.private = true
			continue
		case "false", "0":
			continue
		}
		if prefix, err := netip.ParsePrefix(item); err == nil {
			g.nets = append(g.nets, prefix.Masked())
			continue
		}
		if addr, err := netip.ParseAddr(strings.Trim(item, "[]")); err == nil {
			addr = addr.WithZone("").Unmap()
			g.nets = append(g.nets, netip.PrefixFrom(addr, addr.BitLen()))
			continue
		}
		if !only(item, "-_.") {
			return nil, fmt.Errorf("%q is neither true, nor a host's name, an address or a CIDR", item)
		}
		g.hosts[strings.TrimSuffix(item, ".")] = true
	}
	return g, nil
}

// trusts reports whether a host of this name may resolve to anything.
func (g *guard) trusts(host string) bool {
	return g.hosts[strings.TrimSuffix(strings.ToLower(host), ".")]
}

// control is a net.Dialer's Control.
func (g *guard) control(_, address string, _ syscall.RawConn) error {
	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("reading the address %q that is about to be dialled: %w", address, err)
	}
	return g.check(target.Addr())
}

func (g *guard) check(addr netip.Addr) error {
	addr = addr.WithZone("").Unmap()
	for _, n := range g.nets {
		if n.Contains(addr) {
			return nil
		}
	}
	for _, r := range reserved() {
		if !r.net.Contains(addr) {
			continue
		}
		if g.private && r.private {
			return nil
		}
		return &refusedError{addr, r.kind}
	}
	// What an address embeds is what a gateway connects to.
	if inner, ok := embedded(addr); ok && g.check(inner) != nil {
		return &refusedError{addr, "a translation of " + inner.String()}
	}
	return nil
}

// embedded is the IPv4 address within a NAT64 or 6to4 one.
func embedded(addr netip.Addr) (netip.Addr, bool) {
	if !addr.Is6() {
		return netip.Addr{}, false
	}
	b := addr.As16()
	switch {
	case netip.MustParsePrefix("64:ff9b::/96").Contains(addr):
		return netip.AddrFrom4([4]byte(b[12:])), true
	case b[0] == 0x20 && b[1] == 0x02:
		return netip.AddrFrom4([4]byte(b[2:6])), true
	}
	return netip.Addr{}, false
}

type reservedNet struct {
	net     netip.Prefix
	kind    string
	private bool // opened by allow_private: true
}

// reserved lists what is no public unicast address, the narrower before the
// wider. Machines' metadata services stay closed under allow_private: true,
// because what they hand out is worth more than any alert.
func reserved() []reservedNet {
	p := netip.MustParsePrefix
	return []reservedNet{
		{p("169.254.169.254/32"), "a metadata service", false}, // most clouds
		{p("169.254.170.0/24"), "a metadata service", false},   // AWS containers
		{p("100.100.100.200/32"), "a metadata service", false}, // Alibaba Cloud
		{p("168.63.129.16/32"), "a metadata service", false},   // Azure
		{p("192.0.0.192/32"), "a metadata service", false},     // Oracle Cloud
		{p("fd00:ec2::/32"), "a metadata service", false},      // AWS
		{p("fd20:ce::/32"), "a metadata service", false},       // Google Cloud
		{p("127.0.0.0/8"), "loopback", true},
		{p("::1/128"), "loopback", true},
		{p("10.0.0.0/8"), "private", true},
		{p("172.16.0.0/12"), "private", true},
		{p("192.168.0.0/16"), "private", true},
		{p("fc00::/7"), "private", true},
		{p("fec0::/10"), "private", true},
		{p("169.254.0.0/16"), "link-local", true},
		{p("fe80::/10"), "link-local", true},
		{p("100.64.0.0/10"), "a carrier's own (CGNAT)", true},
		{p("64:ff9b:1::/48"), "a local translation (NAT64)", false},
		{p("0.0.0.0/8"), "unspecified", false},
		{p("::/96"), "unspecified", false},
		{p("192.0.0.0/24"), "reserved", false},
		{p("192.0.2.0/24"), "for documentation", false},
		{p("198.51.100.0/24"), "for documentation", false},
		{p("203.0.113.0/24"), "for documentation", false},
		{p("2001:db8::/32"), "for documentation", false},
		{p("3fff::/20"), "for documentation", false},
		{p("198.18.0.0/15"), "for benchmarks", false},
		{p("2001::/32"), "a tunnel (Teredo)", false},
		{p("100::/64"), "a discard address", false},
		{p("224.0.0.0/4"), "multicast", false},
		{p("ff00::/8"), "multicast", false},
		{p("240.0.0.0/4"), "reserved", false}, // with broadcast
	}
}
