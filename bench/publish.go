package bench

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// counter numbers events.
type counter struct{ last atomic.Int64 }

// take returns the first of n numbers that nobody else gets.
func (c *counter) take(n int64) int64 { return c.last.Add(n) - n }

// padding brings an envelope to about 600 bytes.
var padding = strings.Repeat("x", 170)

// data is the event data of every publish; sent is the moment of publishing in
// Unix nanoseconds, or 0.
func data(n, sent int64) string {
	return `{"threat_id":"thr_` + strconv.FormatInt(n, 10) + `","severity":"critical","source_ip":"203.0.113.42","target_asset":"prod-db-01","vector":"sql_injection","confidence":0.98,"mitre_id":"T1190","sent_at":` +
		strconv.FormatInt(sent, 10) + `,"note":"` + padding + `"}`
}

// envelope is a body of the same form and length as those of the server.
func envelope() []byte {
	id := "01947a2e-0000-7000-8000-000000000000"
	return []byte(`{"id":"wh_` + id + `","event":"threat.detected","timestamp":"2026-01-15T14:32:00.123Z","data":` + data(1000000, 0) +
		`,"metadata":{"workspace_id":"ws_` + id + `","engine_version":"ai_v1.0","idempotency_key":"idm_` + id + `"}}`)
}

// load is how events are published.
type load struct {
	types       []string // published in turn
	fanout      int      // webhooks that chose each type
	silent      int      // of the types, the last so many have webhooks that never answer, or none
	batch       int      // events that a call carries; 1: alone
	connections int
	keyed       bool // each event has a key, and is offered until it is taken
}

// expect is how many deliveries n events, a multiple of the types, come to.
func (l *load) expect(n int) int {
	return n / len(l.types) * (len(l.types) - l.silent) * l.fanout
}

// whole rounds a number of events up, so that each type has as many.
func (l *load) whole(n int) int {
	return (n + len(l.types) - 1) / len(l.types) * len(l.types)
}

// publish publishes n events and returns when the last call is answered.
func (s *site) publish(ctx context.Context, l *load, n int) error {
	var left atomic.Int64
	left.Store(int64(n))
	errs := make(chan error, l.connections)
	var wg sync.WaitGroup
	for range l.connections {
		wg.Go(func() {
			p := publisher{site: s, load: l}
			defer p.close()
			for ctx.Err() == nil {
				size := min(int64(l.batch), left.Add(-int64(l.batch))+int64(l.batch))
				if size <= 0 {
					return
				}
				send := p.send
				if l.keyed {
					send = p.insist
				}
				if err := send(ctx, size); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	return errLog(<-errs, s.server)
}

// publisher is one connection that publishes. It writes its requests by hand:
// the load shares the machine with what is measured, and net/http's client takes
// twice as much of it for an event that is published alone.
type publisher struct {
	*site
	load *load
	conn net.Conn
	in   *bufio.Reader
	out  bytes.Buffer
	body bytes.Buffer
}

func (p *publisher) close() {
	if p.conn != nil {
		_ = p.conn.Close()
	}
}

func (p *publisher) send(ctx context.Context, n int64) error {
	return p.sendFrom(ctx, p.b.next.take(n), n)
}

// sendFrom publishes n events, numbered from first on.
func (p *publisher) sendFrom(ctx context.Context, first, n int64) error {
	if p.conn == nil {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.server.address)
		if err != nil {
			return fmt.Errorf("connect to the server: %w", err)
		}
		p.conn, p.in = conn, bufio.NewReader(conn)
	}
	path := "/v1/events"
	p.body.Reset()
	if p.load.batch > 1 {
		path += "/batch"
		p.body.WriteByte('[')
	}
	for i := range n {
		if i > 0 {
			p.body.WriteByte(',')
		}
		eventType := p.load.types[(first+i)%int64(len(p.load.types))]
		key := ""
		if p.load.keyed {
			key = `"idempotency_key":"bench-` + strconv.FormatInt(first+i, 10) + `",`
		}
		p.body.WriteString(`{` + key + `"event":"` + eventType + `","data":` + data(first+i, 0) + `}`)
	}
	if p.load.batch > 1 {
		p.body.WriteByte(']')
	}
	p.out.Reset()
	fmt.Fprintf(&p.out, "POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n",
		path, p.server.address, benchKey, p.body.Len())
	p.out.Write(p.body.Bytes())
	if _, err := p.conn.Write(p.out.Bytes()); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return p.receive()
}

// receive reads the answer. A batch is answered 200 with an answer for each
// event; one that was refused would be missed as lost.
func (p *publisher) receive() error {
	resp, err := http.ReadResponse(p.in, nil)
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode/100 != 2 {
		answer, _ := io.ReadAll(resp.Body)
		return fmt.Errorf("publish: %s: %s", resp.Status, answer)
	}
	if !p.load.keyed {
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
		return nil
	}
	answer, err := io.ReadAll(resp.Body)
	if err == nil && !taken(answer) {
		err = errRefused
	}
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return nil
}
