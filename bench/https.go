package bench

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// runHTTPS is runBatch over TLS, once for each version of HTTP, each beside the
// bare client speaking the same. The report's own figures are those of the
// slower one.
func runHTTPS(ctx context.Context, b *bench) error {
	b.report.Webhooks = manyWebhooks
	for _, protocol := range []string{ProtocolHTTP1, ProtocolHTTP2} {
		part := Part{Name: protocol, Webhooks: manyWebhooks}
		if err := b.secure(ctx, protocol, &part); err != nil {
			return err
		}
		if len(b.report.Parts) == 0 || part.Ratio < b.report.Ratio {
			b.report.Figures = part.Figures
		}
		b.report.Parts = append(b.report.Parts, part)
	}
	return nil
}

func (b *bench) secure(ctx context.Context, protocol string, part *Part) error {
	if err := b.startReceiver(ctx, "--tls", protocol); err != nil {
		return err
	}
	raw, err := b.ask(ctx, http.MethodGet, "/tls")
	if err != nil {
		return err
	}
	var at secureAddress
	if err := json.Unmarshal(raw, &at); err != nil {
		return fmt.Errorf("read the receiver's certificate: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(at.CA)) {
		return errors.New("the receiver's certificate cannot be read")
	}
	url := "https://" + at.Address + "/hook"
	reference := &bare{url: url, transport: func(concurrency int) *http.Transport {
		return &http.Transport{MaxIdleConnsPerHost: concurrency, MaxIdleConns: concurrency, DisableCompression: true,
			TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: protocol == ProtocolHTTP2}
	}}
	s, err := b.newSite(ctx)
	if err != nil {
		return err
	}
	l := &load{fanout: 1, batch: b.o.Batch, connections: b.o.Publishers}
	if l.types, err = s.setUp(ctx, manyWebhooks, 1, func(webhook map[string]any) {
		webhook["url"], webhook["ca_certificate"] = url, at.CA
	}); err != nil {
		return err
	}
	b.say("%s", protocol)
	if err := s.compare(ctx, l, reference, &part.Figures); err != nil {
		return err
	}
	got, err := b.received(ctx)
	part.ProtocolUsed = got.Protocol
	return err
}
