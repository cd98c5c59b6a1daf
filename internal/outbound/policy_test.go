package outbound

import (
	"net/netip"
	"strings"
	"testing"
)

func TestPolicyRefusesEverythingButPublicAddresses(t *testing.T) {
	t.Parallel()
	strict := newPolicy(nil, false)
	for _, test := range []struct{ addr, want string }{
		// Public.
		{"1.1.1.1", ""},
		{"8.8.8.8", ""},
		{"93.184.216.34", ""},
		{"100.63.255.255", ""},
		{"100.128.0.0", ""},
		{"126.255.255.255", ""},
		{"128.0.0.0", ""},
		{"169.253.255.255", ""},
		{"172.15.255.255", ""},
		{"172.32.0.0", ""},
		{"192.0.1.0", ""},
		{"192.167.255.255", ""},
		{"192.169.0.0", ""},
		{"198.17.255.255", ""},
		{"198.20.0.0", ""},
		{"223.255.255.255", ""},
		{"2606:4700:4700::1111", ""},
		{"2a00:1450:4001:82a::200e", ""},
		{"::ffff:8.8.8.8", ""},
		{"64:ff9b::8.8.8.8", ""},
		{"2a00::5efe:8.8.8.8", ""},
		// Loopback and unspecified.
		{"127.0.0.1", "loopback"},
		{"127.255.255.254", "loopback"},
		{"::1", "loopback"},
		{"::ffff:127.0.0.1", "loopback"},
		{"0.0.0.0", "unspecified"},
		{"::", "unspecified"},
		{"0.0.0.1", "this network"},
		// Private and shared.
		{"10.0.0.0", "private"},
		{"10.255.255.255", "private"},
		{"172.16.0.1", "private"},
		{"172.31.255.255", "private"},
		{"192.168.0.1", "private"},
		{"192.168.255.255", "private"},
		{"::ffff:10.0.0.1", "private"},
		{"::ffff:192.168.1.1", "private"},
		{"fc00::1", "private"},
		{"fd12:3456:789a::1", "private"},
		{"100.64.0.0", "shared"},
		{"100.127.255.255", "shared"},
		// Link-local and site-local.
		{"169.254.0.1", "link-local"},
		{"169.254.255.255", "link-local"},
		{"fe80::1", "link-local"},
		{"febf::1", "link-local"},
		{"fec0::1", "site-local"},
		{"2606:4700::1%eth0", "zone"},
		{"fe80::1%1", "zone"},
		// Cloud metadata.
		{"169.254.169.254", "cloud metadata"},
		{"::ffff:169.254.169.254", "cloud metadata"},
		{"169.254.170.2", "cloud metadata"},
		{"169.254.170.23", "cloud metadata"},
		{"100.100.100.200", "cloud metadata"},
		{"168.63.129.16", "cloud metadata"},
		{"192.0.0.192", "cloud metadata"},
		{"fd00:ec2::254", "cloud metadata"},
		{"fd00:ec2::23", "cloud metadata"},
		{"fd20:ce::254", "cloud metadata"},
		{"fe80::a9fe:a9fe", "cloud metadata"},
		// Multicast, broadcast, reserved, documentation, benchmark.
		{"224.0.0.1", "multicast"},
		{"239.255.255.255", "multicast"},
		{"ff02::1", "multicast"},
		{"ff0e::1", "multicast"},
		{"240.0.0.1", "reserved"},
		{"255.255.255.255", "broadcast"},
		{"192.0.0.1", "reserved"},
		{"192.0.0.9", "reserved"},
		{"192.0.2.1", "documentation"},
		{"198.51.100.1", "documentation"},
		{"203.0.113.9", "documentation"},
		{"2001:db8::1", "documentation"},
		{"3fff::1", "documentation"},
		{"198.18.0.1", "benchmark"},
		{"198.19.255.255", "benchmark"},
		{"2001:2::1", "benchmark"},
		{"192.31.196.1", "AS112"},
		{"192.175.48.1", "AS112"},
		{"192.52.193.1", "AMT"},
		{"192.88.99.1", "6to4"},
		{"2620:4f:8000::1", "AS112"},
		{"100::1", "discard"},
		{"100:0:0:1::1", "dummy"},
		{"5f00::1", "segment routing"},
		{"4000::1", "reserved"},
		{"1::1", "reserved"},
		{"8000::1", "reserved"},
		// IPv4 inside IPv6.
		{"::127.0.0.1", "IPv4-compatible"},
		{"::10.0.0.1", "IPv4-compatible"},
		{"::8.8.8.8", "IPv4-compatible"},
		{"::ffff:0:10.0.0.1", "IPv4-translated"},
		{"64:ff9b::127.0.0.1", "carries 127.0.0.1"},
		{"64:ff9b::10.0.0.1", "carries 10.0.0.1"},
		{"64:ff9b::169.254.169.254", "carries 169.254.169.254"},
		{"64:ff9b:1::8.8.8.8", "local NAT64"},
		{"2002:7f00:1::", "6to4"},
		{"2002:808:808::1", "6to4"},
		{"2001:0:4136:e378:8000:63bf:3fff:fdd2", "Teredo"},
		{"2001:10::1", "IETF"},
		{"2a00::5efe:10.0.0.1", "carries 10.0.0.1"},
		{"2a00::200:5efe:192.168.0.1", "carries 192.168.0.1"},
	} {
		addr := netip.MustParseAddr(test.addr)
		r := strict.check(addr, "https")
		switch {
		case r == nil && test.want != "":
			t.Errorf("%s: allowed, want refused as %q", test.addr, test.want)
		case r != nil && test.want == "":
			t.Errorf("%s: refused (%s), want allowed", test.addr, r.reason())
		case r != nil && !strings.Contains(r.reason(), test.want):
			t.Errorf("%s: reason %q does not name %q", test.addr, r.reason(), test.want)
		case r != nil && r.remedy() == "":
			t.Errorf("%s: no remedy", test.addr)
		}
		if strict.check(addr, "http") == nil {
			t.Errorf("%s: allowed for http without Dev", test.addr)
		}
	}
}

func TestPolicyOpensExactlyWhatIsAllowed(t *testing.T) {
	t.Parallel()
	prefixes := func(s ...string) (out []netip.Prefix) {
		for _, p := range s {
			out = append(out, netip.MustParsePrefix(p))
		}
		return out
	}
	for _, test := range []struct {
		allow  []netip.Prefix
		dev    bool
		addr   string
		scheme string
		want   bool
	}{
		{prefixes("10.1.0.0/16"), false, "10.1.2.3", "https", true},
		{prefixes("10.1.0.0/16"), false, "::ffff:10.1.2.3", "https", true},
		{prefixes("10.1.0.0/16"), false, "10.2.0.1", "https", false},
		{prefixes("10.1.0.0/16"), false, "10.1.2.3", "http", false},
		{prefixes("10.1.0.0/16"), true, "10.1.2.3", "http", false},
		{prefixes("10.1.0.0/16"), false, "64:ff9b::10.1.2.3", "https", false},
		{prefixes("10.1.0.0/16"), false, "2a00::5efe:10.1.2.3", "https", false},
		{prefixes("10.1.2.3/16"), false, "10.1.255.1", "https", true}, // host bits do not matter
		{prefixes("::ffff:10.1.0.0/112"), false, "10.1.2.3", "https", true},
		{prefixes("::ffff:10.1.0.0/112"), false, "10.2.0.1", "https", false},
		{prefixes("fd00:1::/32"), false, "fd00:1::5", "https", true},
		{prefixes("fd00:1::/32"), false, "fd00:2::5", "https", false},
		{prefixes("fe80::/10"), false, "fe80::1%eth0", "https", false},
		{prefixes("::/0"), false, "10.0.0.1", "https", false},
		{prefixes("::/0"), false, "::ffff:10.0.0.1", "https", false},
		{prefixes("10.1.0.0/16", "192.168.7.0/24"), false, "192.168.7.9", "https", true},
		{prefixes("127.0.0.1/32"), false, "127.0.0.1", "https", true},
		{prefixes("127.0.0.1/32"), false, "127.0.0.1", "http", false},
		{nil, true, "127.0.0.1", "https", true},
		{nil, true, "127.0.0.1", "http", true},
		{nil, true, "127.8.9.1", "http", true},
		{nil, true, "::1", "http", true},
		{nil, true, "::ffff:127.0.0.1", "http", true},
		{nil, true, "8.8.8.8", "http", false},
		{nil, true, "8.8.8.8", "https", true},
		{nil, true, "10.0.0.1", "https", false},
		{nil, true, "169.254.169.254", "http", false},
		{nil, true, "::127.0.0.1", "https", false},
		{nil, true, "64:ff9b::127.0.0.1", "https", false},
		{[]netip.Prefix{{}}, false, "10.0.0.1", "https", false},
	} {
		r := newPolicy(test.allow, test.dev).check(netip.MustParseAddr(test.addr), test.scheme)
		if (r == nil) != test.want {
			t.Errorf("allow %v dev %v: %s over %s allowed = %v, want %v", test.allow, test.dev, test.addr, test.scheme, r == nil, test.want)
		}
	}
}

// Every range of the tables is refused from its first to its last address, and
// so is every mapped and NAT64 form of the IPv4 ones.
func TestPolicyTableEdges(t *testing.T) {
	t.Parallel()
	p := newPolicy(nil, false)
	for _, s := range append(p.table.v4, p.table.v6...) {
		first, last := s.prefix.Masked().Addr(), lastOf(s.prefix)
		if first != s.prefix.Addr() {
			t.Errorf("%s has host bits", s.prefix)
		}
		for _, addr := range []netip.Addr{first, last} {
			if p.check(addr, "https") == nil {
				t.Errorf("%s of %s is allowed", addr, s.prefix)
			}
			if !addr.Is4() {
				continue
			}
			mapped := netip.AddrFrom16(addr.As16())
			if p.check(mapped, "https") == nil {
				t.Errorf("%s is allowed", mapped)
			}
			raw := p.nat64.Addr().As16()
			four := addr.As4()
			copy(raw[12:], four[:])
			if nat64 := netip.AddrFrom16(raw); p.check(nat64, "https") == nil {
				t.Errorf("%s is allowed", nat64)
			}
		}
	}
}

func lastOf(p netip.Prefix) netip.Addr {
	raw := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(raw)*8; bit++ {
		raw[bit/8] |= 1 << (7 - bit%8)
	}
	addr, _ := netip.AddrFromSlice(raw)
	return addr
}
