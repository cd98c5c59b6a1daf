// Package outbound is the only client for URLs that users give.
//
// It stands at the end of the flow
//
//	router -> store -> deliver -> outbound -> the receiver
//
// and owns what happens on the wire in one attempt: which addresses may be
// dialled, TLS and whom it trusts, connection reuse, every limit on time and
// size, and what is kept of the answer. A receiver is taken to be hostile: it
// may answer slowly, endlessly, with garbage, or lead to the server's own
// network.
//
// HTTP/1.1 it speaks itself: identity.go says which connections are shared,
// pool.go and link.go keep them, exchange.go makes an exchange, head.go and
// input.go read the answer. A receiver that chooses HTTP/2 is handed to net/http.
//
// It never follows a redirect, never uses a proxy that the webhook does not name, never
// sends a cookie, never asks for compression, never retries a request that may
// have been processed, never decides which status is success (deliver does),
// and never logs.
package outbound

import (
	"context"
	"crypto/x509"
	"net"
	"net/netip"
	"time"

	"github.com/cybervault/cybervault"
)

// Limits on one exchange, besides those of the root package.
const (
	// BodyGrace is how long an answer's body is read after its headers are
	// complete. What has not come by then is not kept.
	BodyGrace = time.Second
	// MaxAnswerHeaderBytes bounds the headers that are read, 1xx answers
	// included; a longer answer is a protocol failure.
	MaxAnswerHeaderBytes = 64 << 10
	// MaxKeptAnswerHeaderBytes and MaxKeptAnswerHeaders bound what is kept of them.
	MaxKeptAnswerHeaderBytes = 16 << 10
	MaxKeptAnswerHeaders     = 100
	// MaxReadBodyBytes bounds what is read of a body. More than is kept, so
	// that the connection of a talkative receiver can be used again.
	MaxReadBodyBytes = 64 << 10
	// MaxIdleConnsPerHost and MaxIdleConns bound the pool of idle connections. A
	// host may have a hundred webhooks behind it, each with its own attempts at
	// once: a smaller bound has them close and dial all the time.
	MaxIdleConnsPerHost = 2048
	MaxIdleConns        = 4096
	// IdleConnTimeout is how long an unused connection is kept.
	IdleConnTimeout = 90 * time.Second
)

// Resolver looks names up. *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Config says what a Client may do. The zero value is the strictest.
type Config struct {
	// AllowDestinations opens exactly these ranges, which would be refused
	// otherwise. An IPv4 range opens its IPv4-mapped IPv6 form with it.
	AllowDestinations []netip.Prefix
	// Dev opens loopback, for https and http.
	Dev bool
	// Resolver is net.DefaultResolver if nil.
	Resolver Resolver
	// Now is time.Now if nil.
	Now func() time.Time
	// RootCAs are trusted where a webhook brings no CA of its own; the
	// system's if nil.
	RootCAs *x509.CertPool
	// Timeout bounds an exchange from its start to complete headers, name
	// look-up and TLS included; cybervault.AttemptTimeout if zero.
	Timeout time.Duration
	// BodyGrace is the constant BodyGrace if zero.
	BodyGrace time.Duration
}

// Client makes requests to receivers. It is safe for concurrent use, and one
// is enough for a process: connections are pooled over all webhooks.
type Client struct {
	policy   *policy
	resolver Resolver
	now      func() time.Time
	timeout  time.Duration
	grace    time.Duration
	dialers  struct{ https, http net.Dialer }
	shared   *identity      // trusts Config.RootCAs
	rootCAs  *x509.CertPool // Config.RootCAs
	own      *identityCache // by the CAs, client certificates and proxies that webhooks brought
	targets  recent[string, *target]
	bodies   bodyPool
	wires    wirePool
}

// New makes a Client. Close it to drop its idle connections.
func New(config Config) *Client {
	c := &Client{
		policy:   newPolicy(config.AllowDestinations, config.Dev),
		resolver: config.Resolver,
		now:      config.Now,
		timeout:  config.Timeout,
		grace:    config.BodyGrace,
		rootCAs:  config.RootCAs,
		own:      newIdentityCache(maxOwnIdentities),
		targets:  recent[string, *target]{limit: maxTargets},
	}
	if c.resolver == nil {
		c.resolver = net.DefaultResolver
	}
	if c.now == nil {
		c.now = time.Now
	}
	if c.timeout <= 0 {
		c.timeout = cybervault.AttemptTimeout
	}
	if c.grace <= 0 {
		c.grace = BodyGrace
	}
	c.dialers.https.ControlContext = c.control("https")
	c.dialers.http.ControlContext = c.control("http")
	c.shared = c.newIdentity(c.tlsConfig(config.RootCAs, nil), nil, MaxIdleConns, MaxIdleConnsPerHost)
	return c
}

// Close closes idle connections. Exchanges under way go on; calling it twice is
// harmless.
func (c *Client) Close() {
	c.shared.close()
	c.own.close()
}
