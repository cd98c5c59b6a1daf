package outbound

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"

	"github.com/cybervault/cybervault"
)

// peerTLS records a handshake that ended with err, nil if no certificate was
// shown in it. One that is not trusted is recorded too: that is when a person
// needs to see it.
func peerTLS(state *tls.ConnectionState, err error) *cybervault.PeerTLS {
	certificates := state.PeerCertificates
	if refused, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		certificates = refused.UnverifiedCertificates
	}
	if len(certificates) == 0 {
		return nil
	}
	leaf := certificates[0]
	sum := sha256.Sum256(leaf.Raw)
	peer := &cybervault.PeerTLS{
		Subject:     printable(leaf.Subject.String(), cybervault.MaxPeerNameBytes),
		Issuer:      printable(leaf.Issuer.String(), cybervault.MaxPeerNameBytes),
		Names:       certificateNames(leaf),
		NotBefore:   leaf.NotBefore.UTC(),
		NotAfter:    leaf.NotAfter.UTC(),
		Fingerprint: hex.EncodeToString(sum[:]),
	}
	if state.Version != 0 {
		peer.Version = tls.VersionName(state.Version)
	}
	if state.CipherSuite != 0 {
		peer.CipherSuite = tls.CipherSuiteName(state.CipherSuite)
	}
	return peer
}

// certificateNames returns the first of the names a certificate is valid for.
func certificateNames(leaf *x509.Certificate) []string {
	names := make([]string, 0, min(len(leaf.DNSNames)+len(leaf.IPAddresses), cybervault.MaxPeerNames))
	for _, name := range leaf.DNSNames {
		if len(names) == cap(names) {
			return names
		}
		names = append(names, printable(name, cybervault.MaxPeerNameBytes))
	}
	for _, ip := range leaf.IPAddresses {
		if len(names) == cap(names) {
			return names
		}
		names = append(names, ip.String())
	}
	return names
}
