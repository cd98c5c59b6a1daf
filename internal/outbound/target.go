package outbound

import (
	"net"
	"net/url"
	"strings"

	"github.com/cybervault/cybervault"
)

// maxTargets bounds how many URLs are kept read; twice as many at most.
const maxTargets = 4096

// target is a receiver's URL, read once for all exchanges. It is immutable.
type target struct {
	url     *url.URL
	address string // host and port to dial
	origin  string // scheme, host and port: connections are shared within one
	line    string // the request line and the Host header, ready to be sent
}

func (t *target) https() bool { return t.url.Scheme == "https" }

// target reads a URL that was accepted when its webhook was saved, and may be
// one of another time or setting.
func (c *Client) target(raw string) (*target, error) {
	if t, ok := c.targets.get(raw); ok {
		return t, nil
	}
	u, err := parseURL(raw)
	if err != nil {
		return nil, err
	}
	if u.Scheme == "http" && !c.policy.dev {
		return nil, cybervault.Invalid("url", "has the scheme \"http\": only https:// is accepted (--dev opens http:// to loopback)")
	}
	port := u.Port()
	if port == "" {
		port = map[bool]string{false: "80", true: "443"}[u.Scheme == "https"]
	}
	t := &target{url: u, address: net.JoinHostPort(u.Hostname(), port)}
	t.origin = u.Scheme + "://" + t.address
	// A space would end the request line early; the query may hold one.
	t.line = "POST " + strings.ReplaceAll(u.RequestURI(), " ", "%20") + " HTTP/1.1\r\nHost: " + u.Host + "\r\n"
	c.targets.put(raw, t)
	return t, nil
}
