package testenv_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"testing"

	"github.com/cybervault/cybervault/test/testenv"
)

func TestReceiverIsTrustedByItsCertificateAlone(t *testing.T) {
	t.Parallel()
	r := testenv.NewReceiver(t)
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(r.CAPEM)) {
		t.Fatalf("not a certificate:\n%s", r.CAPEM)
	}
	get := func(pool *x509.CertPool) error {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true}
		defer transport.CloseIdleConnections()
		resp, err := (&http.Client{Transport: transport}).Get(r.URL)
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	if err := get(pool); err != nil {
		t.Errorf("with its certificate: %v", err)
	}
	if err := get(x509.NewCertPool()); err == nil {
		t.Error("it is trusted without its certificate")
	}
	if got := r.Received(); len(got) != 1 || got[0].Proto != "HTTP/2.0" {
		t.Errorf("recorded %+v, want one request over HTTP/2", got)
	}
}
