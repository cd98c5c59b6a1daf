package outbound

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cybervault/cybervault"
)

const (
	// maxDialAddresses bounds how many addresses of a name are tried.
	maxDialAddresses = 8
	// fallbackDelay is how long one address is given before the next is
	// tried beside it (RFC 8305, section 5).
	fallbackDelay = 250 * time.Millisecond
)

// dialError is a connection that did not come about, already judged.
type dialError struct {
	failure cybervault.Failure
	text    string // the failure in words, for a person
	err     error  // the cause, if any
}

func (e *dialError) Error() string { return e.text }
func (e *dialError) Unwrap() error { return e.err }

// blockedError is what the last check, on the socket itself, answers.
type blockedError struct{ refusal *refusal }

func (e *blockedError) Error() string { return e.refusal.reason() }

// control checks the address a socket is about to connect to. The addresses
// were judged before; this holds even if that were ever bypassed.
func (c *Client) control(scheme string) func(context.Context, string, string, syscall.RawConn) error {
	return func(_ context.Context, network, address string, _ syscall.RawConn) error {
		if !strings.HasPrefix(network, "tcp") {
			return fmt.Errorf("network %s is not used for deliveries", network)
		}
		ap, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		if r := c.policy.check(ap.Addr(), scheme); r != nil {
			return &blockedError{r}
		}
		return nil
	}
}

// conn is a connection to a receiver that remembers how it came about.
type conn struct {
	net.Conn
	remote            string // address and port that was dialled
	dns, connect, tls time.Duration
	h2                bool
	alive             func() bool  // false once the peer has closed
	keep              atomic.Int64 // how long the peer keeps the connection when idle, in nanoseconds; 0 if it did not say
	stale             atomic.Bool  // nothing may be written any more

	session  *tls.Conn // nil without TLS
	peer     *cybervault.PeerTLS
	asked    atomic.Bool // the peer asked for a client certificate
	shown    atomic.Bool // and was shown one
	answered atomic.Bool // and has answered a request

	// Of a link only, which uses the connection from one goroutine at a time.
	wrote int64 // bytes that went out
	held  bool  // reads answer errHeld, after the next `once` of them
	once  int
}

var errStale = errors.New("the receiver has closed this idle connection, or is about to")

// Write refuses to begin a request on a connection that the peer has given up,
// so that net/http sees that nothing was written and takes another one.
func (c *conn) Write(b []byte) (int, error) {
	if c.stale.Load() {
		return 0, errStale
	}
	n, err := c.Conn.Write(b)
	c.wrote += int64(n)
	return n, err
}

// heldError is temporary in the sense of net.Error, so that a TLS session which
// meets it can be read on later.
type heldError struct{}

func (heldError) Error() string   { return "nothing is read off this connection now" }
func (heldError) Timeout() bool   { return true }
func (heldError) Temporary() bool { return true }

// Read answers with a heldError while the TLS session is only asked what it
// still holds.
func (c *conn) Read(b []byte) (int, error) {
	if c.held {
		if c.once == 0 {
			return 0, heldError{}
		}
		c.once--
	}
	return c.Conn.Read(b)
}

// whenAsked shows a client certificate, if there is one, to whoever asks,
// whichever authorities they name: a receiver that names the wrong ones would
// otherwise be shown nothing, and its refusal would hide why.
func (c *conn) whenAsked(own []tls.Certificate) func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		c.asked.Store(true)
		if len(own) == 0 {
			return &tls.Certificate{}, nil // none: RFC 8446, section 4.4.2
		}
		c.shown.Store(true)
		return &own[0], nil
	}
}

// reuse decides whether a connection that has been idle may carry a request.
// HTTP/2 has GOAWAY for that; it is shared with requests under way.
func (c *conn) reuse(idle time.Duration) {
	if c.h2 {
		return
	}
	if keep := time.Duration(c.keep.Load()); keep > 0 && idle > keep || !c.alive() {
		c.stale.Store(true)
	}
}

// dial connects to host:port for the scheme, through via if that is not nil.
// net/http lets a dial outlive the
// request that caused it, so it has a deadline of its own.
func (c *Client) dial(ctx context.Context, hostPort, scheme string, via *proxy) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	if via != nil {
		return via.dial(ctx, hostPort)
	}
	return c.dialWithin(ctx, hostPort, scheme)
}

func (c *Client) dialWithin(ctx context.Context, hostPort, scheme string) (*conn, error) {
	t := traceOf(ctx)
	host, portText, err := net.SplitHostPort(hostPort)
	if err != nil {
		return nil, err
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "tcp", portText)
	if err != nil {
		return nil, err
	}
	out := &conn{}
	addrs, err := c.lookup(ctx, t, host, out)
	if err != nil {
		return nil, err
	}
	targets, refused := c.permitted(addrs, uint16(port), scheme)
	if len(targets) == 0 {
		return nil, blocked(host, refused)
	}
	t.enter(stageConnect, targets[0].String())
	start := c.now()
	tcp, target, err := c.connect(ctx, targets, scheme)
	out.connect = c.now().Sub(start)
	t.spent(out)
	if err != nil {
		return nil, connectError(err, target, len(targets))
	}
	out.Conn, out.remote, out.alive = tcp, target.String(), aliveProbe(tcp)
	t.enter(stageConnect, out.remote)
	return out, nil
}

// lookup returns the addresses of a host, which may be a literal.
func (c *Client) lookup(ctx context.Context, t *trace, host string, out *conn) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}, nil
	}
	t.enter(stageLookup, "")
	start := c.now()
	addrs, err := c.resolver.LookupNetIP(ctx, "ip", host)
	out.dns = c.now().Sub(start)
	t.spent(out)
	if err != nil {
		return nil, lookupError(host, err)
	}
	if len(addrs) == 0 {
		return nil, &dialError{failure: cybervault.FailureDNS, text: fmt.Sprintf("the name %s has no address", host)}
	}
	return addrs, nil
}

// permitted returns what may be dialled, IPv6 and IPv4 in turn with the
// resolver's first choice first, and the first refusal.
func (c *Client) permitted(addrs []netip.Addr, port uint16, scheme string) ([]netip.AddrPort, *refusal) {
	var refused *refusal
	var families [2][]netip.AddrPort
	first := 0
	for _, addr := range addrs {
		if r := c.policy.check(addr, scheme); r != nil {
			if refused == nil {
				refused = r
			}
			continue
		}
		addr = addr.Unmap()
		family := 0
		if addr.Is4() {
			family = 1
		}
		if len(families[0])+len(families[1]) == 0 {
			first = family
		}
		families[family] = append(families[family], netip.AddrPortFrom(addr, port))
	}
	a, b := families[first], families[1-first]
	var targets []netip.AddrPort
	for len(targets) < maxDialAddresses && len(a)+len(b) > 0 {
		if len(a) > 0 {
			targets, a = append(targets, a[0]), a[1:]
		}
		a, b = b, a
	}
	return targets, refused
}

// blocked is the refusal of all addresses of a host.
func blocked(host string, r *refusal) *dialError {
	text := r.reason() + ": " + r.remedy()
	if _, err := netip.ParseAddr(host); err != nil {
		text = fmt.Sprintf("the name %s leads to a refused address: %s", host, text)
	}
	return &dialError{failure: cybervault.FailureBlockedAddress, text: text}
}

type dialed struct {
	conn   net.Conn
	target netip.AddrPort
	err    error
}

// connect returns the first connection that comes about. A further address is
// tried when one has failed, or has taken longer than fallbackDelay.
func (c *Client) connect(ctx context.Context, targets []netip.AddrPort, scheme string) (net.Conn, netip.AddrPort, error) {
	dialer := &c.dialers.https
	if scheme == "http" {
		dialer = &c.dialers.http
	}
	if len(targets) == 1 {
		tcp, err := dialer.DialContext(ctx, "tcp", targets[0].String())
		return tcp, targets[0], err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan dialed, len(targets)) // room for all: no dial waits for a reader
	begin := func(target netip.AddrPort) {
		tcp, err := dialer.DialContext(ctx, "tcp", target.String())
		results <- dialed{tcp, target, err}
	}
	next := time.NewTimer(0)
	defer next.Stop()
	started, ended := 0, 0
	var failed dialed
	for {
		select {
		case <-next.C:
			go begin(targets[started])
			if started++; started < len(targets) {
				next.Reset(fallbackDelay)
			}
		case r := <-results:
			ended++
			if r.err == nil {
				go closeLosers(results, started-ended)
				return r.conn, r.target, nil
			}
			if ended == 1 || errors.Is(failed.err, context.DeadlineExceeded) {
				failed = r
			}
			if ended == len(targets) {
				return nil, failed.target, failed.err
			}
			if started < len(targets) {
				next.Reset(0)
			}
		}
	}
}

// closeLosers closes connections that came about after the race was won.
func closeLosers(results <-chan dialed, n int) {
	for range n {
		if r := <-results; r.conn != nil {
			_ = r.conn.Close()
		}
	}
}

// dialTLS connects and makes the TLS session, all within one deadline.
func (c *Client) dialTLS(ctx context.Context, hostPort string, config *tls.Config, via *proxy) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	out, err := c.dial(ctx, hostPort, "https", via)
	if err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		return nil, err
	}
	config = config.Clone()
	config.ServerName = strings.TrimSuffix(host, ".")
	config.GetClientCertificate = out.whenAsked(config.Certificates)
	session := tls.Client(out, config)
	t := traceOf(ctx)
	t.enter(stageTLS, out.remote)
	start := c.now()
	err = session.HandshakeContext(ctx)
	out.tls = c.now().Sub(start)
	t.spent(out)
	state := session.ConnectionState()
	out.peer = peerTLS(&state, err)
	t.saw(out.peer)
	if err != nil {
		_ = out.Close()
		return nil, tlsError(config.ServerName, err)
	}
	out.h2 = state.NegotiatedProtocol == "h2"
	out.session = session
	t.made(out)
	return out, nil
}
