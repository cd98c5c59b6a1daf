package outbound

import (
	"container/list"
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// maxOwnIdentities bounds how many identities have connections pooled at
	// once; the one unused for longest gives way.
	maxOwnIdentities = 256
	// maxOwnIdleConns bounds the idle connections of each.
	maxOwnIdleConns = 1024
	// maxHTTP2Hosts bounds how many hosts are remembered to speak HTTP/2 (twice
	// as many at most), and http2Memory for how long.
	maxHTTP2Hosts = 4096
	http2Memory   = time.Hour
)

// tlsIdentity is whom a connection trusts and whom it shows itself as, each in
// the PEM a webhook brought, and the proxy it goes through. Connections are shared
// only where all are equal: what was proven to one webhook's receiver, or to its
// proxy, must not carry another's events.
type tlsIdentity struct {
	ca                string // empty: Config.RootCAs
	clientCertificate string // empty: none
	proxy             string // with its credentials; empty: none
}

// identity is what exchanges of one tlsIdentity share. HTTP/1.1 goes over links
// of our own. We dial every connection and offer HTTP/2 on each; one whose
// receiver chose it is handed to net/http's transport, and so are the
// exchanges with that host from then on.
type identity struct {
	*http.Transport
	config *tls.Config
	via    *proxy // nil for none
	idle   *idlePool
	http2  recent[string, time.Time] // by origin: since when it is known to speak HTTP/2
}

// newIdentity makes an identity whose connections go through via, if that is
// not nil.
func (c *Client) newIdentity(config *tls.Config, via *proxy, maxIdle, maxIdlePerHost int) *identity {
	return &identity{
		Transport: c.newTransport(config, via, maxIdle, maxIdlePerHost),
		config:    config,
		via:       via,
		idle:      newIdlePool(c.now, maxIdle, maxIdlePerHost),
		http2:     recent[string, time.Time]{limit: maxHTTP2Hosts},
	}
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

// newTransport makes the transport for HTTP/2.
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
			if conn, found, err := handed(ctx); found || err != nil {
				return conn, err
			}
			conn, err := c.dialTLS(ctx, addr, config, via)
			if err != nil {
				return nil, err
			}
			return conn.session, nil
		},
		TLSClientConfig:        config.Clone(), // for HTTP/2's set-up, which changes it; handshakes are dialTLS's
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

// speaksHTTP2 reports whether exchanges with t go over the transport.
func (id *identity) speaksHTTP2(t *target, now time.Time) bool {
	if !t.https() {
		return false
	}
	since, ok := id.http2.get(t.origin)
	return ok && now.Sub(since) < http2Memory
}

// close drops idle connections. Exchanges under way go on.
func (id *identity) close() {
	id.CloseIdleConnections()
	id.idle.close()
}

// newOwnIdentity makes the identity of a webhook.
func (c *Client) newOwnIdentity(id tlsIdentity) (*identity, error) {
	roots := c.rootCAs
	if id.ca != "" {
		own, err := parseCAs(id.ca)
		if err != nil {
			return nil, err
		}
		roots = own
	}
	var certificates []tls.Certificate
	if id.clientCertificate != "" {
		certificate, err := parseClientCertificate(id.clientCertificate)
		if err != nil {
			return nil, err
		}
		certificates = []tls.Certificate{*certificate}
	}
	config := c.tlsConfig(roots, certificates)
	var via *proxy
	if id.proxy != "" {
		var err error
		if via, err = c.newProxy(id.proxy, config); err != nil {
			return nil, err
		}
	}
	return c.newIdentity(config, via, maxOwnIdleConns, maxOwnIdleConns), nil
}

// identityCache keeps the identities of webhooks, so that their connections are
// pooled too. One that gives way finishes what is under way; its idle
// connections close at once or after IdleConnTimeout.
type identityCache struct {
	mu    sync.Mutex
	limit int
	order *list.List // of *ownIdentity, last used first
	byID  map[tlsIdentity]*list.Element
}

type ownIdentity struct {
	id       tlsIdentity
	identity *identity
}

func newIdentityCache(limit int) *identityCache {
	return &identityCache{limit: limit, order: list.New(), byID: make(map[tlsIdentity]*list.Element)}
}

func (c *identityCache) get(id tlsIdentity, create func(tlsIdentity) (*identity, error)) (*identity, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.byID[id]; ok {
		c.order.MoveToFront(e)
		return e.Value.(*ownIdentity).identity, nil
	}
	made, err := create(id)
	if err != nil {
		return nil, err
	}
	c.byID[id] = c.order.PushFront(&ownIdentity{id, made})
	for c.order.Len() > c.limit {
		last := c.order.Back()
		old := c.order.Remove(last).(*ownIdentity)
		delete(c.byID, old.id)
		old.identity.close()
	}
	return made, nil
}

func (c *identityCache) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for e := c.order.Front(); e != nil; e = e.Next() {
		e.Value.(*ownIdentity).identity.close()
	}
}
