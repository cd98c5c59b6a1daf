package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/cybervault/cybervault"
)

// maxErrorText bounds what of a foreign error's text is repeated.
const maxErrorText = 200

// explain names an exchange that got no complete headers.
func explain(err error, timedOut bool, timeout time.Duration, at stage, remote string) (cybervault.Failure, string) {
	if e, ok := errors.AsType[*blockedError](err); ok {
		return cybervault.FailureBlockedAddress, e.refusal.reason() + ": " + e.refusal.remedy()
	}
	e, judged := errors.AsType[*dialError](err)
	if timedOut || errors.Is(err, context.DeadlineExceeded) {
		return cybervault.FailureTimeout, fmt.Sprintf("no answer within %s: %s", timeout, at.describe(remote))
	}
	if judged {
		return e.failure, e.text
	}
	if strings.Contains(err.Error(), remoteAlert) {
		// With TLS 1.3 a receiver that asks for a client certificate says so
		// after our side of the handshake has ended.
		return cybervault.FailureTLS, tlsText(remote, err)
	}
	return cybervault.FailureProtocol, protocolText(err, at)
}

// describe says how far an exchange had come.
func (s stage) describe(remote string) string {
	switch s {
	case stageLookup:
		return "still looking up the name"
	case stageConnect:
		return "still connecting to " + remote
	case stageProxy:
		return "connected to the proxy " + remote + ", still waiting for its way to the receiver"
	case stageTLS:
		return "connected to " + remote + ", still making the TLS session"
	case stageSend:
		return "connected to " + remote + ", still sending the request"
	case stageWait:
		return "connected to " + remote + " and sent, still waiting for the headers"
	case stageHeaders:
		return remote + " began to answer, but its headers did not come to an end"
	case stageStart:
	}
	return "not yet connected"
}

// protocolText puts what net/http says about a broken exchange into words.
func protocolText(err error, at stage) string {
	if e, ok := errors.AsType[*answerError](err); ok {
		return e.text
	}
	text := err.Error()
	broken := "before it answered"
	if at == stageHeaders {
		broken = "in the middle of its answer"
	}
	switch {
	case strings.Contains(text, "headers exceeded") || strings.Contains(text, "header list size") || strings.Contains(text, "headers longer than"):
		return fmt.Sprintf("the headers of the answer are longer than %d bytes", MaxAnswerHeaderBytes)
	case strings.Contains(text, "malformed"):
		return "the answer is not HTTP: " + foreign(err)
	case strings.Contains(text, "GOAWAY"):
		return "the receiver ended the HTTP/2 connection " + broken
	case strings.Contains(text, "stream error") || strings.Contains(text, "http2:"):
		return "the receiver broke off the HTTP/2 exchange: " + foreign(err)
	case errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE):
		return "the receiver reset the connection " + broken
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(text, closedWhileIdle):
		return "the receiver closed the connection " + broken
	}
	return "the exchange broke off: " + foreign(err)
}

// foreign is the text of an error that may repeat what a receiver sent.
func foreign(err error) string {
	text := strings.TrimPrefix(err.Error(), "net/http: ")
	return printable(text, maxErrorText)
}

func lookupError(host string, err error) *dialError {
	text := fmt.Sprintf("the name %s could not be looked up: %s", host, foreign(err))
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		switch {
		case e.IsNotFound:
			text = fmt.Sprintf("the name %s does not exist", host)
		case e.IsTimeout:
			text = fmt.Sprintf("the name servers did not answer for %s", host)
		}
	}
	return &dialError{failure: cybervault.FailureDNS, text: text, err: err}
}

func connectError(err error, target netip.AddrPort, tried int) error {
	if e, ok := errors.AsType[*blockedError](err); ok {
		return blocked(target.Addr().String(), e.refusal)
	}
	what := "could not connect to " + target.String()
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		what = "connection refused by " + target.String()
	case errors.Is(err, syscall.EHOSTUNREACH):
		what = "no route to " + target.String()
	case errors.Is(err, syscall.ENETUNREACH):
		what = "the network of " + target.String() + " cannot be reached"
	case errors.Is(err, syscall.ECONNRESET):
		what = "connection reset by " + target.String()
	case errors.Is(err, syscall.ETIMEDOUT), errors.Is(err, context.DeadlineExceeded):
		what = target.String() + " did not answer"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		what += ": this server has no file descriptors left; raise its limit of open files"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		what += ": this server has no local ports left"
	default:
		what += ": " + foreign(err)
	}
	if tried > 1 {
		what += fmt.Sprintf(" (%d addresses tried)", tried)
	}
	return &dialError{failure: cybervault.FailureConnect, text: what, err: err}
}

// remoteAlert starts crypto/tls's text of an alert that the peer sent (RFC 8446,
// section 6); the type of the alert is not exported.
const remoteAlert = "remote error: tls: "

func tlsError(host string, err error) error {
	return &dialError{failure: cybervault.FailureTLS, text: tlsText(host, err), err: err}
}

func tlsText(host string, err error) string {
	if text := certificateText(host, err); text != "" {
		return text
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return "the receiver does not speak TLS on this port"
	}
	if _, alert, ok := strings.Cut(err.Error(), remoteAlert); ok {
		switch alert {
		case "protocol version not supported":
			return "the receiver does not offer TLS 1.2 or newer"
		case "handshake failure":
			return "the receiver refused the TLS handshake: it shares no cipher with us, or asks for a client certificate"
		case "certificate required":
			return "the receiver asks for a client certificate: set client_certificate"
		case "bad certificate":
			return "the receiver asks for a client certificate, or does not accept the one of client_certificate"
		case "unknown certificate authority":
			return "the receiver does not trust the authority that signed the client certificate"
		case "expired certificate":
			return "the receiver says that the client certificate has expired"
		case "revoked certificate":
			return "the receiver says that the client certificate is revoked"
		case "unknown certificate", "unsupported certificate":
			return "the receiver does not accept the client certificate"
		case "unrecognized name":
			return fmt.Sprintf("the receiver knows no certificate for %s", host)
		}
		return "the receiver refused the TLS session: " + printable(alert, maxErrorText)
	}
	switch {
	case strings.Contains(err.Error(), "unsupported protocol version"):
		return "the receiver does not offer TLS 1.2 or newer"
	case errors.Is(err, syscall.ECONNRESET):
		return "the receiver reset the connection during the TLS handshake"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the receiver closed the connection during the TLS handshake"
	}
	return "no TLS session: " + foreign(err)
}

// certificateText explains a certificate that is not trusted, or returns "".
func certificateText(host string, err error) string {
	if e, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		issuer := ""
		if e.Cert != nil {
			issuer = fmt.Sprintf(" (issuer %s)", printable(e.Cert.Issuer.String(), maxErrorText))
		}
		return fmt.Sprintf("the certificate of %s is signed by an authority that is not trusted%s: set ca_certificate to that authority's certificate", host, issuer)
	}
	if e, ok := errors.AsType[x509.HostnameError](err); ok {
		var names []string
		if e.Certificate != nil {
			names = append(names, e.Certificate.DNSNames...)
			for _, ip := range e.Certificate.IPAddresses {
				names = append(names, ip.String())
			}
		}
		if len(names) == 0 {
			return fmt.Sprintf("the certificate names no host, so it is not valid for %s", host)
		}
		return fmt.Sprintf("the certificate is for %s, not for %s", printable(strings.Join(names, ", "), maxErrorText), host)
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		switch {
		case e.Reason == x509.Expired && e.Cert != nil && strings.Contains(e.Detail, "is before"):
			return fmt.Sprintf("a certificate of %s (%s) is valid from %s on, not yet: check the clocks of both sides", host,
				printable(e.Cert.Subject.String(), maxErrorText), e.Cert.NotBefore.UTC().Format(time.RFC3339))
		case e.Reason == x509.Expired && e.Cert != nil:
			return fmt.Sprintf("a certificate of %s (%s) has expired, at %s: the receiver is to renew it", host,
				printable(e.Cert.Subject.String(), maxErrorText), e.Cert.NotAfter.UTC().Format(time.RFC3339))
		case e.Reason == x509.IncompatibleUsage:
			return fmt.Sprintf("the certificate of %s is not made for a server: its extended key usage lacks server authentication", host)
		}
		return fmt.Sprintf("the certificate of %s is not valid: %s", host, foreign(err))
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fmt.Sprintf("the certificate of %s could not be verified: %s", host, foreign(err))
	}
	return ""
}
