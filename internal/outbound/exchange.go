package outbound

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cybervault/cybervault"
)

const (
	// maxInlineBytes bounds a request that is written before the answer is
	// read: it fits into the buffers of the connection, whatever the receiver
	// does. A longer one is written beside the reading, since a receiver that
	// refuses it may answer and then read no more.
	maxInlineBytes = 16 << 10
	// uploadGrace is how long an upload may take to end once it was answered.
	uploadGrace = 50 * time.Millisecond
)

// wire holds the buffers of one exchange.
type wire struct {
	out  []byte // the request
	in   input
	head head
	body answerBody
}

// wirePool lends wires.
type wirePool struct{ pool sync.Pool }

func (p *wirePool) get() *wire {
	if w, ok := p.pool.Get().(*wire); ok {
		return w
	}
	return &wire{out: make([]byte, 0, inputBytes)}
}

func (p *wirePool) put(w *wire) {
	w.in.from = nil
	if cap(w.head.fields) > 256 || cap(w.out) > 2*maxInlineBytes {
		return // what one receiver or one webhook stretched is not kept for all
	}
	p.pool.Put(w)
}

// exchange is one request over a link and its answer.
type exchange struct {
	*Client
	x        *cybervault.Exchange
	start    time.Time
	deadline time.Time
	wire     *wire
	link     *link
	fresh    bool // the link was made for this exchange
	stage    stage
	upload   chan error // of a request that is written beside the reading
}

// http2Error ends an exchange over links before anything was sent: the
// connection that was made for it speaks HTTP/2.
type http2Error struct{ conn *conn }

func (*http2Error) Error() string { return "the receiver chose HTTP/2" }

// errNoLink ends an exchange whose failure is recorded already.
var errNoLink = errors.New("no connection came about")

// overLink makes an exchange over HTTP/1.1. The error is ctx's own, or a
// *http2Error.
func (c *Client) overLink(ctx context.Context, r *Request, t *target, id *identity, start time.Time, x *cybervault.Exchange) error {
	w := c.wires.get()
	defer c.wires.put(w)
	var err error
	if w.out, err = appendRequest(w.out[:0], t, r.Header, len(r.Body)); err != nil {
		x.Failure, x.Error = explain(err, false, c.timeout, stageStart, "")
		return nil
	}
	var rest []byte // of the request, if it is a long one
	if len(w.out)+len(r.Body) <= maxInlineBytes {
		w.out = append(w.out, r.Body...)
	} else {
		rest = r.Body
	}
	e := exchange{Client: c, x: x, start: start, deadline: time.Now().Add(c.timeout - r.Spent), wire: w}
	for {
		switch err := e.connect(ctx, t, id); {
		case errors.Is(err, errNoLink):
			return ctx.Err()
		case err != nil:
			return err
		}
		before := e.link.wrote
		err := e.roundTrip(rest)
		if err == nil {
			e.finish(id)
			return nil
		}
		// A peer that was given nothing has processed nothing.
		again := !e.fresh && e.link.wrote == before && ctx.Err() == nil && !errors.Is(err, os.ErrDeadlineExceeded)
		if !again {
			e.fail(ctx, err)
		}
		e.link.drop()
		if !again {
			return ctx.Err()
		}
	}
}

// connect gets a link: an idle one that is alive, or a new one. The error is
// errNoLink or a *http2Error.
func (e *exchange) connect(ctx context.Context, t *target, id *identity) error {
	e.stage, e.fresh = stageSend, false
	e.x.Timings = cybervault.Timings{}
	for {
		if e.link = id.idle.take(t.origin, e.start); e.link == nil {
			break
		}
		if e.link.usable(e.start.Sub(e.link.idleSince)) && e.link.begin(ctx, e.deadline) == nil {
			e.x.RemoteAddr, e.x.TLS = e.link.remote, e.link.peer
			return nil
		}
		e.link.drop()
	}
	made, err := e.dialLink(ctx, t, id)
	if err != nil {
		return err
	}
	if made.h2 {
		return &http2Error{made}
	}
	e.fresh, e.link = true, newLink(made, t.origin)
	if err := e.link.begin(ctx, e.deadline); err != nil {
		e.fail(ctx, err)
		e.link.drop()
		return errNoLink
	}
	return nil
}

// dialLink makes a connection, or records why there is none.
func (e *exchange) dialLink(ctx context.Context, t *target, id *identity) (*conn, error) {
	trace := &trace{now: e.now, start: e.start}
	dial, cancel := context.WithDeadline(context.WithValue(ctx, traceKey{}, trace), e.deadline)
	defer cancel()
	var made *conn
	var err error
	if t.https() {
		made, err = e.dialTLS(dial, t.address, id.config, id.via)
	} else {
		made, err = e.dial(dial, t.address, "http", id.via)
	}
	if err == nil {
		e.x.RemoteAddr, e.x.TLS = made.remote, made.peer
		e.x.Timings = cybervault.Timings{DNS: made.dns, Connect: made.connect, TLS: made.tls}
		return made, nil
	}
	_, at := trace.record(e.x)
	if ctx.Err() == nil {
		e.x.Failure, e.x.Error = explain(err, !time.Now().Before(e.deadline), e.timeout, at, e.x.RemoteAddr)
	}
	return nil, errNoLink
}

// roundTrip sends the request and reads the head of the answer into e.x. An
// answer counts even if the request could not be sent to its end: a receiver
// may refuse it by what it has read.
func (e *exchange) roundTrip(rest []byte) error {
	w, l := e.wire, e.link
	w.in.reset(l)
	var unsent error
	if rest == nil {
		if _, unsent = l.Write(w.out); unsent == nil {
			e.stage = stageWait
		}
	} else {
		e.upload = make(chan error, 1)
		go upload(l, w.out, rest, e.upload)
	}
	left := MaxAnswerHeaderBytes
	for {
		head, err := e.readHead(&left)
		if err != nil {
			if e.upload != nil {
				unsent = e.abandon()
			}
			if unsent != nil && e.stage == stageSend && errors.Is(err, io.EOF) {
				err = unsent
			}
			return err
		}
		if s := w.head.status; s >= 200 || s == 101 {
			if unsent != nil {
				w.head.keep = false
			}
			e.answered(head)
			return nil
		}
	}
}

// readHead reads one head and notes when the first byte of any came.
func (e *exchange) readHead(left *int) ([]byte, error) {
	in := &e.wire.in
	if e.stage != stageHeaders {
		if in.r == in.w {
			if err := in.fill(); err != nil {
				return nil, err
			}
		}
		e.stage = stageHeaders
		e.x.Timings.FirstByte = e.now().Sub(e.start)
	}
	return in.head(&e.wire.head, left)
}

// upload writes a request in two parts.
func upload(to io.Writer, head, body []byte, done chan<- error) {
	_, err := to.Write(head)
	if err == nil {
		_, err = to.Write(body)
	}
	done <- err
}

// abandon ends the upload with the connection and says why it had ended before,
// if it had.
func (e *exchange) abandon() error {
	select {
	case err := <-e.upload:
		if err == nil && e.stage == stageSend {
			e.stage = stageWait
		}
		e.upload = nil
		return err
	default:
	}
	e.link.drop()
	<-e.upload //nolint:errcheck // that it was broken off
	e.upload = nil
	return nil
}

// uploaded waits for the end of an upload that was answered.
func (e *exchange) uploaded() bool {
	if e.upload == nil {
		return true
	}
	select {
	case err := <-e.upload:
		e.upload = nil
		return err == nil
	default:
	}
	if e.wire.head.keep {
		_ = e.link.SetWriteDeadline(time.Now().Add(uploadGrace))
	} else {
		e.link.drop()
	}
	err := <-e.upload
	e.upload = nil
	return err == nil
}

// answered records a complete head.
func (e *exchange) answered(head []byte) {
	h, l, x := &e.wire.head, e.link, e.x
	l.answered.Store(true)
	text := func(f field) string { return string(head[f.value:f.valueEnd]) }
	x.Status, x.Protocol = h.status, h.protocol()
	if mayAskToWait(h.status) && h.retryAfter != (field{}) {
		x.RetryAfter = retryDelay(text(h.retryAfter), text(h.date), e.now())
	}
	if h.keepAlive != (field{}) {
		l.noteKeepAlive(text(h.keepAlive))
	}
	x.Answer = h.kept(head)
}

// kept returns the headers sorted by name, within the limits. All of them share
// one string.
func (h *head) kept(b []byte) []cybervault.Header {
	slices.SortStableFunc(h.fields, func(a, c field) int {
		return bytes.Compare(b[a.name:a.nameEnd], b[c.name:c.nameEnd])
	})
	size, count := 0, 0
	for _, f := range h.fields {
		more := f.nameEnd - f.name + f.valueEnd - f.value
		if count == MaxKeptAnswerHeaders || size+more > MaxKeptAnswerHeaderBytes {
			break
		}
		size += more
		count++
	}
	if count == 0 {
		return nil
	}
	var all strings.Builder
	all.Grow(size)
	for _, f := range h.fields[:count] {
		all.Write(b[f.name:f.nameEnd])
		all.Write(b[f.value:f.valueEnd])
	}
	rest := all.String()
	out := make([]cybervault.Header, count)
	for i, f := range h.fields[:count] {
		name, value := f.nameEnd-f.name, f.nameEnd-f.name+f.valueEnd-f.value
		// Bytes of any encoding may come; the store and JSON take UTF-8.
		out[i] = cybervault.Header{Name: rest[:name], Value: strings.ToValidUTF8(rest[name:value], "?")}
		rest = rest[value:]
	}
	return out
}

// finish reads the body and gives the link back if it can carry another
// exchange: the answer has ended where it said it would, and nothing follows.
func (e *exchange) finish(id *identity) {
	w, l := e.wire, e.link
	ended := true
	if w.head.length != 0 {
		l.grace = e.grace
		w.body = answerBody{in: &w.in, length: w.head.length}
		e.x.Body, e.x.BodyCut = e.bodies.read(&w.body)
		ended = errors.Is(w.body.err, io.EOF)
	}
	w.head.keep = w.head.keep && ended
	long := e.upload != nil
	sent := e.uploaded()
	switch {
	case sent && w.head.keep && w.in.r == w.in.w && l.end():
		id.idle.put(l, e.now())
	case long || !sent:
		l.drop()
	default:
		l.close()
	}
}

// fail records why there is no answer.
func (e *exchange) fail(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	timedOut := errors.Is(err, os.ErrDeadlineExceeded)
	if !timedOut && brokenOff(err) {
		if refused := e.link.refusal(); refused != nil {
			err = refused
		}
	}
	e.x.Failure, e.x.Error = explain(err, timedOut, e.timeout, e.stage, e.x.RemoteAddr)
}
