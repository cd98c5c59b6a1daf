package cybervault

import "time"

// Failure names why an attempt failed. Empty means success.
type Failure string

// The failures of an attempt.
const (
	FailureStatus         Failure = "status"          // answered with a status that is not success
	FailureTimeout        Failure = "timeout"         // no complete headers within AttemptTimeout
	FailureDNS            Failure = "dns"             // the name could not be looked up
	FailureConnect        Failure = "connect"         // no TCP connection
	FailureTLS            Failure = "tls"             // no TLS session, or a certificate that is not trusted
	FailureRedirect       Failure = "redirect"        // answered 3xx; redirects are never followed
	FailureBlockedAddress Failure = "blocked_address" // the name led to an address that is refused
	FailureProtocol       Failure = "protocol"        // the answer is not HTTP, or broke off
)

// Attempt is one HTTP request made for a delivery, with what was answered.
type Attempt struct {
	ID        AttemptID  `json:"id"`
	Delivery  DeliveryID `json:"delivery_id"`
	Number    int        `json:"number"` // 1, 2, 3 …
	StartedAt time.Time  `json:"started_at"`
	Exchange
}

// Succeeded reports whether the attempt counts as delivered.
func (a *Attempt) Succeeded() bool { return a.Failure == "" }

// Exchange is what went over the wire in one attempt.
type Exchange struct {
	URL     string        `json:"url"`
	Request []Header      `json:"request_headers"` // as sent; values of the owner's static headers are masked
	Status  int           `json:"status"`          // of the answer; 0 if none came
	Failure Failure       `json:"failure"`
	Error   string        `json:"error"` // the failure in words, for a person
	Answer  []Header      `json:"response_headers"`
	Body    []byte        `json:"response_body"` // the first MaxKeptResponseBodyBytes
	BodyCut bool          `json:"response_body_truncated"`
	Timings Timings       `json:"timings"`
	Elapsed time.Duration `json:"elapsed"` // from the start to the end of what was read
	// RetryAfter is what the answer asked to wait (RFC 9110, section 10.2.3),
	// zero if it did not.
	RetryAfter time.Duration `json:"-"`
	RemoteAddr string        `json:"remote_addr"` // address and port that was dialled
	Protocol   string        `json:"protocol"`    // "HTTP/1.1", "HTTP/2.0"
	// TLS is nil where no certificate was shown. Exchanges over one connection
	// share it: nothing in it may be changed.
	TLS *PeerTLS `json:"tls"`
}

// Limits on what is kept of a receiver's certificate.
const (
	MaxPeerNames     = 20  // names it is valid for
	MaxPeerNameBytes = 256 // of each name, the subject and the issuer
)

// PeerTLS is the TLS session of an exchange and the certificate the receiver
// showed in it, whether or not that was trusted.
type PeerTLS struct {
	Version     string    `json:"version"`      // "TLS 1.3"
	CipherSuite string    `json:"cipher_suite"` // "TLS_AES_128_GCM_SHA256"; empty if the handshake did not come that far
	Subject     string    `json:"subject"`      // RFC 4514
	Issuer      string    `json:"issuer"`
	Names       []string  `json:"names"` // DNS names and IP addresses it is valid for
	NotBefore   time.Time `json:"not_before"`
	NotAfter    time.Time `json:"not_after"`
	Fingerprint string    `json:"sha256"` // of the certificate in DER, lower-case hex
}

// Timings are the parts of an exchange; zero for a part that did not happen
// (a pooled connection has no look-up, connect or TLS).
type Timings struct {
	DNS       time.Duration `json:"dns"`
	Connect   time.Duration `json:"connect"`
	TLS       time.Duration `json:"tls"`
	FirstByte time.Duration `json:"first_byte"` // from the start to the first byte of the answer
}
