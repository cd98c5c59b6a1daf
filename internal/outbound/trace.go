package outbound

import (
	"context"
	"crypto/tls"
	"net/http/httptrace"
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
	conn    *conn
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
	t.conn, t.stage, t.remote = c, stageSend, c.remote
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

// snapshot returns what is known now.
func (t *trace) snapshot() (cybervault.Timings, string, stage, *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.timings, t.remote, t.stage, t.conn
}
