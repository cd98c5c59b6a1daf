package outbound

import (
	"context"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/idna"

	"github.com/cybervault/cybervault"
)

// parseURL reads a receiver's URL and brings its host into the form that is
// looked up, dialled and put into the Host header: ASCII, and nothing that one
// resolver reads as a name and another as a number.
func parseURL(raw string) (*url.URL, error) {
	if len(raw) > cybervault.MaxURLBytes {
		return nil, cybervault.Invalid("url", "is %d bytes long, more than %d", len(raw), cybervault.MaxURLBytes)
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, cybervault.Invalid("url", "cannot be read as a URL: use the form https://host/path")
	}
	if err := normalise(u); err != nil {
		return nil, err
	}
	return u, nil
}

// normalise checks u and rewrites its host.
func normalise(u *url.URL) error {
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return cybervault.Invalid("url", "has the scheme %q: only https:// is accepted", printable(u.Scheme, 20))
	case u.Opaque != "" || u.Host == "":
		return cybervault.Invalid("url", "names no host: use the form https://host/path")
	case u.User != nil:
		return cybervault.Invalid("url", "holds a user name or password: put credentials into a header instead")
	case u.Fragment != "":
		return cybervault.Invalid("url", "has a fragment (#…), which is never sent: remove it")
	}
	host, err := normaliseHost(u.Hostname())
	if err != nil {
		return err
	}
	port := u.Port()
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return cybervault.Invalid("url", "has the port %s: use one from 1 to 65535", printable(port, 20))
		}
		port = ":" + strconv.FormatUint(n, 10)
	}
	if strings.IndexByte(host, ':') >= 0 {
		host = "[" + host + "]"
	}
	if len(host)+len(port) != len(u.Host) || u.Host[:len(host)] != host {
		u.Host = host + port
	}
	return nil
}

// normaliseHost returns an address literal in its usual form, or a host name
// in ASCII.
func normaliseHost(host string) (string, error) {
	if host == "" {
		return "", cybervault.Invalid("url", "names no host: use the form https://host/path")
	}
	if strings.IndexByte(host, ':') >= 0 {
		addr, err := netip.ParseAddr(host)
		if err != nil {
			return "", cybervault.Invalid("url", "%q is not an IPv6 address", printable(host, 60))
		}
		if addr.Zone() != "" {
			r := refusal{addr: addr.WithZone("")}
			return "", cybervault.Invalid("url", "%s: %s", r.reason(), r.remedy())
		}
		return addr.String(), nil
	}
	if !ascii(host) {
		name, err := idna.Lookup.ToASCII(host)
		if err != nil || name == "" {
			return "", cybervault.Invalid("url", "%q is not a host name", printable(host, 60))
		}
		host = name // full-width digits have become plain ones: all checks follow
	}
	name := strings.TrimSuffix(host, ".")
	last := name[strings.LastIndexByte(name, '.')+1:]
	if isNumber(last) {
		// 2130706433, 0x7f.1, 127.1, 0177.0.0.1: the C library reads them as
		// addresses (inet_aton), others as names. Only one form is taken.
		addr, err := netip.ParseAddr(name)
		if err != nil {
			return "", cybervault.Invalid("url", "%q looks like an IP address in a short or numeric form: write it as four decimal numbers, such as 198.51.100.7, or use a name", printable(host, 60))
		}
		return addr.String(), nil
	}
	if !validName(name) {
		return "", cybervault.Invalid("url", "%q is not a host name: labels of 1 to 63 letters, digits and dashes joined by dots, 253 in all", printable(host, 60))
	}
	return host, nil
}

// isNumber reports whether a label makes the whole host a number (WHATWG URL,
// "ends in a number checker").
func isNumber(label string) bool {
	if label == "" {
		return false
	}
	if len(label) >= 2 && label[0] == '0' && (label[1] == 'x' || label[1] == 'X') {
		for _, c := range []byte(label[2:]) {
			if !(c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f') {
				return false
			}
		}
		return true
	}
	for _, c := range []byte(label) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

func validName(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	label := 0
	for _, c := range []byte(name) {
		switch {
		case c == '.':
			if label == 0 {
				return false
			}
			label = 0
			continue
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_':
			label++
		default:
			return false
		}
		if label > 63 {
			return false
		}
	}
	return label > 0
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// CheckURL reports why a URL may not be given to a webhook: its form, its
// scheme (https only; http only with Config.Dev, and to loopback), or where it
// leads. All addresses of a name must be allowed. A name that cannot be looked
// up right now is accepted: the address is checked again at every dial.
//
// The error is a *cybervault.Error of CodeInvalid about the field "url", or
// ctx's own error when ctx ended.
func (c *Client) CheckURL(ctx context.Context, rawURL string) error {
	u, err := parseURL(rawURL)
	if err != nil {
		return err
	}
	if u.Scheme == "http" && !c.policy.dev {
		return cybervault.Invalid("url", "has the scheme \"http\": only https:// is accepted (--dev opens http:// to loopback)")
	}
	host := u.Hostname()
	if addr, err := netip.ParseAddr(host); err == nil {
		if r := c.policy.check(addr, u.Scheme); r != nil {
			return cybervault.Invalid("url", "%s: %s", r.reason(), r.remedy())
		}
		return nil
	}
	lookup, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	addrs, err := c.resolver.LookupNetIP(lookup, "ip", host)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return nil // nothing known against it; dialling decides
	}
	for _, addr := range addrs {
		if r := c.policy.check(addr, u.Scheme); r != nil {
			return cybervault.Invalid("url", "%q leads to a refused address: %s: %s", host, r.reason(), r.remedy())
		}
	}
	return nil
}

// printable cuts s to at most limit bytes and replaces what does not belong
// into a log line or a page.
func printable(s string, limit int) string {
	cut := len(s) > limit
	if cut {
		s = s[:limit]
	}
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == '\u2028' || r == '\u2029' {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if cut {
		s += "…"
	}
	return s
}
