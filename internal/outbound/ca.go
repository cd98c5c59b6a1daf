package outbound

import (
	"crypto/x509"
	"encoding/pem"
	"strings"

	"github.com/cybervault/cybervault"
)

// Limits on a webhook's own CAs.
const (
	MaxCACertificateBytes = 64 << 10
	MaxCACertificates     = 50
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
