package outbound

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/test/testenv"
)

// A name that was public when it was saved and leads inside when it is dialled
// gets nowhere, and nothing is connected to.
func TestDoRefusesARebindingName(t *testing.T) {
	t.Parallel()
	var connected atomic.Int32
	url := serve(t, func(net.Conn) { connected.Add(1) })
	port := url[strings.LastIndexByte(url, ':')+1:]
	resolver := &names{answers: map[string][][]netip.Addr{
		"rebind.example.com": {addrs("93.184.216.34"), addrs("127.0.0.1")},
	}}
	c := newClient(t, Config{Resolver: resolver})
	if err := c.CheckURL(t.Context(), "https://rebind.example.com:"+port); err != nil {
		t.Fatalf("refused at saving: %v", err)
	}
	x := do(t, c, Request{URL: "https://rebind.example.com:" + port})
	if x.Failure != cybervault.FailureBlockedAddress || !strings.Contains(x.Error, "rebind.example.com") || !strings.Contains(x.Error, "127.0.0.1 is in the loopback range") {
		t.Errorf("exchange = %+v", x)
	}
	if connected.Load() != 0 {
		t.Error("a connection was made")
	}
}

func TestDoRefusesWithoutDialling(t *testing.T) {
	t.Parallel()
	resolver := &names{answers: map[string][][]netip.Addr{"inside.example.com": {addrs("10.0.0.5", "::ffff:169.254.169.254")}}}
	for _, test := range []struct {
		url, says string
		dev       bool
	}{
		{"https://169.254.169.254/latest", "cloud metadata", true},
		{"https://[::ffff:10.0.0.1]/", "private", true},
		{"https://127.0.0.1/", "--dev", false},
		{"https://inside.example.com/", "10.0.0.5 is in the private range", true},
		{"http://127.0.0.1/", "only https:// is accepted", false},
		{"http://8.8.8.8/", "http:// is for loopback only", true},
		{"https://0x7f.1/", "four decimal numbers", true},
		{"https://2130706433/", "four decimal numbers", true},
		{"https://a:b@example.com/", "user name", true},
		{"https://example.com:0/", "port", true},
		{"gopher://example.com/", "scheme", true},
		{"://", "cannot be read", true},
	} {
		x := do(t, newClient(t, Config{Dev: test.dev, Resolver: resolver}), Request{URL: test.url})
		if x.Failure != cybervault.FailureBlockedAddress || !strings.Contains(x.Error, test.says) {
			t.Errorf("%s: failure %q, %q; want blocked, %q", test.url, x.Failure, x.Error, test.says)
		}
	}
}

// The last check, on the socket, holds by itself.
func TestControlRefuses(t *testing.T) {
	t.Parallel()
	c := newClient(t, Config{})
	for _, address := range []string{"127.0.0.1:443", "[::1]:443", "[::ffff:10.0.0.1]:443", "169.254.169.254:80", "[fe80::1%lo]:443"} {
		conn, err := c.dialers.https.DialContext(t.Context(), "tcp", address)
		if err == nil {
			_ = conn.Close()
			t.Errorf("%s: connected", address)
			continue
		}
		failure, text := explain(err, false, time.Second, stageConnect, address)
		if failure != cybervault.FailureBlockedAddress || text == "" {
			t.Errorf("%s: %v, want blocked", address, err)
		}
	}
	if err := c.control("https")(t.Context(), "udp4", "8.8.8.8:53", nil); err == nil {
		t.Error("UDP is allowed")
	}
}

func TestPermittedLeavesOutRefusedAddresses(t *testing.T) {
	t.Parallel()
	c := newClient(t, Config{})
	targets, refused := c.permitted(addrs("10.0.0.1", "2606:4700::1", "2606:4700::2", "8.8.8.8", "127.0.0.1", "::ffff:8.8.4.4"), 443, "https")
	want := "[2606:4700::1]:443 8.8.8.8:443 [2606:4700::2]:443 8.8.4.4:443"
	var got []string
	for _, target := range targets {
		got = append(got, target.String())
	}
	if strings.Join(got, " ") != want || refused == nil || refused.addr != netip.MustParseAddr("10.0.0.1") {
		t.Errorf("targets %v, first refusal %v; want %s and 10.0.0.1", got, refused, want)
	}
	var many []netip.Addr
	for a := netip.MustParseAddr("8.8.0.0"); len(many) < 200; a = a.Next() {
		many = append(many, a)
	}
	if targets, _ = c.permitted(many, 443, "https"); len(targets) != maxDialAddresses {
		t.Errorf("%d targets, want %d", len(targets), maxDialAddresses)
	}
}

// A mixed answer is used without its refused part, and a refused connection
// leads on to the next address.
func TestDoTriesFurtherAddresses(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer s.Close()
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	resolver := &names{answers: map[string][][]netip.Addr{"mixed.example.com": {addrs("10.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.1")}}}
	x := do(t, newClient(t, Config{Dev: true, Resolver: resolver}), Request{URL: "http://mixed.example.com:" + port})
	if x.Status != 200 || x.RemoteAddr != "127.0.0.1:"+port {
		t.Errorf("exchange = %+v", x)
	}
}

func TestDoNamesConnectionFailures(t *testing.T) {
	t.Parallel()
	closed := testenv.Nobody(t)
	_, port, _ := net.SplitHostPort(closed)
	resolver := &names{answers: map[string][][]netip.Addr{
		"two.example.com":   {addrs("127.0.0.1", "127.0.0.2")},
		"empty.example.com": {{}},
	}}
	broken := resolverFunc(func(context.Context) ([]netip.Addr, error) {
		return nil, &net.DNSError{Err: "server misbehaving\x1b", Name: "x"}
	})
	for _, test := range []struct {
		url      string
		resolver Resolver
		failure  cybervault.Failure
		says     string
	}{
		{"https://" + closed, resolver, cybervault.FailureConnect, "connection refused by " + closed},
		{"https://two.example.com:" + port, resolver, cybervault.FailureConnect, "(2 addresses tried)"},
		{"https://gone.example.com", resolver, cybervault.FailureDNS, "the name gone.example.com does not exist"},
		{"https://empty.example.com", resolver, cybervault.FailureDNS, "has no address"},
		{"https://x.example.com", broken, cybervault.FailureDNS, "server misbehaving?"},
	} {
		x := do(t, newClient(t, Config{Dev: true, Resolver: test.resolver}), Request{URL: test.url})
		if x.Failure != test.failure || !strings.Contains(x.Error, test.says) {
			t.Errorf("%s: failure %q, %q; want %s, %q", test.url, x.Failure, x.Error, test.failure, test.says)
		}
	}
}

// authority signs certificates for tests.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{certificate, key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}
}

func (a *authority) issue(t *testing.T, name string, notAfter time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "receiver"}, DNSNames: []string{name},
		NotBefore: notAfter.Add(-48 * time.Hour), NotAfter: notAfter, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestDoTLS(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t), newAuthority(t)
	soon := time.Now().Add(time.Hour)
	good := ca.issue(t, "hooks.example.com", soon)
	for _, test := range []struct {
		name   string
		config *tls.Config
		ca     string
		says   string // empty: success
	}{
		{"own CA", &tls.Config{Certificates: []tls.Certificate{good}}, ca.pem, ""},
		{"own CA among others", &tls.Config{Certificates: []tls.Certificate{good}}, other.pem + ca.pem, ""},
		{"TLS 1.2", &tls.Config{Certificates: []tls.Certificate{good}, MaxVersion: tls.VersionTLS12}, ca.pem, ""},
		{"system roots", &tls.Config{Certificates: []tls.Certificate{good}}, "", "authority that is not trusted (issuer CN=Test authority): set ca_certificate"},
		{"another CA", &tls.Config{Certificates: []tls.Certificate{good}}, other.pem, "not trusted"},
		{"expired", &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "hooks.example.com", time.Now().Add(-time.Hour))}}, ca.pem, "has expired, at"},
		{"wrong name", &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "else.example.com", soon)}}, ca.pem, "is for else.example.com, not for hooks.example.com"},
		{"TLS 1.1 only", &tls.Config{Certificates: []tls.Certificate{good}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, ca.pem, "does not offer TLS 1.2"},
		{"client certificate, TLS 1.2", &tls.Config{Certificates: []tls.Certificate{good}, ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12}, ca.pem, "client certificate"},
		{"unknown name", &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }}, ca.pem, "knows no certificate"},
		{"not a CA", &tls.Config{Certificates: []tls.Certificate{good}}, "no PEM", "ca_certificate: holds no certificate"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
			s.TLS = test.config
			s.Config.ErrorLog = quiet()
			l := tls.NewListener(s.Listener, s.TLS) // not StartTLS, which adds a certificate of its own
			s.Listener = l
			s.Start()
			defer s.Close()
			_, port, _ := net.SplitHostPort(l.Addr().String())
			resolver := &names{answers: map[string][][]netip.Addr{"hooks.example.com": {addrs("127.0.0.1")}, "hooks.example.com.": {addrs("127.0.0.1")}}}
			for _, host := range []string{"hooks.example.com", "hooks.example.com."} {
				x := do(t, newClient(t, Config{Dev: true, Resolver: resolver}), Request{URL: "https://" + host + ":" + port, CACertificate: test.ca})
				if test.says == "" {
					if x.Status != 200 || x.Failure != "" {
						t.Errorf("%s: exchange = %+v", host, x)
					}
				} else if x.Failure != cybervault.FailureTLS || !strings.Contains(x.Error, test.says) || x.Status != 0 {
					t.Errorf("%s: failure %q, %q; want tls, %q", host, x.Failure, x.Error, test.says)
				}
			}
		})
	}
}

func TestDoTLSToSomethingElse(t *testing.T) {
	t.Parallel()
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer plain.Close()
	closing := serve(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 4096)) })
	for _, test := range []struct{ url, says string }{
		{plain.URL, "does not speak TLS"},
		{closing, "during the TLS handshake"},
	} {
		x := do(t, newClient(t, Config{Dev: true}), Request{URL: strings.Replace(test.url, "http:", "https:", 1)})
		if x.Failure != cybervault.FailureTLS || !strings.Contains(x.Error, test.says) {
			t.Errorf("%s: failure %q, %q; want tls, %q", test.url, x.Failure, x.Error, test.says)
		}
	}
}

func TestExplainNamesALateAlert(t *testing.T) {
	t.Parallel()
	err := &net.OpError{Op: "remote error", Err: errors.New("tls: certificate required")}
	failure, text := explain(err, false, time.Second, stageWait, "127.0.0.1:443")
	if failure != cybervault.FailureTLS || text != "the receiver asks for a client certificate: set client_certificate" {
		t.Errorf("%s, %q", failure, text)
	}
}

func TestDoTrustsTheConfiguredRoots(t *testing.T) {
	t.Parallel()
	s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	if x := do(t, newClient(t, Config{AllowDestinations: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, RootCAs: roots}), Request{URL: s.URL}); x.Status != 200 {
		t.Errorf("exchange = %+v", x)
	}
}

func TestCheckCACertificate(t *testing.T) {
	t.Parallel()
	good := newAuthority(t).pem
	for _, test := range []struct{ text, says string }{
		{good, ""},
		{"# our CA\n" + good + "\n" + good, ""},
		{"", "holds no certificate"},
		{"hello", "holds no certificate"},
		{strings.Replace(good, "CERTIFICATE", "CERT", 2), `"CERT"`},
		{good[:len(good)/2], "holds no certificate"},
		{good + good[:len(good)/2], "cut off"},
		{"-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n", "not an X.509 certificate"},
		{"-----BEGIN EC PRIVATE KEY-----\naGVsbG8=\n-----END EC PRIVATE KEY-----\n" + good, "private key"},
		{strings.Repeat(good, MaxCACertificates+1), "more than"},
		{strings.Repeat("x", MaxCACertificateBytes+1), "more than 65536"},
	} {
		err := CheckCACertificate(test.text)
		if test.says == "" {
			if err != nil {
				t.Errorf("%.40q: %v", test.text, err)
			}
			continue
		}
		if cybervault.ErrorCode(err) != cybervault.CodeInvalid || !strings.Contains(err.Error(), test.says) || !strings.HasPrefix(err.Error(), "ca_certificate: ") {
			t.Errorf("%.40q: %v, want %q", test.text, err, test.says)
		}
	}
}
