package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/cybervault/cybervault/test/testenv"
)

// authority signs the certificates of receivers.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, key: newKey(t)}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test Authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pem = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// leaf is a certificate for loopback, or for what change makes of it.
func (a *authority) leaf(change func(*x509.Certificate)) tls.Certificate {
	a.t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "receiver"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	change(template)
	key := newKey(a.t)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// secureReceiver is rawReceiver over TLS. It returns a URL.
func secureReceiver(t *testing.T, config *tls.Config, answer func(*tls.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveRaw(t, l, func(c net.Conn) {
		session := tls.Server(c, config)
		if session.HandshakeContext(t.Context()) == nil {
			answer(session)
		}
	})
	return "https://" + l.Addr().String() + "/"
}

// goAway takes one HTTP/2 request and then ends the connection with a GOAWAY
// that says the request was seen.
func goAway(c *tls.Conn) {
	defer c.Close()
	if _, err := io.CopyN(io.Discard, c, int64(len(http2.ClientPreface))); err != nil {
		return
	}
	framer := http2.NewFramer(c, c)
	if framer.WriteSettings() != nil {
		return
	}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return
		}
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() && framer.WriteSettingsAck() != nil {
				return
			}
		case *http2.DataFrame:
			if f.StreamEnded() {
				_ = framer.WriteGoAway(f.StreamID, http2.ErrCodeEnhanceYourCalm, nil)
				return
			}
		}
	}
}

// goAwayInBody answers with headers, and ends the connection in the middle of the body.
func goAwayInBody(c *tls.Conn) {
	defer c.Close()
	if _, err := io.CopyN(io.Discard, c, int64(len(http2.ClientPreface))); err != nil {
		return
	}
	framer := http2.NewFramer(c, c)
	if framer.WriteSettings() != nil {
		return
	}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return
		}
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() && framer.WriteSettingsAck() != nil {
				return
			}
		case *http2.DataFrame:
			if f.StreamEnded() {
				// 0x88 is ":status 200" of HPACK's static table.
				_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: f.StreamID, BlockFragment: []byte{0x88}, EndHeaders: true})
				_ = framer.WriteData(f.StreamID, false, []byte("part"))
				_ = framer.WriteGoAway(f.StreamID, http2.ErrCodeInternal, nil)
				return
			}
		}
	}
}

// Receivers whose TLS or HTTP/2 goes wrong: the sentence says which fault it is.
func TestHostileReceiversOverTLS(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	trusted, err := json.Marshal(ca.pem)
	if err != nil {
		t.Fatal(err)
	}
	trust := `,"ca_certificate":` + string(trusted)
	nothing := func(*tls.Conn) {}
	with := func(change func(*x509.Certificate)) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{ca.leaf(change)}, MinVersion: tls.VersionTLS12}
	}
	asIs := func(*x509.Certificate) {}
	h2 := with(asIs)
	h2.NextProtos = []string{"h2"}
	old := with(asIs)
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	demanding := with(asIs)
	demanding.ClientAuth = tls.RequireAnyClientCert
	plain := testenv.NewPlainReceiver(t)
	all := []hostile{
		{name: "expired", settings: trust, failure: "tls", says: "has expired, at ", url: secureReceiver(t, with(func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour)
		}), nothing)},
		{name: "not valid yet", settings: trust, failure: "tls", says: "on, not yet: check the clocks", url: secureReceiver(t, with(func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(24*time.Hour), time.Now().Add(48*time.Hour)
		}), nothing)},
		{name: "wrong name", settings: trust, failure: "tls", says: "the certificate is for elsewhere.example, not for 127.0.0.1", url: secureReceiver(t, with(func(c *x509.Certificate) {
			c.DNSNames, c.IPAddresses = []string{"elsewhere.example"}, nil
		}), nothing)},
		{name: "unknown authority", failure: "tls", says: "signed by an authority that is not trusted (issuer CN=Test Authority): set ca_certificate", url: secureReceiver(t, with(asIs), nothing)},
		{name: "not for servers", settings: trust, failure: "tls", says: "not made for a server", url: secureReceiver(t, with(func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
		}), nothing)},
		{name: "old TLS", settings: trust, failure: "tls", says: "does not offer TLS 1.2 or newer", url: secureReceiver(t, old, nothing)},
		{name: "asks for a certificate", settings: trust, failure: "tls", says: "client_certificate", url: secureReceiver(t, demanding, nothing)},
		{name: "no TLS at all", failure: "tls", says: "does not speak TLS on this port", url: strings.Replace(plain.URL, "http://", "https://", 1) + "/"},
		{name: "silent TLS", failure: "timeout", says: "still making the TLS session", url: "https://" + rawReceiver(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }) + "/"},
		{name: "GOAWAY", settings: trust, failure: "protocol", says: "ended the HTTP/2 connection before it answered", url: secureReceiver(t, h2, goAway), secure: true},
		{name: "GOAWAY in the body", settings: trust, url: secureReceiver(t, h2, goAwayInBody), secure: true},
		{name: "closes after the request", settings: trust, failure: "protocol", says: "before it answered", url: secureReceiver(t, with(asIs), func(c *tls.Conn) {
			_, _ = c.Read(make([]byte, 1))
		}), secure: true},
	}
	deliverTo(t, testenv.StartServer(t, testenv.ServerOptions{Args: []string{"--dev"}}), all)
}
