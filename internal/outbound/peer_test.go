package outbound

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
)

func TestDoRecordsTheCertificate(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t), newAuthority(t)
	soon := time.Now().Add(time.Hour)
	good := ca.issue(t, "hooks.example.com", soon)
	for _, test := range []struct {
		name   string
		config *tls.Config
		ca     string
		status int
		want   string // of the certificate
	}{
		{"trusted", &tls.Config{Certificates: []tls.Certificate{good}}, ca.pem, 200, "hooks.example.com"},
		{"TLS 1.2", &tls.Config{Certificates: []tls.Certificate{good}, MaxVersion: tls.VersionTLS12}, ca.pem, 200, "hooks.example.com"},
		{"another CA", &tls.Config{Certificates: []tls.Certificate{good}}, other.pem, 0, "hooks.example.com"},
		{"expired", &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "hooks.example.com", time.Now().Add(-time.Hour))}}, ca.pem, 0, "hooks.example.com"},
		{"wrong name", &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "else.example.com", soon)}}, ca.pem, 0, "else.example.com"},
		{"refuses us", &tls.Config{Certificates: []tls.Certificate{good}, ClientAuth: tls.RequireAnyClientCert}, ca.pem, 0, "hooks.example.com"},
		{"no certificate", &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }}, ca.pem, 0, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			s.Config.ErrorLog = quiet()
			s.Listener = tls.NewListener(s.Listener, test.config)
			s.Start()
			defer s.Close()
			_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
			client := newClient(t, Config{Dev: true, Resolver: &names{answers: map[string][][]netip.Addr{"hooks.example.com": {addrs("127.0.0.1")}}}})
			r := Request{URL: "https://hooks.example.com:" + port, CACertificate: test.ca}
			x := do(t, client, r)
			if x.Status != test.status {
				t.Fatalf("exchange = %+v", x)
			}
			if test.want == "" {
				if x.TLS != nil {
					t.Errorf("recorded %+v", x.TLS)
				}
				return
			}
			p := x.TLS
			if p == nil || fmt.Sprint(p.Names) != "["+test.want+"]" || p.Subject != "CN=receiver" || p.Issuer != "CN=Test authority" || !p.NotAfter.After(p.NotBefore) {
				t.Fatalf("recorded %+v, want the certificate of %s", p, test.want)
			}
			if sum := sha256.Sum256(test.config.Certificates[0].Certificate[0]); p.Fingerprint != fmt.Sprintf("%x", sum) {
				t.Errorf("fingerprint %s, want %x", p.Fingerprint, sum)
			}
			version := "TLS 1.3"
			if test.config.MaxVersion == tls.VersionTLS12 {
				version = "TLS 1.2"
			}
			if p.Version != version || !strings.HasPrefix(p.CipherSuite, "TLS_") {
				t.Errorf("session %q %q, want %s", p.Version, p.CipherSuite, version)
			}
			if test.status == 200 && do(t, client, r).TLS != p {
				t.Error("an exchange over the same connection has a record of its own")
			}
		})
	}
}

// What a certificate may bring along is cut.
func TestPeerTLSIsBounded(t *testing.T) {
	t.Parallel()
	leaf := &x509.Certificate{IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1)}}
	leaf.Subject.CommonName = strings.Repeat("a\x1b", 5000)
	for i := range 1000 {
		leaf.DNSNames = append(leaf.DNSNames, fmt.Sprintf("%d.%s\x1b", i, strings.Repeat("n", 1000)))
	}
	p := peerTLS(&tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}, nil)
	size := len(p.Subject)
	for _, name := range p.Names {
		size += len(name)
	}
	if len(p.Names) != cybervault.MaxPeerNames || size > (cybervault.MaxPeerNames+1)*(cybervault.MaxPeerNameBytes+3) || strings.Contains(p.Subject+p.Names[0], "\x1b") {
		t.Errorf("%d names, %d bytes, subject %.20q", len(p.Names), size, p.Subject)
	}
	leaf.DNSNames = leaf.DNSNames[:1]
	if p = peerTLS(&tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}, nil); len(p.Names) != 2 || p.Names[1] != "192.0.2.1" {
		t.Errorf("names %q", p.Names)
	}
}
