package router_test

import (
	"context"
	"strings"

	"github.com/cybervault/cybervault"
)

// destinations refuses a host by name.
type destinations struct{}

func (destinations) CheckURL(_ context.Context, url string) error {
	if strings.Contains(url, "refused.example") {
		return cybervault.Invalid("url", "leads to a private address")
	}
	return nil
}

func (d destinations) CheckProxiedURL(url string) error {
	if strings.Contains(url, "10.0.0.1") {
		return cybervault.Invalid("url", "is a private address")
	}
	return nil
}

func (d destinations) CheckProxy(ctx context.Context, proxy string) error {
	if d.CheckURL(ctx, proxy) != nil {
		return cybervault.Invalid("proxy", "leads to a private address")
	}
	return nil
}

func (destinations) CheckCACertificate(pem string) error {
	if pem != "PEM" && pem != "PEM2" {
		return cybervault.Invalid("ca_certificate", "is no certificate")
	}
	return nil
}

func (destinations) CheckClientCertificate(pem string) error {
	if pem != "CERTIFICATE AND KEY" {
		return cybervault.Invalid("client_certificate", "is no certificate")
	}
	return nil
}
