package cli

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// certificateLife is how long a certificate for loopback is valid.
const certificateLife = 365 * 24 * time.Hour

// A loopbackCertificate serves HTTPS on this machine only. It was signed by an
// authority that is made for it alone and whose key is thrown away at once, so
// that trusting the authority means trusting this one certificate.
type loopbackCertificate struct {
	CA     []byte // PEM of the authority, for the webhook's ca_certificate
	Server tls.Certificate
	cert   []byte // PEM
	key    []byte // PEM
}

// newLoopbackCertificate makes a certificate for localhost, 127.0.0.1 and ::1.
func newLoopbackCertificate(now time.Time) (*loopbackCertificate, error) {
	notBefore, notAfter := now.Add(-time.Hour), now.Add(certificateLife)
	names := []string{"localhost"}
	addresses := []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}

	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	ca := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "CyberVault receiver on this machine, " + now.UTC().Format(time.DateOnly)},
		NotBefore: notBefore, NotAfter: notAfter,
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
		PermittedDNSDomainsCritical: true, PermittedDNSDomains: names,
		PermittedIPRanges: []*net.IPNet{
			{IP: net.IPv4(127, 0, 0, 0).To4(), Mask: net.CIDRMask(8, 32)},
			{IP: net.IPv6loopback, Mask: net.CIDRMask(128, 128)},
		},
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return nil, fmt.Errorf("make the authority: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	server := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: notBefore, NotAfter: notAfter, DNSNames: names, IPAddresses: addresses,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, server, ca, key.Public(), caKey)
	if err != nil {
		return nil, fmt.Errorf("make the certificate: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	return assemble(block("CERTIFICATE", caDER), block("CERTIFICATE", der), block("PRIVATE KEY", keyDER))
}

func serial() *big.Int {
	return new(big.Int).SetBytes([]byte(rand.Text())[:16])
}

func assemble(ca, cert, key []byte) (*loopbackCertificate, error) {
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	return &loopbackCertificate{CA: ca, Server: pair, cert: cert, key: key}, nil
}

// The files in which a certificate is kept.
const (
	caFile   = "ca.pem"
	certFile = "server.pem"
	keyFile  = "server-key.pem"
)

// keptLoopbackCertificate returns the certificate in dir, so that a webhook
// that trusts it goes on working the next time; one that is missing or about to
// expire is made anew. caPath is where its authority is.
func keptLoopbackCertificate(dir string, now time.Time) (c *loopbackCertificate, caPath string, err error) {
	caPath = filepath.Join(dir, caFile)
	var parts [3][]byte
	for i, name := range []string{caFile, certFile, keyFile} {
		parts[i], err = os.ReadFile(filepath.Join(dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, "", err
		}
	}
	if c, err := assemble(parts[0], parts[1], parts[2]); err == nil && parts[0] != nil &&
		c.Server.Leaf.NotAfter.After(now.Add(24*time.Hour)) && c.Server.Leaf.NotBefore.Before(now) {
		return c, caPath, nil
	}
	if c, err = newLoopbackCertificate(now); err != nil {
		return nil, "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, "", err
	}
	for name, content := range map[string][]byte{caFile: c.CA, certFile: c.cert, keyFile: c.key} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return nil, "", err
		}
	}
	return c, caPath, nil
}
