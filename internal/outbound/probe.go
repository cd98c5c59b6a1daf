package outbound

import (
	"context"

	"github.com/cybervault/cybervault"
)

// Probe connects to a receiver as an attempt would, by the same rules and within
// the same time, TLS included, and closes the connection without a request. The
// error is ctx's own.
func (c *Client) Probe(ctx context.Context, r Request) (cybervault.Exchange, error) {
	start := c.now()
	x := cybervault.Exchange{URL: r.URL}
	t, id, refused := c.prepare(&r)
	if refused != nil {
		x.Failure, x.Error = refused.failure, refused.text
		return x, nil
	}
	dial, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	trace := &trace{now: c.now, start: start}
	dial = context.WithValue(dial, traceKey{}, trace)
	var made *conn
	var err error
	if t.https() {
		made, err = c.dialTLS(dial, t.address, id.config, id.via)
	} else {
		made, err = c.dial(dial, t.address, "http", id.via)
	}
	_, at := trace.record(&x)
	x.Elapsed = c.now().Sub(start)
	if err != nil {
		if ctx.Err() != nil {
			return x, ctx.Err()
		}
		x.Failure, x.Error = explain(err, dial.Err() != nil, c.timeout, at, x.RemoteAddr)
		return x, nil
	}
	x.TLS, x.RemoteAddr = made.peer, made.remote
	if made.session != nil {
		_ = made.session.Close()
	} else {
		_ = made.Close()
	}
	return x, nil
}
