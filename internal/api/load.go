package api

import (
	"io"
	"net/http"
	"sync/atomic"

	"github.com/cybervault/cybervault"
)

// Bounds on what is taken on at once. What is beyond them is answered with 503
// straight away: a caller that waits holds memory too.
const (
	// MaxBodiesBytes bounds the bodies in memory of all requests together, from
	// the first byte that is read to the answer. What is made of a body, the
	// envelopes, is about as much again.
	MaxBodiesBytes = 128 << 20
	// MaxRequests bounds the requests under way, those about the server's own
	// health apart.
	MaxRequests = 4096
)

// What an upload of telemetry holds: it is read piece by piece, so the pieces
// count, not the whole. A small one is no piece yet.
const (
	telemetryBytes      = 4 << 20
	smallTelemetryBytes = 1 << 20
	smallTelemetry      = 16 << 10
)

// firstRead is how much of a body is made room for before any of it has come:
// what a caller says it will send is no reason to hold as much.
const firstRead = 1 << 20

// fullRetryAfter is how many seconds a caller is asked to wait when the disk is
// running full: a second changes nothing there.
const fullRetryAfter = 10

// Load is what the API has taken on. The zero value has the bounds above. Safe
// for concurrent use.
type Load struct {
	MaxBodiesBytes int64 // MaxBodiesBytes if 0
	MaxRequests    int64 // MaxRequests if 0

	bodies, requests            atomic.Int64
	refusedBodies, refusedCalls atomic.Int64
	most                        atomic.Int64
}

// LoadStats is what a Load is and was.
type LoadStats struct {
	BodyBytes       int64 // held now
	MostBodyBytes   int64 // held at once, ever
	Requests        int64 // under way
	RefusedMemory   int64 // for want of room for their bodies
	RefusedRequests int64 // because too many were under way
}

// Stats returns the counts as they are.
func (l *Load) Stats() LoadStats {
	return LoadStats{BodyBytes: l.bodies.Load(), MostBodyBytes: l.most.Load(), Requests: l.requests.Load(),
		RefusedMemory: l.refusedBodies.Load(), RefusedRequests: l.refusedCalls.Load()}
}

func (l *Load) maxBodies() int64 {
	if l.MaxBodiesBytes > 0 {
		return l.MaxBodiesBytes
	}
	return MaxBodiesBytes
}

// enter counts a request in; leave must follow where it is true.
func (l *Load) enter() bool {
	bound := l.MaxRequests
	if bound == 0 {
		bound = MaxRequests
	}
	if l.requests.Add(1) <= bound {
		return true
	}
	l.requests.Add(-1)
	l.refusedCalls.Add(1)
	return false
}

func (l *Load) leave() { l.requests.Add(-1) }

// hold takes room for n bytes of a body.
func (l *Load) hold(n int64) bool {
	held := l.bodies.Add(n)
	if held > l.maxBodies() {
		l.bodies.Add(-n)
		return false
	}
	for {
		if most := l.most.Load(); held <= most || l.most.CompareAndSwap(most, held) {
			return true
		}
	}
}

func (l *Load) give(n int64) { l.bodies.Add(-n) }

// hold takes room for n more bytes of the request's body, until it is answered.
func (c *call) hold(n int64) error {
	if !c.load.hold(n) {
		c.load.refusedBodies.Add(1)
		return cybervault.Errorf(cybervault.CodeUnavailable, "the requests under way have filled the %s that their bodies may take; nothing was kept, try again", byteSize(c.load.maxBodies()))
	}
	c.held += n
	return nil
}

// roomFor fails where a body of so many bytes does not fit now, before any of it
// is read. It takes nothing: see firstRead.
func (c *call) roomFor(n int64) error {
	if c.load.bodies.Load()+n <= c.load.maxBodies() {
		return nil
	}
	return c.hold(c.load.maxBodies() + 1)
}

// discard reads what is left of a body that is refused, so that the caller gets
// to read the answer. Nothing of it is held.
func (c *call) discard(limit int64) {
	if c.r.Header.Get("Expect") == "" { // it has not sent it, and will not
		_, _ = io.CopyN(io.Discard, c.r.Body, limit)
	}
}

// admit asks whether anything may be published now, before its body is read.
func (s *server) admit(c *call, limit int64) error {
	if s.Admit == nil {
		return nil
	}
	err := s.Admit(max(c.r.ContentLength, 0))
	if err == nil {
		return nil
	}
	c.discard(limit)
	p := asProblem(err)
	if p.status == http.StatusServiceUnavailable {
		p.retryAfter = fullRetryAfter
	}
	return p
}
