package outbound

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
)

// client is a client certificate and its key, each as PEM.
type client struct{ certificate, key string }

func (c client) pem() string { return c.certificate + c.key }

func (a *authority) issueClient(t *testing.T, name string, notAfter time.Time) client {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), DNSNames: []string{name},
		NotBefore: notAfter.Add(-48 * time.Hour), NotAfter: notAfter, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return client{block("CERTIFICATE", der), keyPEM(t, key)}
}

func keyPEM(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return block("PRIVATE KEY", der)
}

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// mutual is a receiver that demands a client certificate of an authority. It
// counts connections and answers with the name it was shown.
type mutual struct {
	*httptest.Server
	connections atomic.Int32
}

func newMutual(t *testing.T, a *authority, version uint16, http2 bool) *mutual {
	t.Helper()
	m := &mutual{}
	m.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s", r.Proto, strings.Join(r.TLS.PeerCertificates[0].DNSNames, ","))
	}))
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	m.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, MaxVersion: version}
	m.EnableHTTP2 = http2
	m.Config.ErrorLog = quiet()
	m.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			m.connections.Add(1)
		}
	}
	m.StartTLS()
	t.Cleanup(m.Close)
	return m
}

func TestDoShowsTheClientCertificate(t *testing.T) {
	t.Parallel()
	ours, theirs := newAuthority(t), newAuthority(t)
	soon := time.Now().Add(time.Hour)
	a, b := ours.issueClient(t, "a.example", soon), ours.issueClient(t, "b.example", soon)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, http2 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, HTTP/2 %t", tls.VersionName(version), http2), func(t *testing.T) {
				t.Parallel()
				m := newMutual(t, ours, version, http2)
				c := newClient(t, Config{Dev: true})
				to := func(certificate string) cybervault.Exchange {
					return do(t, c, Request{URL: m.URL, CACertificate: caOf(m.Server), ClientCertificate: certificate})
				}
				protocol := map[bool]string{false: "HTTP/1.1", true: "HTTP/2.0"}[http2]
				for range 3 {
					if x := to(a.pem()); x.Status != 200 || string(x.Body) != protocol+" a.example" {
						t.Fatalf("exchange = %+v, body %q", x, x.Body)
					}
				}
				if n := m.connections.Load(); n != 1 {
					t.Errorf("%d connections for three requests, want 1", n)
				}
				// Another identity has connections of its own.
				if x := to(b.key + b.certificate); string(x.Body) != protocol+" b.example" {
					t.Errorf("exchange = %+v, body %q", x, x.Body)
				}
				if n := m.connections.Load(); n != 2 {
					t.Errorf("%d connections for two identities, want 2", n)
				}
				for name, test := range map[string]struct{ certificate, says string }{
					"none":                 {"", "client certificate"},
					"of another authority": {theirs.issueClient(t, "a.example", soon).pem(), "client certificate"},
					"expired":              {ours.issueClient(t, "a.example", time.Now().Add(-time.Hour)).pem(), "client certificate"},
					"rubbish":              {"rubbish", "client_certificate: holds neither"},
				} {
					if x := to(test.certificate); x.Failure != cybervault.FailureTLS || !strings.Contains(x.Error, test.says) || x.Status != 0 {
						t.Errorf("%s: failure %q, %q; want tls, %q", name, x.Failure, x.Error, test.says)
					}
				}
			})
		}
	}
}

// A receiver that asks, but does not insist, is shown the certificate too; one
// that does not ask never sees it.
func TestDoWithAClientCertificateNobodyAsksFor(t *testing.T) {
	t.Parallel()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, len(r.TLS.PeerCertificates))
	}))
	defer s.Close()
	certificate := newAuthority(t).issueClient(t, "a.example", time.Now().Add(time.Hour)).pem()
	x := do(t, newClient(t, Config{Dev: true}), Request{URL: s.URL, CACertificate: caOf(s), ClientCertificate: certificate})
	if x.Status != 200 || string(x.Body) != "0" {
		t.Errorf("exchange = %+v, body %q", x, x.Body)
	}
}

func TestCheckClientCertificate(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	good, other := ca.issueClient(t, "a.example", time.Now().Add(time.Hour)), ca.issueClient(t, "b.example", time.Now().Add(time.Hour))
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(8)}, ca.certificate, rsaKey.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs1 := block("CERTIFICATE", der) + block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey))
	for name, test := range map[string]struct{ text, says string }{
		"certificate and key":    {good.pem(), ""},
		"key first":              {good.key + good.certificate, ""},
		"with its authority":     {good.certificate + ca.pem + good.key, ""},
		"PKCS #1":                {pkcs1, ""},
		"openssl's parameters":   {"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n" + good.key + good.certificate, ""},
		"words around":           {"# key and certificate\n" + good.pem(), ""},
		"nothing":                {"", "holds neither a certificate nor a key"},
		"no PEM":                 {"hello", "holds neither a certificate nor a key"},
		"no key":                 {good.certificate, "holds no private key"},
		"no certificate":         {good.key, "holds no certificate"},
		"two keys":               {good.pem() + other.key, "more than one private key"},
		"another's key":          {good.certificate + other.key, "does not belong to its certificate"},
		"authority first":        {ca.pem + good.pem(), "belongs to certificate 2"},
		"encrypted, PKCS #8":     {good.certificate + strings.ReplaceAll(good.key, "PRIVATE KEY", "ENCRYPTED PRIVATE KEY"), "is encrypted"},
		"encrypted, traditional": {good.certificate + "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\naGVsbG8=\n-----END RSA PRIVATE KEY-----\n", "is encrypted"},
		"a key of rubbish":       {good.certificate + "-----BEGIN PRIVATE KEY-----\naGVsbG8=\n-----END PRIVATE KEY-----\n", "cannot be read"},
		"a broken certificate":   {"-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n" + good.key, "certificate 1 is not an X.509 certificate"},
		"a request":              {strings.ReplaceAll(good.certificate, "CERTIFICATE", "CERTIFICATE REQUEST") + good.key, `"CERTIFICATE REQUEST"`},
		"cut off":                {good.pem() + ca.pem[:len(ca.pem)/2], "cut off"},
		"too many":               {strings.Repeat(good.certificate, MaxClientCertificates+1) + good.key, "more than 10"},
		"too long":               {strings.Repeat("x", MaxClientCertificateBytes+1), "more than 65536"},
	} {
		err := CheckClientCertificate(test.text)
		if test.says == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if cybervault.ErrorCode(err) != cybervault.CodeInvalid || !strings.Contains(err.Error(), test.says) || !strings.HasPrefix(err.Error(), "client_certificate: ") {
			t.Errorf("%s: %v, want %q", name, err, test.says)
		}
	}
}

func TestIdentityCacheIsBounded(t *testing.T) {
	t.Parallel()
	made := 0
	client := newClient(t, Config{})
	create := func(id tlsIdentity) (*identity, error) {
		made++
		return client.newIdentity(client.tlsConfig(nil, nil), nil, 1, 1), nil
	}
	cache := newIdentityCache(2)
	a, b, c := tlsIdentity{ca: "x"}, tlsIdentity{clientCertificate: "x"}, tlsIdentity{ca: "x", clientCertificate: "x"}
	first, _ := cache.get(a, create)
	_, _ = cache.get(b, create)
	if again, _ := cache.get(a, create); again != first {
		t.Error("a was made twice")
	}
	_, _ = cache.get(c, create) // b gives way
	if again, _ := cache.get(a, create); again != first || cache.order.Len() != 2 || len(cache.byID) != 2 {
		t.Error("the one last used gave way")
	}
	if _, _ = cache.get(b, create); made != 4 {
		t.Errorf("%d made, want 4", made)
	}
	cache.close()
	cache.close()
}
