package outbound

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/cybervault/cybervault"
)

// names is a resolver that answers from a table; each answer of a name is
// given once, the last one again and again.
type names struct {
	mu      sync.Mutex
	answers map[string][][]netip.Addr
	asked   int
}

func (n *names) LookupNetIP(ctx context.Context, _, host string) ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	answers := n.answers[host]
	if len(answers) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	if len(answers) > 1 {
		n.answers[host] = answers[1:]
	}
	return answers[0], ctx.Err()
}

func addrs(list ...string) (out []netip.Addr) {
	for _, a := range list {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

func TestCheckURL(t *testing.T) {
	t.Parallel()
	resolver := &names{answers: map[string][][]netip.Addr{
		"hooks.example.com":      {addrs("93.184.216.34")},
		"hooks.example.com.":     {addrs("93.184.216.34")},
		"xn--bcher-kva.example":  {addrs("93.184.216.34")},
		"both.example.com":       {addrs("93.184.216.34", "2606:4700::1")},
		"inside.example.com":     {addrs("10.0.0.5")},
		"mixed.example.com":      {addrs("93.184.216.34", "127.0.0.1")},
		"localhost":              {addrs("127.0.0.1", "::1")},
		"mapped.example.com":     {addrs("::ffff:10.0.0.1")},
		"metadata.example.com":   {addrs("169.254.169.254")},
		"nat64.example.com":      {addrs("64:ff9b::169.254.169.254")},
		"allowed.example.com":    {addrs("10.9.0.1")},
		"under_score.example":    {addrs("93.184.216.34")},
		"10.example.com":         {addrs("93.184.216.34")},
		"0x7f.example.com":       {addrs("93.184.216.34")},
		"2130706433.example.com": {addrs("93.184.216.34")},
	}}
	const ok = ""
	for _, test := range []struct{ url, strict, dev string }{
		{"https://hooks.example.com/in?x=1", ok, ok},
		{"https://hooks.example.com:8443/in", ok, ok},
		{"https://hooks.example.com./in", ok, ok},
		{"https://HOOKS.example.com/in", ok, ok}, // unknown to the stub, and so accepted
		{"https://bücher.example/in", ok, ok},
		{"https://both.example.com", ok, ok},
		{"https://under_score.example", ok, ok},
		{"https://10.example.com", ok, ok},
		{"https://0x7f.example.com", ok, ok},
		{"https://2130706433.example.com", ok, ok},
		{"https://unknown.example.com/in", ok, ok},
		{"https://93.184.216.34/", ok, ok},
		{"https://93.184.216.34./", ok, ok},
		{"https://[2606:4700::1]:443/", ok, ok},
		{"https://allowed.example.com", ok, ok},
		{"https://10.9.0.1", ok, ok},
		{"https://[::ffff:10.9.0.1]", ok, ok},
		{"https://hooks.example.com:", ok, ok},

		{"http://hooks.example.com/in", `scheme "http"`, "http:// is for loopback only"},
		{"http://93.184.216.34/", `scheme "http"`, "http:// is for loopback only"},
		{"http://10.9.0.1/", `scheme "http"`, "http:// is for loopback only"},
		{"http://localhost:8080/", `scheme "http"`, ok},
		{"http://127.0.0.1:8080/", `scheme "http"`, ok},
		{"https://localhost/", "127.0.0.1 is in the loopback range 127.0.0.0/8", ok},
		{"https://127.0.0.1/", "--dev", ok},
		{"https://127.0.0.1./", "loopback", ok},
		{"https://[::1]/", "loopback", ok},
		{"https://[::ffff:127.0.0.1]/", "loopback", ok},

		{"https://inside.example.com", "--allow-destination 10.0.0.5/32", "10.0.0.0/8"},
		{"https://mixed.example.com", "127.0.0.1", ok},
		{"https://mapped.example.com", "private", "private"},
		{"https://metadata.example.com", "cloud metadata", "cloud metadata"},
		{"https://nat64.example.com", "carries 169.254.169.254", "carries"},
		{"https://169.254.169.254/latest/meta-data", "cloud metadata", "cloud metadata"},
		{"https://[::ffff:10.0.0.1]", "10.0.0.1 is in the private range 10.0.0.0/8", "private"},
		{"https://[::ffff:a9fe:a9fe]", "cloud metadata", "cloud metadata"},
		{"https://[fe80::1%25eth0]/", "zone", "zone"},
		{"https://[2606:4700::1%25eth0]/", "zone", "zone"},

		{"https://2130706433/", "four decimal numbers", "four decimal numbers"},
		{"https://0x7f000001/", "four decimal numbers", "four decimal numbers"},
		{"https://0x7f.1/", "four decimal numbers", "four decimal numbers"},
		{"https://127.1/", "four decimal numbers", "four decimal numbers"},
		{"https://127.0.1/", "four decimal numbers", "four decimal numbers"},
		{"https://0177.0.0.1/", "four decimal numbers", "four decimal numbers"},
		{"https://127.0.0.0x1/", "four decimal numbers", "four decimal numbers"},
		{"https://127.0.0.0X1./", "four decimal numbers", "four decimal numbers"},
		{"https://017700000001/", "four decimal numbers", "four decimal numbers"},
		{"https://example.123/", "four decimal numbers", "four decimal numbers"},
		{"https://1.2.3.4.5/", "four decimal numbers", "four decimal numbers"},
		{"https://256.1.1.1/", "four decimal numbers", "four decimal numbers"},
		{"https://0x/", "four decimal numbers", "four decimal numbers"},
		{"https://１２７.０.０.１/", "loopback", ok}, // full-width digits
		{"https://127。0。0。1/", "loopback", ok}, // ideographic full stops
		{"https://①②⑦.0.0.1/", "loopback", ok},

		{"https://hooks.example.com../", "not a host name", "not a host name"},
		{"https://.example.com/", "not a host name", "not a host name"},
		{"https://a..b/", "not a host name", "not a host name"},
		{"https://./", "not a host name", "not a host name"},
		{"https://" + strings.Repeat("a", 64) + ".example/", "not a host name", "not a host name"},
		{"https://" + strings.Repeat("a.", 127) + "example/", "not a host name", "not a host name"},
		{"https://exa mple.com/", "cannot be read", "cannot be read"},
		{"https://exa$mple.com/", "not a host name", "not a host name"},
		{"https://[::1/", "cannot be read", "cannot be read"},
		{"https://[v1.x]/", "cannot be read", "cannot be read"},
		{"https://hooks.example.com:0/", "port", "port"},
		{"https://hooks.example.com:65536/", "port", "port"},
		{"https://hooks.example.com:x/", "cannot be read", "cannot be read"},
		{"https://user:secret@hooks.example.com/", "user name or password", "user name or password"},
		{"https://hooks.example.com/#x", "fragment", "fragment"},
		{"https:hooks.example.com", "names no host", "names no host"},
		{"https:///in", "names no host", "names no host"},
		{"https://:443/in", "names no host", "names no host"},
		{"ftp://hooks.example.com/", `scheme "ftp"`, `scheme "ftp"`},
		{"file:///etc/passwd", `scheme "file"`, `scheme "file"`},
		{"hooks.example.com", `scheme ""`, `scheme ""`},
		{"", `scheme ""`, `scheme ""`},
		{"https://hooks.example.com/" + strings.Repeat("x", cybervault.MaxURLBytes), "more than 2048", "more than 2048"},
	} {
		for _, dev := range []bool{false, true} {
			want := test.strict
			if dev {
				want = test.dev
			}
			c := New(Config{Dev: dev, Resolver: resolver, AllowDestinations: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")}})
			err := c.CheckURL(t.Context(), test.url)
			switch {
			case err == nil && want != ok:
				t.Errorf("dev %v: %q accepted, want %q", dev, test.url, want)
			case err != nil && want == ok:
				t.Errorf("dev %v: %q: %v, want accepted", dev, test.url, err)
			case err != nil:
				e, is := errors.AsType[*cybervault.Error](err)
				if !is || e.Code != cybervault.CodeInvalid || e.Field != "url" {
					t.Errorf("%q: error %#v, want an invalid url", test.url, err)
				}
				if !strings.Contains(err.Error(), want) {
					t.Errorf("dev %v: %q: %q does not say %q", dev, test.url, err, want)
				}
			}
		}
	}
}

func TestCheckURLStopsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := New(Config{Resolver: &names{}})
	if err := c.CheckURL(ctx, "https://hooks.example.com/"); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want context.Canceled", err)
	}
}

func FuzzCheckURLNeverOpensPrivateLiterals(f *testing.F) {
	for _, seed := range []string{"https://127.1/", "https://0x7f.1", "https://[::ffff:10.0.0.1]", "https://10.0.0.1.", "http://１２７.0.0.1/"} {
		f.Add(seed)
	}
	c := New(Config{Resolver: &names{}})
	f.Fuzz(func(t *testing.T, raw string) {
		if c.CheckURL(t.Context(), raw) != nil {
			return
		}
		u, err := parseURL(raw)
		if err != nil {
			t.Fatalf("accepted, then not parsed: %v", err)
		}
		if u.Scheme != "https" {
			t.Fatalf("accepted scheme %q", u.Scheme)
		}
		if addr, err := netip.ParseAddr(strings.TrimSuffix(u.Hostname(), ".")); err == nil && newPolicy(nil, false).check(addr, "https") != nil {
			t.Fatalf("accepted %s", addr)
		}
		again, err := parseURL(u.String())
		if err != nil || again.Host != u.Host {
			t.Fatalf("%q is not stable: %v", u, err)
		}
	})
}
