package rules

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/refundguard/refundguard/rules/event"
)

// networks is a list of IP networks that is asked by address: IPv4 and IPv6
// each cut into ranges, in order. An address in several networks is in the list
// until the last of them expires.
type networks struct {
	four, six []addresses
}

// addresses is a range: from its start up to the start of the next one. They are
// in the list while event time is below expires; 0: they are not in it.
type addresses struct {
	start   address
	expires int64
}

// address is an IPv6 address, or an IPv4 one in the form ::ffff:a.b.c.d.
type address struct{ hi, lo uint64 }

func toAddress(a netip.Addr) address {
	b := a.As16()
	return address{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func (a address) compare(b address) int {
	if a.hi != b.hi {
		return compareUint(a.hi, b.hi)
	}
	return compareUint(a.lo, b.lo)
}

func compareUint(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// network is one entry: a network, and how long it is in the list.
type network struct {
	prefix  netip.Prefix
	expires int64
}

// parseNetwork reads 10.0.0.0/8, 2001:db8::/32, or one address.
func parseNetwork(s string) (p netip.Prefix, hint string) {
	const form = "write a network such as 10.0.0.0/8 or 2001:db8::/32, or one address"
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), ""
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, form
	}
	if a := p.Addr(); a.Is4In6() {
		if p.Bits() < 96 {
			return netip.Prefix{}, form
		}
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	if masked := p.Masked(); masked != p {
		return netip.Prefix{}, fmt.Sprintf("it has bits beyond /%d: write %s, or %s alone", p.Bits(), masked, p.Addr())
	}
	return p, ""
}

// newNetworks sorts networks into ranges. They lie in one another or apart, so a
// stack of those that are open says what begins and ends where.
func newNetworks(all []network) *networks {
	slices.SortFunc(all, func(a, b network) int {
		if n := a.prefix.Addr().Compare(b.prefix.Addr()); n != 0 {
			return n
		}
		return a.prefix.Bits() - b.prefix.Bits()
	})
	split := sort.Search(len(all), func(i int) bool { return all[i].prefix.Addr().Is6() })
	return &networks{four: ranges(all[:split]), six: ranges(all[split:])}
}

func ranges(sorted []network) []addresses {
	type open struct {
		last    netip.Addr
		expires int64
	}
	var out []addresses
	var stack []open
	begin := func(at netip.Addr, expires int64) {
		a := addresses{toAddress(at), expires}
		if n := len(out); n > 0 && out[n-1].start == a.start {
			out[n-1].expires = expires
		} else {
			out = append(out, a)
		}
	}
	closeUpTo := func(next netip.Addr) { // all that end before next
		for n := len(stack); n > 0 && (!next.IsValid() || stack[n-1].last.Less(next)); n-- {
			ended := stack[n-1]
			stack = stack[:n-1]
			after := ended.last.Next()
			if !after.IsValid() {
				continue // the end of all addresses
			}
			rest := int64(0)
			if n > 1 {
				rest = stack[n-2].expires
			}
			begin(after, rest)
		}
	}
	for _, net := range sorted {
		closeUpTo(net.prefix.Addr())
		expires := net.expires
		if n := len(stack); n > 0 {
			expires = max(expires, stack[n-1].expires)
		}
		begin(net.prefix.Addr(), expires)
		stack = append(stack, open{lastAddr(net.prefix), expires})
	}
	closeUpTo(netip.Addr{})
	return out
}

// lastAddr is the greatest address of a network.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().As16()
	from := p.Bits()
	if p.Addr().Is4() {
		from += 96
	}
	for i := from; i < 128; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	a := netip.AddrFrom16(b)
	if p.Addr().Is4() {
		a = a.Unmap()
	}
	return a
}

// has says whether an address is in the list at a time.
func (n *networks) has(a netip.Addr, t int64) bool {
	in := n.six
	if a = a.Unmap(); a.Is4() {
		in = n.four
	}
	key := toAddress(a)
	low, high := 0, len(in) // in[:low] start at or before key
	for low < high {
		mid := int(uint(low+high) >> 1)
		if in[mid].start.compare(key) <= 0 {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low > 0 && t < in[low-1].expires
}

// parseIP reads an address; a zone, which says by what interface a link-local
// one is reached, is left out.
func parseIP(s string) (netip.Addr, bool) {
	if i := strings.IndexByte(s, '%'); i >= 0 {
		s = s[:i]
	}
	if len(s) > 45 || s == "" { // the longest is an IPv6 address that ends in an IPv4 one
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(s)
	return a, err == nil
}

// networksOf makes networks of a list's values, once, and reports those that
// are none.
func (d *draft) networksOf(l *list) *networks {
	if l.networks != nil || l.file == nil {
		return l.networks
	}
	values := make([]string, 0, len(l.values))
	for v := range l.values {
		values = append(values, v)
	}
	sort.Slice(values, func(i, j int) bool { // faults are shown in the order of the file
		a, b := l.values[values[i]], l.values[values[j]]
		return a.line < b.line || a.line == b.line && a.column < b.column
	})
	all := make([]network, 0, len(values))
	for _, v := range values {
		e := l.values[v]
		p, hint := parseNetwork(v)
		if hint != "" {
			d.failEntry(l, e, fmt.Sprintf("in_cidr can't use %q", v), hint)
			continue
		}
		all = append(all, network{p, e.expires})
	}
	l.networks = newNetworks(all)
	return l.networks
}

// allNetworks says that a list holds nothing but networks: it is asked by
// in_cidr.
func (l *list) allNetworks() bool {
	if l.allNets == 0 {
		l.allNets = 1
		if len(l.values) == 0 {
			l.allNets = -1
		}
		for v := range l.values {
			if !strings.Contains(v, "/") || !isNetwork(v) {
				l.allNets = -1
				break
			}
		}
	}
	return l.allNets > 0
}

func isNetwork(s string) bool {
	_, hint := parseNetwork(s)
	return hint == ""
}

// inCIDR is in_cidr(ip, lists.NAME) and in_cidr(ip, ["10.0.0.0/8"]).
func (c *compiler) inCIDR(n ast.Node, args []ast.Node) operand {
	if len(args) != 2 {
		return c.fail(n, fmt.Sprintf("in_cidr has %d arguments here", len(args)), "it is called as "+functions["in_cidr"].signature)
	}
	x := c.expr(args[0])
	var nets *networks
	if array, ok := args[1].(*ast.ArrayNode); ok {
		nets = c.networkArray(array)
	} else if y := c.expr(args[1]); y.typ != typeBad {
		if y.typ != typeList {
			return c.failAt(y, "in_cidr needs a list of networks, not "+y.typ.String(), `write in_cidr(ip, lists.NAME) or in_cidr(ip, ["10.0.0.0/8"])`)
		}
		if nets = c.d.networksOf(y.list); nets == nil {
			return bad(n) // the list is faulty, and reported
		}
	}
	if x.typ == typeBad || nets == nil {
		return bad(n)
	}
	if x.typ != typeText {
		return c.failAt(x, "in_cidr takes text, not "+x.typ.String(), "it is called as "+functions["in_cidr"].signature)
	}
	xn, xf := c.need(x, Value{}), x.fn
	path := c.print(n, 0)
	return operand{node: n, typ: typeBool, path: path, maybe: !c.known.notNil(path), fn: func(f *frame, e *event.Event) Value {
		v := xf(f, e)
		if v.unusable() {
			return v.orNil(xn)
		}
		a, ok := parseIP(v.Str)
		if !ok {
			return Value{}
		}
		return boolValue(nets.has(a, e.Time))
	}}
}

func (c *compiler) networkArray(array *ast.ArrayNode) *networks {
	var all []network
	for _, item := range array.Nodes {
		y := c.expr(item)
		if y.typ == typeBad {
			return nil
		}
		if y.typ != typeText || !y.konst {
			c.failAt(y, "in_cidr needs networks that are written out", `write in_cidr(ip, ["10.0.0.0/8"])`)
			return nil
		}
		p, hint := parseNetwork(y.value.Str)
		if hint != "" {
			c.failAt(y, fmt.Sprintf("in_cidr can't use %q", y.value.Str), hint)
			return nil
		}
		all = append(all, network{p, never})
	}
	return newNetworks(all)
}
