package stream

import (
	"crypto/tls"
	"crypto/x509"
	"os"

	"github.com/cybervault/cybervault"
)

// TLS is how a connection to a stream engine is secured.
type TLS struct {
	On       bool   // with the system's certificate authorities, if CAFile names no other
	CAFile   string // PEM
	CertFile string // of the client, PEM; with KeyFile
	KeyFile  string
}

// Used reports whether the connection is to be by TLS: a file that only TLS has
// a use for says so, too.
func (t TLS) Used() bool { return t.On || t.CAFile != "" || t.CertFile != "" || t.KeyFile != "" }

// Config reads the files. It is nil where TLS is not used. An error names the
// setting, whose name starts with prefix.
func (t TLS) Config(prefix string) (*tls.Config, error) {
	if !t.Used() {
		return nil, nil //nolint:nilnil // without TLS there is no configuration of it
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, cybervault.Invalid(prefix+"_ca_file", "cannot be read (%v): name a PEM file of certificate authorities", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, cybervault.Invalid(prefix+"_ca_file", "%s holds no certificate: name a PEM file of certificate authorities", t.CAFile)
		}
	}
	switch {
	case t.CertFile == "" && t.KeyFile == "":
	case t.CertFile == "":
		return nil, cybervault.Invalid(prefix+"_client_cert_file", "is missing: a client key was given, and needs its certificate")
	case t.KeyFile == "":
		return nil, cybervault.Invalid(prefix+"_client_key_file", "is missing: a client certificate was given, and needs its key")
	default:
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, cybervault.Invalid(prefix+"_client_cert_file", "%v: name a PEM certificate and, in %s_client_key_file, the key that belongs to it", err, prefix)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}
