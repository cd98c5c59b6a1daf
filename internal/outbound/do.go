package outbound

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/cybervault/cybervault"
)

// Request is one POST to a receiver. Nothing in it is changed or kept, apart
// from Header, which the Exchange shares where nothing in it is masked.
type Request struct {
	URL string
	// Header is sent with the names as they are spelled here (HTTP/2 sends
	// them in lower case). Host, lengths and hop-by-hop headers are HTTP's own
	// and left out.
	Header []cybervault.Header
	// MaskedHeaders names the headers whose values the Exchange records as
	// Mask, in any case of letters.
	MaskedHeaders []string
	Body          []byte
	// CACertificate is the PEM of the CAs to trust instead of the system's;
	// empty for the system's.
	CACertificate string
	// ClientCertificate is the PEM of a certificate chain and its key, which
	// are shown to a receiver that asks for them; empty for none.
	ClientCertificate string
	// Proxy is the HTTP proxy to go through, "http://user:password@host:port";
	// empty for none.
	Proxy string
	// Spent is what of the time for the exchange was used before it.
	Spent time.Duration
}

// Mask stands in an Exchange for a value that is not recorded.
const Mask = "***"

// errTimeout ends an exchange that took too long.
var errTimeout = errors.New("the exchange took too long")

// Do makes one request and reports all that happened. Failure stays empty
// whenever complete headers came in time, whatever the status; what the status
// means is the caller's to say. A body that is slow, endless or broken off
// changes nothing but what is kept of it.
//
// The error is ctx's own, and only if ctx ended before there were headers:
// then the exchange says nothing about the receiver.
func (c *Client) Do(ctx context.Context, r Request) (cybervault.Exchange, error) {
	start := c.now()
	x := cybervault.Exchange{URL: r.URL, Request: recorded(r.Header, r.MaskedHeaders)}
	if ctx.Err() != nil {
		return x, ctx.Err()
	}
	t, id, refused := c.prepare(&r)
	if refused != nil {
		x.Failure, x.Error = refused.failure, refused.text
		x.Elapsed = c.now().Sub(start)
		return x, nil //nolint:nilerr // the failure is in the exchange
	}
	var err error
	if id.speaksHTTP2(t, start) {
		err = c.overTransport(ctx, &r, t, id, nil, start, &x)
	} else {
		err = c.overLink(ctx, &r, t, id, start, &x)
		if chose, ok := errors.AsType[*http2Error](err); ok {
			err = c.overTransport(ctx, &r, t, id, chose.conn, start, &x)
		}
	}
	x.Elapsed = c.now().Sub(start)
	return x, err
}

// prepare reads the URL and chooses the identity.
func (c *Client) prepare(r *Request) (*target, *identity, *dialError) {
	t, err := c.target(r.URL)
	if err == nil && r.Proxy != "" {
		err = c.judgeProxied(t.url)
	}
	if err != nil {
		text := err.Error()
		if e, ok := errors.AsType[*cybervault.Error](err); ok {
			text = "the URL " + e.Message
		}
		return nil, nil, &dialError{failure: cybervault.FailureBlockedAddress, text: text, err: err}
	}
	own := tlsIdentity{r.CACertificate, r.ClientCertificate, r.Proxy}
	if own == (tlsIdentity{}) {
		return t, c.shared, nil
	}
	id, err := c.own.get(own, c.newOwnIdentity)
	if err != nil {
		failure := cybervault.FailureTLS
		if e, ok := errors.AsType[*cybervault.Error](err); ok && e.Field == "proxy" {
			failure = cybervault.FailureConnect
		}
		return nil, nil, &dialError{failure: failure, text: err.Error(), err: err}
	}
	return t, id, nil
}

// overTransport makes an exchange over HTTP/2, on the connection that was
// dialled for it if there is one. The host may have given HTTP/2 up: then
// net/http speaks HTTP/1.1 this once, and the next exchange goes over a link.
func (c *Client) overTransport(ctx context.Context, r *Request, t *target, id *identity, dialled *conn, start time.Time, x *cybervault.Exchange) error {
	live, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	traced, trace := newTrace(live, c.now, start)
	if dialled != nil {
		id.http2.put(t.origin, start)
		p := &parcel{conn: dialled}
		defer p.withdraw()
		traced = context.WithValue(traced, parcelKey{}, p)
	}
	// The standard readers matter: net/http knows them to be in memory and can
	// rewind them.
	req, err := http.NewRequestWithContext(traced, http.MethodPost, "", bytes.NewReader(r.Body))
	if err != nil {
		return err
	}
	req.URL, req.Host, req.Header = t.url, t.url.Host, sent(r.Header)
	deadline := time.AfterFunc(c.timeout-r.Spent-c.now().Sub(start), func() { cancel(errTimeout) })
	defer deadline.Stop()
	answer, err := roundTrip(id.Transport, req)
	used, at := trace.record(x)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		timedOut := errors.Is(context.Cause(live), errTimeout)
		if !timedOut && brokenOff(err) {
			if refused := trace.refusal(); refused != nil {
				err = refused
			}
		}
		x.Failure, x.Error = explain(err, timedOut, c.timeout, at, x.RemoteAddr)
		return nil
	}
	deadline.Reset(c.grace)
	if answer.ProtoMajor != 2 {
		id.http2.forget(t.origin)
	} else if !id.speaksHTTP2(t, start) {
		id.http2.put(t.origin, start)
	}
	x.Status, x.Protocol = answer.StatusCode, answer.Proto
	x.Answer = keptHeaders(answer.Header)
	x.RetryAfter = retryAfter(answer, c.now())
	if used != nil {
		used.answered.Store(true)
		noteKeepAlive(used, answer.Header)
	}
	// After 101 the connection is no longer HTTP: there is no body to read.
	if answer.StatusCode != http.StatusSwitchingProtocols && answer.Body != http.NoBody {
		x.Body, x.BodyCut = c.bodies.read(answer.Body)
	}
	_ = answer.Body.Close()
	return nil
}

// maxStaleConns bounds how many dead connections in a row one exchange steps over.
const maxStaleConns = 4

// roundTrip sends req, again only if nothing of it can have been processed.
//
// net/http takes another connection by itself where it has written nothing
// (conn.Write sees to that), and where HTTP/2 says that a stream was not
// processed. It gives up on a POST where the peer closed the connection while
// it was idle but the request came before that was noticed; a receiver that
// had closed cannot have read it, so that is tried again here.
// A request that was written and got no answer is never sent again: it may
// have been processed, and its delivery's next attempt says so to the receiver.
func roundTrip(transport *http.Transport, req *http.Request) (*http.Response, error) {
	for range maxStaleConns {
		answer, err := transport.RoundTrip(req)
		if err == nil || err.Error() != closedWhileIdle || req.Context().Err() != nil {
			return answer, err
		}
		again := req.WithContext(req.Context())
		again.Body, err = req.GetBody()
		if err != nil {
			return nil, err
		}
		req = again
	}
	return transport.RoundTrip(req)
}

// closedWhileIdle is the text of net/http's errServerClosedIdle, which it does
// not export.
const closedWhileIdle = "http: server closed idle connection"

// notEstablished is the text of net/http's error for an HTTP/2 connection that
// ended before its first request.
const notEstablished = "http2: client conn could not be established"

// brokenOff reports whether a connection ended without a word of why.
func brokenOff(err error) bool {
	text := err.Error()
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		strings.Contains(text, notEstablished) || strings.Contains(text, closedWhileIdle)
}

// sent turns an ordered list into what net/http sends.
func sent(list []cybervault.Header) http.Header {
	header := make(http.Header, len(list)+1)
	values := make([]string, 0, len(list)) // one allocation for all
	for i := range list {
		name := list[i].Name
		if ownedByHTTP(name) {
			continue
		}
		if len(name) == len("User-Agent") && strings.EqualFold(name, "User-Agent") {
			name = "User-Agent" // else net/http adds its own beside it
		}
		if before, ok := header[name]; ok {
			header[name] = append(before, list[i].Value)
			continue
		}
		values = append(values, list[i].Value)
		header[name] = values[len(values)-1 : len(values) : len(values)]
	}
	if _, ok := header["User-Agent"]; !ok {
		header["User-Agent"] = []string{"CyberVault-Webhooks"}
	}
	return header
}

// ownedByHTTP reports whether a header is set by HTTP itself. Such a name is
// refused when a webhook is saved; here it would let a request be read as two.
func ownedByHTTP(name string) bool {
	switch len(name) {
	case 2:
		return strings.EqualFold(name, "Te")
	case 4:
		return strings.EqualFold(name, "Host")
	case 6:
		return strings.EqualFold(name, "Expect")
	case 7:
		return strings.EqualFold(name, "Trailer") || strings.EqualFold(name, "Upgrade")
	case 10:
		return strings.EqualFold(name, "Connection") || strings.EqualFold(name, "Keep-Alive")
	case 14:
		return strings.EqualFold(name, "Content-Length")
	case 15:
		return strings.EqualFold(name, "Accept-Encoding")
	case 16:
		return strings.EqualFold(name, "Proxy-Connection")
	case 17:
		return strings.EqualFold(name, "Transfer-Encoding")
	}
	return false
}

// recorded returns the headers as the log is to show them.
func recorded(list []cybervault.Header, masked []string) []cybervault.Header {
	if len(masked) == 0 {
		return list
	}
	out := make([]cybervault.Header, len(list))
	for i, h := range list {
		for _, name := range masked {
			if strings.EqualFold(name, h.Name) {
				h.Value = Mask
				break
			}
		}
		out[i] = h
	}
	return out
}
