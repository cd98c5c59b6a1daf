package outbound

import (
	"fmt"
	"net/netip"
)

// special is a range that no delivery may reach unless it was opened.
type special struct {
	prefix netip.Prefix
	name   string
}

// rangeTable holds the special-purpose registries of IANA (RFC 6890 and
// its updates) and the addresses at which cloud providers hand out credentials.
// The first match names the refusal, so narrow ranges stand before wide ones.
// Ranges that the registries call globally reachable but that only serve
// infrastructure (AS112, AMT) are refused too: no receiver lives there.
type rangeTable struct{ v4, v6 []special }

func newRangeTable() *rangeTable {
	return &rangeTable{
		v4: []special{
			{netip.MustParsePrefix("169.254.169.254/32"), "cloud metadata"},
			{netip.MustParsePrefix("169.254.170.2/32"), "cloud metadata"},   // Amazon ECS
			{netip.MustParsePrefix("169.254.170.23/32"), "cloud metadata"},  // Amazon EKS
			{netip.MustParsePrefix("100.100.100.200/32"), "cloud metadata"}, // Alibaba
			{netip.MustParsePrefix("168.63.129.16/32"), "cloud metadata"},   // Azure's wire server
			{netip.MustParsePrefix("192.0.0.192/32"), "cloud metadata"},     // Oracle
			{netip.MustParsePrefix("0.0.0.0/32"), "unspecified"},
			{netip.MustParsePrefix("0.0.0.0/8"), "reserved (this network)"},
			{netip.MustParsePrefix("10.0.0.0/8"), "private"},
			{netip.MustParsePrefix("100.64.0.0/10"), "shared (carrier NAT)"},
			{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
			{netip.MustParsePrefix("169.254.0.0/16"), "link-local"},
			{netip.MustParsePrefix("172.16.0.0/12"), "private"},
			{netip.MustParsePrefix("192.0.0.0/24"), "reserved (IETF protocols)"},
			{netip.MustParsePrefix("192.0.2.0/24"), "documentation"},
			{netip.MustParsePrefix("192.31.196.0/24"), "reserved (AS112)"},
			{netip.MustParsePrefix("192.52.193.0/24"), "reserved (AMT)"},
			{netip.MustParsePrefix("192.88.99.0/24"), "reserved (6to4 relay)"},
			{netip.MustParsePrefix("192.168.0.0/16"), "private"},
			{netip.MustParsePrefix("192.175.48.0/24"), "reserved (AS112)"},
			{netip.MustParsePrefix("198.18.0.0/15"), "benchmark"},
			{netip.MustParsePrefix("198.51.100.0/24"), "documentation"},
			{netip.MustParsePrefix("203.0.113.0/24"), "documentation"},
			{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
			{netip.MustParsePrefix("255.255.255.255/32"), "broadcast"},
			{netip.MustParsePrefix("240.0.0.0/4"), "reserved"},
		},
		v6: []special{
			{netip.MustParsePrefix("fd00:ec2::254/128"), "cloud metadata"}, // Amazon EC2
			{netip.MustParsePrefix("fd00:ec2::23/128"), "cloud metadata"},  // Amazon EKS
			{netip.MustParsePrefix("fd20:ce::254/128"), "cloud metadata"},  // Google
			{netip.MustParsePrefix("fd00:42::42/128"), "cloud metadata"},   // Scaleway
			{netip.MustParsePrefix("fe80::a9fe:a9fe/128"), "cloud metadata"},
			{netip.MustParsePrefix("::/128"), "unspecified"},
			{netip.MustParsePrefix("::1/128"), "loopback"},
			{netip.MustParsePrefix("::/96"), "reserved (IPv4-compatible)"},
			{netip.MustParsePrefix("::ffff:0:0:0/96"), "reserved (IPv4-translated)"},
			{netip.MustParsePrefix("64:ff9b:1::/48"), "private (local NAT64)"},
			{netip.MustParsePrefix("100::/64"), "reserved (discard only)"},
			{netip.MustParsePrefix("100:0:0:1::/64"), "reserved (dummy)"},
			{netip.MustParsePrefix("2001::/32"), "reserved (Teredo)"},
			{netip.MustParsePrefix("2001:2::/48"), "benchmark"},
			{netip.MustParsePrefix("2001::/23"), "reserved (IETF protocols)"},
			{netip.MustParsePrefix("2001:db8::/32"), "documentation"},
			{netip.MustParsePrefix("2002::/16"), "reserved (6to4)"},
			{netip.MustParsePrefix("2620:4f:8000::/48"), "reserved (AS112)"},
			{netip.MustParsePrefix("3fff::/20"), "documentation"},
			{netip.MustParsePrefix("5f00::/16"), "reserved (segment routing)"},
			{netip.MustParsePrefix("fc00::/7"), "private"},
			{netip.MustParsePrefix("fe80::/10"), "link-local"},
			{netip.MustParsePrefix("fec0::/10"), "reserved (site-local)"},
			{netip.MustParsePrefix("ff00::/8"), "multicast"},
		},
	}
}

// policy says which addresses may be dialled. It is immutable.
type policy struct {
	table  *rangeTable
	allow  []netip.Prefix
	dev    bool
	global netip.Prefix // the only part of IPv6 that is handed out (RFC 4291, section 2.4)
	nat64  netip.Prefix // RFC 6052, section 2.1
}

func newPolicy(allow []netip.Prefix, dev bool) *policy {
	p := &policy{
		table:  newRangeTable(),
		dev:    dev,
		global: netip.MustParsePrefix("2000::/3"),
		nat64:  netip.MustParsePrefix("64:ff9b::/96"),
	}
	for _, a := range allow {
		// Addresses are judged unmapped, so a mapped prefix must be opened
		// unmapped as well.
		if a.Addr().Is4In6() && a.Bits() >= 96 {
			a = netip.PrefixFrom(a.Addr().Unmap(), a.Bits()-96)
		}
		if a.IsValid() {
			p.allow = append(p.allow, a.Masked())
		}
	}
	return p
}

// refusal says why an address may not be dialled.
type refusal struct {
	addr   netip.Addr
	name   string       // of the range: "private"
	prefix netip.Prefix // the range, invalid for a zone
	via    netip.Addr   // the IPv4 address inside addr that was judged, if any
	scheme bool         // it is refused because of http://
	dev    bool         // with scheme: http:// is open, to loopback
}

// reason names the address and the range, as the rest of a sentence.
func (r *refusal) reason() string {
	switch {
	case r.scheme && r.dev:
		return fmt.Sprintf("%s is not loopback, and http:// is for loopback only", r.addr)
	case r.scheme:
		return "http:// is accepted with --dev only, and to loopback only"
	case !r.prefix.IsValid():
		return fmt.Sprintf("%s names a zone, which is link-local", r.addr)
	case r.prefix.Bits() == 0:
		return fmt.Sprintf("%s is reserved: public IPv6 addresses are in 2000::/3", r.addr)
	case r.via.IsValid():
		return fmt.Sprintf("%s carries %s, which is in the %s range %s", r.addr, r.via, r.name, r.prefix)
	}
	return fmt.Sprintf("%s is in the %s range %s", r.addr, r.name, r.prefix)
}

// remedy says what would be right, as a clause.
func (r *refusal) remedy() string {
	switch {
	case r.scheme:
		return "use https://"
	case !r.prefix.IsValid():
		return "use an address without a zone"
	}
	s := fmt.Sprintf("use a public address, or start the server with --allow-destination %s", netip.PrefixFrom(r.addr, r.addr.BitLen()))
	if r.name == "loopback" && !r.via.IsValid() {
		s += " or --dev"
	}
	return s
}

// check returns nil if addr may be dialled for the scheme ("https" or "http").
func (p *policy) check(addr netip.Addr, scheme string) *refusal {
	zone := addr.Zone() != ""
	addr = addr.Unmap()
	if zone {
		return &refusal{addr: addr, name: "link-local"}
	}
	if scheme != "https" && (!p.dev || !addr.IsLoopback()) {
		return &refusal{addr: addr, scheme: true, dev: p.dev}
	}
	if p.dev && addr.IsLoopback() {
		return nil
	}
	for _, a := range p.allow {
		if a.Contains(addr) {
			return nil
		}
	}
	return p.special(addr)
}

// special judges addr by the registries alone.
func (p *policy) special(addr netip.Addr) *refusal {
	if addr.Is4() {
		return find(p.table.v4, addr)
	}
	if r := find(p.table.v6, addr); r != nil {
		return r
	}
	raw := addr.As16()
	switch {
	case p.nat64.Contains(addr):
		// A network without IPv4 reaches public IPv4 receivers this way, so
		// only what is inside counts.
		return p.embedded(addr, raw[12:])
	case !p.global.Contains(addr):
		return &refusal{addr: addr, name: "reserved", prefix: netip.PrefixFrom(netip.IPv6Unspecified(), 0)}
	case (raw[8] == 0 || raw[8] == 2) && raw[9] == 0 && raw[10] == 0x5e && raw[11] == 0xfe:
		return p.embedded(addr, raw[12:]) // ISATAP (RFC 5214, section 6.1)
	}
	return nil
}

// embedded judges the IPv4 address inside addr.
func (p *policy) embedded(addr netip.Addr, four []byte) *refusal {
	via := netip.AddrFrom4([4]byte(four))
	r := find(p.table.v4, via)
	if r != nil {
		r.addr, r.via = addr, via
	}
	return r
}

func find(table []special, addr netip.Addr) *refusal {
	for i := range table {
		if table[i].prefix.Contains(addr) {
			return &refusal{addr: addr, name: table[i].name, prefix: table[i].prefix}
		}
	}
	return nil
}
