package kafka_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/telemetry/kafka"
	"github.com/cybervault/cybervault/internal/telemetry/stream"
)

// certificate writes a certificate for loopback that signs itself, and its key.
func certificate(t *testing.T) (pair tls.Certificate, certFile, keyFile string) {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	pair = s.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	for name, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, keyFile: {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return pair, certFile, keyFile
}

// Every way to log in reaches a broker that demands it, over mutual TLS; a wrong
// password does not, is shown, and is no reason to end.
func TestWaysToLogIn(t *testing.T) {
	t.Parallel()
	pair, certFile, keyFile := certificate(t)
	for _, mechanism := range []string{"plain", "scram-sha-256", "scram-sha-512"} {
		t.Run(mechanism, func(t *testing.T) {
			t.Parallel()
			c := cluster(t, 1, kfake.EnableSASL(), kfake.Superuser(strings.ToUpper(mechanism), "cv", "word"), kfake.Superuser("PLAIN", "producer", "word"),
				kfake.TLS(&tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAnyClientCert}))
			client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.DefaultProduceTopic(topic), kgo.SASL(plain.Auth{User: "producer", Pass: "word"}.AsMechanism()),
				kgo.DialTLSConfig(&tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{pair}}))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			if err := client.ProduceSync(t.Context(), &kgo.Record{Key: []byte("k"), Value: []byte("line 0")}).FirstErr(); err != nil {
				t.Fatal(err)
			}
			cfg := config(c, newEngine())
			cfg.TLS = stream.TLS{CAFile: certFile, CertFile: certFile, KeyFile: keyFile}
			cfg.SASL, cfg.Username, cfg.Password = mechanism, "cv", "another word"
			s, stop := start(t, cfg)
			waitFor(t, "the refusal", func() bool { st := s.Stats(); return !st.Connected && !st.LastError.IsZero() })
			stop()
			cfg.Password = "word"
			s, _ = start(t, cfg)
			waitFor(t, "the commit", func() bool { return committed(c) == 1 })
			if !s.Stats().Connected {
				t.Error("the source does not know that it is connected")
			}
		})
	}
}

func TestWrongSettings(t *testing.T) {
	t.Parallel()
	_, certFile, keyFile := certificate(t)
	good := kafka.Config{Brokers: []string{"127.0.0.1:9092"}, Topics: map[string]string{topic: ""}, Group: group}
	for name, tc := range map[string]struct {
		field string
		set   func(*kafka.Config)
	}{
		"no broker":      {"kafka_brokers", func(c *kafka.Config) { c.Brokers = nil }},
		"no port":        {"kafka_brokers", func(c *kafka.Config) { c.Brokers = []string{"kafka-1"} }},
		"no topic":       {"kafka_topic", func(c *kafka.Config) { c.Topics = nil }},
		"start":          {"kafka_start", func(c *kafka.Config) { c.Start = "now" }},
		"mechanism":      {"kafka_sasl", func(c *kafka.Config) { c.SASL, c.Username, c.Password = "gssapi", "cv", "hidden" }},
		"no mechanism":   {"kafka_sasl", func(c *kafka.Config) { c.Username, c.Password = "cv", "hidden" }},
		"no password":    {"kafka_password", func(c *kafka.Config) { c.SASL, c.Username = "plain", "cv" }},
		"no file":        {"kafka_ca_file", func(c *kafka.Config) { c.TLS.CAFile = "/does/not/exist" }},
		"no certificate": {"kafka_ca_file", func(c *kafka.Config) { c.TLS.CAFile = keyFile }},
		"key alone":      {"kafka_client_cert_file", func(c *kafka.Config) { c.TLS.KeyFile = keyFile }},
		"no key":         {"kafka_client_key_file", func(c *kafka.Config) { c.TLS.CertFile = certFile }},
		"not a pair":     {"kafka_client_cert_file", func(c *kafka.Config) { c.TLS.CertFile, c.TLS.KeyFile = keyFile, keyFile }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := good
			tc.set(&cfg)
			_, err := kafka.New(cfg)
			e, ok := errors.AsType[*cybervault.Error](err)
			if !ok || e.Code != cybervault.CodeInvalid || e.Field != tc.field || strings.Contains(err.Error(), "hidden") {
				t.Errorf("error = %v, want one about %s", err, tc.field)
			}
		})
	}
}
