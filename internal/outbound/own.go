package outbound

import (
	"container/list"
	"crypto/tls"
	"net/http"
	"sync"
)

const (
	// maxOwnTransports bounds how many identities have connections pooled at
	// once; the one unused for longest gives way.
	maxOwnTransports = 256
	// maxOwnIdleConns bounds the idle connections of each.
	maxOwnIdleConns = 128
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

// newOwnTransport makes the transport of an identity.
func (c *Client) newOwnTransport(id tlsIdentity) (*http.Transport, error) {
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
	return c.newTransport(config, via, maxOwnIdleConns, maxOwnIdleConns), nil
}

// transportCache keeps one transport for each identity, so that their
// connections are pooled too. One that gives way finishes what is under way;
// its idle connections close at once or after IdleConnTimeout.
type transportCache struct {
	mu    sync.Mutex
	limit int
	order *list.List // of *ownTransport, last used first
	byID  map[tlsIdentity]*list.Element
}

type ownTransport struct {
	id        tlsIdentity
	transport *http.Transport
}

func newTransportCache(limit int) *transportCache {
	return &transportCache{limit: limit, order: list.New(), byID: make(map[tlsIdentity]*list.Element)}
}

func (t *transportCache) get(id tlsIdentity, create func(tlsIdentity) (*http.Transport, error)) (*http.Transport, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e, ok := t.byID[id]; ok {
		t.order.MoveToFront(e)
		return e.Value.(*ownTransport).transport, nil
	}
	transport, err := create(id)
	if err != nil {
		return nil, err
	}
	t.byID[id] = t.order.PushFront(&ownTransport{id, transport})
	for t.order.Len() > t.limit {
		last := t.order.Back()
		old := t.order.Remove(last).(*ownTransport)
		delete(t.byID, old.id)
		old.transport.CloseIdleConnections()
	}
	return transport, nil
}

func (t *transportCache) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for e := t.order.Front(); e != nil; e = e.Next() {
		e.Value.(*ownTransport).transport.CloseIdleConnections()
	}
}
