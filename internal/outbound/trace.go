package outbound

import (
	"context"
	"crypto/tls"
	"net/http/httptrace"
	"strings"
	"sync"
	"time"

	"github.com/cybervault/cybervault"
)

// stage is how far an exchange has come, for the words of a timeout.
type stage uint8

const (
	stageStart stage = iota
	stageLookup
	stageConnect
	stageProxy
	stageTLS
	stageSend
	stageWait
	stageHeaders
)

// trace follows one exchange. Its mutex is there because net/http dials in a
// goroutine of its own, which may outlive the exchange.
type trace struct {
	hooks httptrace.ClientTrace
	now   func() time.Time
	start time.Time

	mu      sync.Mutex
	stage   stage
	remote  string
	timings cybervault.Timings
	peer    *cybervault.PeerTLS
	conn    *conn
	dialled *conn // the last one dialled for the exchange, until it gets one
}

type traceKey struct{}

// traceOf returns the trace of the exchange that caused a dial, or nil.
func traceOf(ctx context.Context) *trace {
	t, _ := ctx.Value(traceKey{}).(*trace)
	return t
}

// newTrace puts a trace into ctx.
func newTrace(ctx context.Context, now func() time.Time, start time.Time) (context.Context, *trace) {
	t := &trace{now: now, start: start}
	t.hooks.GotConn = t.gotConn
	t.hooks.WroteRequest = t.wroteRequest
	t.hooks.GotFirstResponseByte = t.gotFirstByte
	return httptrace.WithClientTrace(context.WithValue(ctx, traceKey{}, t), &t.hooks), t
}

// enter notes a stage of the dial, unless the exchange has got a connection
// from elsewhere meanwhile.
func (t *trace) enter(s stage, remote string) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conn == nil {
		t.stage = s
		if remote != "" {
			t.remote = remote
		}
	}
}

// spent notes how long the parts of the dial took so far.
func (t *trace) spent(c *conn) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conn == nil {
		t.timings.DNS, t.timings.Connect, t.timings.TLS = c.dns, c.connect, c.tls
	}
}

// made notes the connection of the dial once it has its TLS session.
func (t *trace) made(c *conn) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conn == nil {
		t.dialled = c
	}
}

// saw notes the certificate that the peer showed, trusted or not.
func (t *trace) saw(peer *cybervault.PeerTLS) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conn == nil {
		t.peer = peer
	}
}

// refusal is that of the connection of the exchange, or of the last one that
// was dialled for it.
func (t *trace) refusal() error {
	t.mu.Lock()
	c := t.conn
	if c == nil {
		c = t.dialled
	}
	t.mu.Unlock()
	if c == nil {
		return nil
	}
	return c.refusal()
}

// refusal returns why a receiver that asked for a client certificate broke off
// before it ever answered on the connection, or nil where that is not what
// happened. With TLS 1.3 it says so after our side of the handshake has ended
// (RFC 8446, section 4.4.2.4), where the alert may be lost: HTTP/2's set-up
// swallows it, and a reset may overtake it.
func (c *conn) refusal() error {
	if !c.asked.Load() || c.answered.Load() {
		return nil
	}
	// The alert, if it was read before, is what every later read says.
	_ = c.session.SetReadDeadline(time.Now().Add(alertGrace))
	if _, err := c.session.Read(make([]byte, 1)); err != nil && strings.Contains(err.Error(), remoteAlert) {
		return tlsError(c.remote, err)
	}
	text := "the receiver asked for a client certificate and ended the connection: set client_certificate"
	if c.shown.Load() {
		text = "the receiver asked for a client certificate and ended the connection: it does not accept the one of client_certificate"
	}
	return &dialError{failure: cybervault.FailureTLS, text: text}
}

// alertGrace is how long the alert on a connection that has broken may take.
const alertGrace = 50 * time.Millisecond

func (t *trace) gotConn(info httptrace.GotConnInfo) {
	raw := info.Conn
	if session, ok := raw.(*tls.Conn); ok {
		raw = session.NetConn()
	}
	c, ok := raw.(*conn)
	if !ok {
		return
	}
	if info.WasIdle {
		c.reuse(info.IdleTime)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conn, t.stage, t.remote, t.peer = c, stageSend, c.remote, c.peer
	t.timings = cybervault.Timings{}
	if !info.Reused {
		t.timings.DNS, t.timings.Connect, t.timings.TLS = c.dns, c.connect, c.tls
	}
}

func (t *trace) wroteRequest(info httptrace.WroteRequestInfo) {
	if info.Err != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stage == stageSend {
		t.stage = stageWait
	}
}

func (t *trace) gotFirstByte() {
	at := t.now().Sub(t.start)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stage = stageHeaders
	t.timings.FirstByte = at
}

// record copies into x what is known now of the connection, and returns it, if
// the exchange got one, and how far it came.
func (t *trace) record(x *cybervault.Exchange) (*conn, stage) {
	t.mu.Lock()
	defer t.mu.Unlock()
	x.Timings, x.RemoteAddr, x.TLS = t.timings, t.remote, t.peer
	return t.conn, t.stage
}
