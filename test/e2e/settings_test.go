package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault/test/testenv"
)

type published struct {
	ID         string `json:"id"`
	Deliveries int    `json:"deliveries"`
}

// A filter decides what is delivered, what it keeps back stands in the log with
// the reason, and a preview foretells it.
func TestFilter(t *testing.T) {
	onBoth(t, func(t *testing.T, server *testenv.Server) {
		receiver := testenv.NewReceiver(t)
		addWebhook(t, server, receiver, `,"filter":"data.severity == \"critical\" && data.mitre_id.startsWith(\"T1\")"`)
		events := map[string]published{}
		for name, change := range map[string][2]string{"matched": {"", ""}, "filter": {`"critical"`, `"low"`}, "filter_error": {`,"mitre_id":"T1190"`, ""}} {
			events[name] = call[published](t, server, http.StatusAccepted, http.MethodPost, "/v1/events", strings.Replace(threat, change[0], change[1], 1))
		}
		if got := receiver.WaitFor(patience, 1)[0].Header.Get("webhook-id"); got != events["matched"].ID {
			t.Errorf("the receiver got %s, want %s", got, events["matched"].ID)
		}
		reasons := map[string]string{}
		for _, d := range call[list[struct {
			Event  string `json:"event_id"`
			Reason string `json:"reason"`
		}]](t, server, http.StatusOK, http.MethodGet, "/v1/deliveries?status=skipped", "").Data {
			reasons[d.Reason] = d.Event
		}
		for _, reason := range []string{"filter", "filter_error"} {
			if reasons[reason] != events[reason].ID || events[reason].Deliveries != 0 {
				t.Errorf("skipped for %s: %v, want %+v", reason, reasons, events[reason])
			}
		}
		preview := call[struct{ Examined, Matched, Errors int }](t, server, http.StatusOK, http.MethodPost, "/v1/webhooks/preview",
			`{"filter":"data.severity == \"critical\" && data.mitre_id.startsWith(\"T1\")","events":["threat.*"]}`)
		if preview.Examined != 3 || preview.Matched != 1 || preview.Errors != 1 {
			t.Errorf("preview %+v", preview)
		}
		problem := call[struct{ Field, Detail string }](t, server, http.StatusUnprocessableEntity, http.MethodPost, "/v1/webhooks",
			`{"url":"https://127.0.0.1:1/hook","events":["*"],"filter":"data.severity =="}`)
		if problem.Field != "filter" || !strings.Contains(problem.Detail, "line 1, column") {
			t.Errorf("problem %+v", problem)
		}
	}, "--dev")
}

// A receiver that demands a client certificate gets it, and one that is refused
// is named as such; the key is never shown, and outlives a restart.
func TestMutualTLS(t *testing.T) {
	onBoth(t, func(t *testing.T, server *testenv.Server) {
		certificate, identity := clientIdentity(t)
		pool := x509.NewCertPool()
		pool.AddCert(certificate)
		names := make(chan string, 10)
		receiver := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			names <- r.TLS.PeerCertificates[0].DNSNames[0]
		}))
		receiver.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
		receiver.Config.ErrorLog = log.New(io.Discard, "", 0)
		receiver.StartTLS()
		t.Cleanup(receiver.Close)
		settings := map[string]any{"url": receiver.URL, "events": []string{"*"}, "retry_schedule": []string{},
			"ca_certificate": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: receiver.Certificate().Raw}))}
		body, err := json.Marshal(settings)
		if err != nil {
			t.Fatal(err)
		}
		hook := call[webhook](t, server, http.StatusCreated, http.MethodPost, "/v1/webhooks", string(body))
		outcome := func(status string) delivery {
			t.Helper()
			event := call[published](t, server, http.StatusAccepted, http.MethodPost, "/v1/events", threat)
			d := waitDelivery(t, server, deliveriesOf(t, server, event.ID)[0].ID, func(d delivery) bool { return d.Status != "pending" })
			if d.Status != status {
				t.Fatalf("the delivery is %+v, want %s", d, status)
			}
			return d
		}
		if d := outcome("dead_letter"); d.LastFailure == nil || *d.LastFailure != "tls" {
			t.Errorf("without a certificate: %+v", d)
		}
		change, err := json.Marshal(map[string]string{"client_certificate": identity})
		if err != nil {
			t.Fatal(err)
		}
		shown := call[map[string]any](t, server, http.StatusOK, http.MethodPatch, "/v1/webhooks/"+hook.ID, string(change))
		if shown["client_certificate"] != "***" {
			t.Errorf("client_certificate is shown as %v", shown["client_certificate"])
		}
		outcome("delivered")
		server.Stop()
		server.Restart()
		outcome("delivered")
		for range 2 {
			if name := <-names; name != "cybervault.example" {
				t.Errorf("the receiver saw %s", name)
			}
		}
		if strings.Contains(server.Log(), "PRIVATE KEY") {
			t.Error("the key is in the log")
		}
	}, "--dev")
}

// clientIdentity makes a certificate that vouches for itself, and the PEM of it
// and its key.
func clientIdentity(t *testing.T) (*x509.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"cybervault.example"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return certificate, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})) + string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
}
