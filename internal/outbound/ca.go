package outbound

import (
	"container/list"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"strings"
	"sync"

	"github.com/cybervault/cybervault"
)

// Limits on a webhook's own CAs.
const (
	MaxCACertificateBytes = 64 << 10
	MaxCACertificates     = 50
)

const (
	// maxOwnTransports bounds how many sets of CAs have connections pooled at
	// once; the one unused for longest gives way.
	maxOwnTransports = 256
	// maxOwnIdleConns bounds the idle connections of each.
	maxOwnIdleConns = 128
)

// CheckCACertificate reports why text may not be a webhook's ca_certificate: it
// must be PEM and hold certificates, one at least, and nothing else. The error
// is a *cybervault.Error of CodeInvalid about the field "ca_certificate".
func CheckCACertificate(text string) error {
	_, err := parseCAs(text)
	return err
}

func parseCAs(text string) (*x509.CertPool, error) {
	const field = "ca_certificate"
	if len(text) > MaxCACertificateBytes {
		return nil, cybervault.Invalid(field, "is %d bytes long, more than %d", len(text), MaxCACertificateBytes)
	}
	pool := x509.NewCertPool()
	count := 0
	rest := []byte(text)
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if strings.Contains(block.Type, "PRIVATE KEY") {
			return nil, cybervault.Invalid(field, "holds a private key: give certificates only, and treat that key as disclosed")
		}
		if block.Type != "CERTIFICATE" {
			return nil, cybervault.Invalid(field, "holds a PEM block %q: give blocks of type CERTIFICATE only", printable(block.Type, 40))
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, cybervault.Invalid(field, "block %d is not an X.509 certificate: %s", count+1, printable(err.Error(), maxErrorText))
		}
		if count++; count > MaxCACertificates {
			return nil, cybervault.Invalid(field, "holds more than %d certificates", MaxCACertificates)
		}
		pool.AddCert(certificate)
	}
	if count == 0 {
		return nil, cybervault.Invalid(field, "holds no certificate: give PEM, beginning with -----BEGIN CERTIFICATE-----")
	}
	if strings.TrimSpace(string(rest)) != "" {
		return nil, cybervault.Invalid(field, "has something after its last certificate that is not PEM: is it cut off?")
	}
	return pool, nil
}

// newOwnTransport makes the transport for a webhook's own CAs.
func (c *Client) newOwnTransport(text string) (*http.Transport, error) {
	pool, err := parseCAs(text)
	if err != nil {
		return nil, err
	}
	return c.newTransport(pool, maxOwnIdleConns, maxOwnIdleConns), nil
}

// transportCache keeps one transport for each set of CAs, so that their
// connections are pooled too. One that gives way finishes what is under way;
// its idle connections close at once or after IdleConnTimeout.
type transportCache struct {
	mu    sync.Mutex
	limit int
	order *list.List // of *ownTransport, last used first
	byCA  map[string]*list.Element
}

type ownTransport struct {
	ca        string
	transport *http.Transport
}

func newTransportCache(limit int) *transportCache {
	return &transportCache{limit: limit, order: list.New(), byCA: make(map[string]*list.Element)}
}

func (t *transportCache) get(ca string, make func(string) (*http.Transport, error)) (*http.Transport, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e, ok := t.byCA[ca]; ok {
		t.order.MoveToFront(e)
		return e.Value.(*ownTransport).transport, nil
	}
	transport, err := make(ca)
	if err != nil {
		return nil, err
	}
	t.byCA[ca] = t.order.PushFront(&ownTransport{ca, transport})
	for t.order.Len() > t.limit {
		last := t.order.Back()
		old := t.order.Remove(last).(*ownTransport)
		delete(t.byCA, old.ca)
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
