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
// It never follows a redirect, never uses a proxy that the webhook does not name, never
// sends a cookie, never asks for compression, never retries a request that may
// have been processed, never decides which status is success (deliver does),
// and never logs.
package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
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
	// MaxIdleConnsPerHost and MaxIdleConns bound the pool of idle connections.
	MaxIdleConnsPerHost = 128
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
	shared   *http.Transport // trusts Config.RootCAs
	rootCAs  *x509.CertPool  // Config.RootCAs
	own      *transportCache // by the CAs, client certificates and proxies that webhooks brought
	bodies   bodyPool
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
		own:      newTransportCache(maxOwnTransports),
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
	c.shared = c.newTransport(c.tlsConfig(config.RootCAs, nil), nil, MaxIdleConns, MaxIdleConnsPerHost)
	return c
}

// Close closes idle connections. Exchanges under way go on; calling it twice is
// harmless.
func (c *Client) Close() {
	c.shared.CloseIdleConnections()
	c.own.close()
}

// tlsConfig trusts roots, the system's if nil, and shows the client certificate,
// if one is given.
func (c *Client) tlsConfig(roots *x509.CertPool, certificates []tls.Certificate) *tls.Config {
	return &tls.Config{
		RootCAs:            roots,
		MinVersion:         tls.VersionTLS12,
		NextProtos:         []string{"h2", "http/1.1"},
		ClientSessionCache: tls.NewLRUClientSessionCache(256),
		Time:               c.now,
		Certificates:       certificates,
	}
}

// newTransport makes a transport whose connections go through via, if that is
// not nil.
func (c *Client) newTransport(config *tls.Config, via *proxy, maxIdle, maxIdlePerHost int) *http.Transport {
	return &http.Transport{
		Proxy: nil, // never the environment's: the address check must see the receiver
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			conn, err := c.dial(ctx, addr, "http", via)
			if err != nil {
				return nil, err
			}
			return conn, nil
		},
		DialTLSContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			return c.dialTLS(ctx, addr, config, via)
		},
		TLSClientConfig:        config, // for HTTP/2's set-up; handshakes are dialTLS's
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    maxIdlePerHost,
		IdleConnTimeout:        IdleConnTimeout,
		MaxResponseHeaderBytes: MaxAnswerHeaderBytes,
		HTTP2: &http.HTTP2Config{
			// A receiver that pushes data we do not read yet may fill these
			// and no more.
			MaxReceiveBufferPerStream:     64 << 10,
			MaxReceiveBufferPerConnection: 1 << 20,
			// All deliveries to a host share a connection; one that has died
			// silently must not swallow them for minutes.
			SendPingTimeout:  10 * time.Second,
			PingTimeout:      5 * time.Second,
			WriteByteTimeout: 5 * time.Second,
		},
	}
}
