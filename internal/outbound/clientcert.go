package outbound

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"strings"

	"github.com/cybervault/cybervault"
)

// Limits on a webhook's client certificate.
const (
	MaxClientCertificateBytes = 64 << 10
	MaxClientCertificates     = 10 // of its chain
)

// CheckClientCertificate reports why text may not be a webhook's
// client_certificate: it must be PEM and hold a certificate, those that vouch
// for it after it, and its private key, unencrypted, in any order. The error is
// a *cybervault.Error of CodeInvalid about the field "client_certificate", and
// never repeats any of the key.
func CheckClientCertificate(text string) error {
	_, err := parseClientCertificate(text)
	return err
}

func parseClientCertificate(text string) (*tls.Certificate, error) {
	invalid := func(format string, args ...any) (*tls.Certificate, error) {
		return nil, cybervault.Invalid("client_certificate", format, args...)
	}
	if len(text) > MaxClientCertificateBytes {
		return invalid("is %d bytes long, more than %d", len(text), MaxClientCertificateBytes)
	}
	var (
		chain  [][]byte
		leaves []*x509.Certificate
		key    crypto.Signer
	)
	rest := []byte(text)
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		switch {
		case block.Type == "EC PARAMETERS": // openssl writes them before an EC key, which repeats them
		case block.Type == "CERTIFICATE":
			certificate, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return invalid("certificate %d is not an X.509 certificate: %s", len(chain)+1, printable(err.Error(), maxErrorText))
			}
			if len(chain) == MaxClientCertificates {
				return invalid("holds more than %d certificates", MaxClientCertificates)
			}
			chain, leaves = append(chain, block.Bytes), append(leaves, certificate)
		case block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED"):
			return invalid("its private key is encrypted: decrypt it first (openssl pkey -in key.pem -out plain.pem); it is kept sealed here")
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			if key != nil {
				return invalid("holds more than one private key: give the one that belongs to the first certificate")
			}
			if key = parsePrivateKey(block); key == nil {
				return invalid("its private key cannot be read: give an RSA, ECDSA or Ed25519 key as PKCS #8 (BEGIN PRIVATE KEY), PKCS #1 or SEC 1")
			}
		default:
			return invalid("holds a PEM block %q: give certificates and one private key only", printable(block.Type, 40))
		}
	}
	switch {
	case len(chain) == 0 && key == nil:
		return invalid("holds neither a certificate nor a key: give both as PEM, beginning with -----BEGIN CERTIFICATE-----")
	case len(chain) == 0:
		return invalid("holds no certificate: give the certificate of the key as well")
	case key == nil:
		return invalid("holds no private key: give the key of the first certificate as well")
	case strings.TrimSpace(string(rest)) != "":
		return invalid("has something after its last block that is not PEM: is it cut off?")
	}
	for i, leaf := range leaves {
		if !belongs(key, leaf) {
			continue
		}
		if i > 0 {
			return invalid("its private key belongs to certificate %d: that certificate must come first, those that vouch for it after it", i+1)
		}
		return &tls.Certificate{Certificate: chain, PrivateKey: key, Leaf: leaf}, nil
	}
	return invalid("its private key does not belong to its certificate: give the two that were made together")
}

func parsePrivateKey(block *pem.Block) crypto.Signer {
	if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
		signer, _ := key.(crypto.Signer) // nil for a key of another use, such as X25519's
		return signer
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key
	}
	if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return key
	}
	return nil
}

func belongs(key crypto.Signer, certificate *x509.Certificate) bool {
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(certificate.PublicKey)
}
