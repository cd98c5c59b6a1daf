package api_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/api"
)

// changeLog is a change log in memory. Its zero value is empty, and of a server
// that stops.
type changeLog struct {
	logMu   sync.Mutex
	rows    []cybervault.Change
	wake    chan struct{}
	asked   cybervault.ChangeQuery
	looks   int
	logFail error
	page    int // changes a look; 0: all
}

func (l *changeLog) Watch() (<-chan struct{}, func()) {
	l.logMu.Lock()
	defer l.logMu.Unlock()
	if l.wake == nil {
		closed := make(chan struct{})
		close(closed)
		return closed, func() {}
	}
	return l.wake, func() {}
}

func (l *changeLog) LastChange(context.Context) (cybervault.ChangePosition, error) {
	l.logMu.Lock()
	defer l.logMu.Unlock()
	return cybervault.ChangePosition{Transaction: int64(len(l.rows)), Mark: 7}, l.logFail
}

func (l *changeLog) Changes(_ context.Context, q cybervault.ChangeQuery) (cybervault.ChangePage, error) {
	l.logMu.Lock()
	defer l.logMu.Unlock()
	l.asked = q
	l.looks++
	if q.After.Mark != 7 || int(q.After.Transaction) > len(l.rows) {
		return cybervault.ChangePage{}, cybervault.Errorf(cybervault.CodeGone, "no such row")
	}
	rest := l.rows[q.After.Transaction:]
	page := cybervault.ChangePage{Rows: rest}
	if l.page > 0 && len(rest) > l.page {
		page.Rows, page.More = rest[:l.page], true
	}
	page.Next = cybervault.ChangePosition{Transaction: q.After.Transaction + int64(len(page.Rows)), Mark: 7}
	return page, l.logFail
}

// commit adds changes and tells whoever watches.
func (l *changeLog) commit(rows ...cybervault.Change) {
	l.logMu.Lock()
	defer l.logMu.Unlock()
	for _, c := range rows {
		c.At = cybervault.ChangePosition{Transaction: int64(len(l.rows)) + 1, Mark: 7}
		l.rows = append(l.rows, c)
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func anEvent() cybervault.Change {
	return cybervault.Change{Kind: cybervault.ChangeEvent, Event: sampleEvent()}
}

func aDelivery() cybervault.Change {
	return cybervault.Change{Kind: cybervault.ChangeDelivery, Delivery: sampleDelivery(), Status: cybervault.DeliveryHeld}
}

func anAttempt() cybervault.Change {
	return cybervault.Change{Kind: cybervault.ChangeAttempt, Delivery: sampleDelivery(), Attempt: sampleAttempt()}
}

// live is a fixture whose server does not stop.
func live(t *testing.T) *fixture {
	t.Helper()
	f := setUp(t)
	f.wake = make(chan struct{}, 1)
	return f
}

// item is one item of a stream.
type item struct{ id, event, data, comment string }

// readItem reads one item, or what stands for one: a comment, an id alone.
func readItem(r *bufio.Reader) (it item, err error) {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return it, err
		}
		switch name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": "); name {
		case "":
			if line == "\n" {
				return it, nil
			}
			it.comment = value
		case "id":
			it.id = value
		case "event":
			it.event = value
		case "data":
			it.data += value
		}
	}
}

// open begins a stream over a connection in memory, inside a synctest bubble, and
// returns what is read from it and the function that hangs up.
func (f *fixture) open(call string, header http.Header) (*bufio.Reader, func()) {
	f.t.Helper()
	ctx, cancel := context.WithCancel(f.t.Context())
	req := httptest.NewRequestWithContext(ctx, http.MethodGet, call, nil)
	maps.Copy(req.Header, header)
	req.Header.Set("Authorization", "Bearer "+readKey)
	r, w := net.Pipe()
	go func() {
		defer w.Close()
		f.handler.ServeHTTP(&pipeWriter{Conn: w, header: http.Header{}}, req)
	}()
	return bufio.NewReader(r), func() { cancel(); _ = r.Close() }
}

// pipeWriter writes an answer's body to a connection that holds nothing back.
type pipeWriter struct {
	net.Conn

	header http.Header
}

func (w *pipeWriter) Header() http.Header { return w.header }
func (w *pipeWriter) WriteHeader(int)     {}
func (w *pipeWriter) Flush()              {}

func want(t *testing.T, r *bufio.Reader) item {
	t.Helper()
	it, err := readItem(r)
	if err != nil {
		t.Fatalf("the stream ended: %v", err)
	}
	return it
}

func TestStreamItems(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.commit(anEvent(), aDelivery(), anAttempt())
	first := f.do(request{call: "GET /v1/stream", key: readKey})
	start, err := readItem(bufio.NewReader(first.Body))
	if err != nil || first.Code != http.StatusOK || first.Header().Get("Content-Type") != "text/event-stream" || first.Header().Get("X-Accel-Buffering") != "no" {
		t.Fatalf("%v; answered %d with %v", err, first.Code, first.Header())
	}
	if start.id == "" || start.data != "" {
		t.Errorf("a stream begins with %+v, want the position it begins at", start)
	}
	f.commit(anEvent(), aDelivery(), anAttempt())
	w := f.do(request{call: "GET /v1/stream", key: readKey, header: http.Header{"Last-Event-Id": {start.id}}})
	golden(t, "answers/stream.txt", w.Body.String())
}

func TestStreamFilters(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	header := http.Header{"Last-Event-Id": {api.EncodePosition(cybervault.ChangePosition{Mark: 7})}}
	w := f.do(request{call: "GET /v1/stream?events=threat.*,patch.failed&kinds=attempt,delivery&webhook=" + webhook1.String(), header: header})
	if w.Code != http.StatusOK {
		t.Fatalf("answered %d: %s", w.Code, w.Body)
	}
	q := f.changeLog.asked
	if q.Workspace != ws || q.Webhook != webhook1 || strings.Join(q.Types, " ") != "threat.* patch.failed" ||
		len(q.Kinds) != 2 || q.Kinds[0] != cybervault.ChangeAttempt || q.After.Mark != 7 {
		t.Errorf("asked for %+v", q)
	}
	for name, call := range map[string]string{
		"stream-kinds": "?kinds=event,retry", "stream-webhook": "?webhook=wh_1", "stream-events": "?events=a,,b",
		"stream-kinds-and-webhook": "?kinds=event&webhook=" + webhook1.String(), "stream-unknown": "?since=2026-01-01",
	} {
		w := f.do(request{call: "GET /v1/stream" + call})
		if w.Code != http.StatusUnprocessableEntity {
			t.Errorf("%s: answered %d", call, w.Code)
		}
		golden(t, "problems/"+name+".txt", w.Body.String())
	}
}

func TestStreamPositionsThatWillNotDo(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	for id, status := range map[string]int{
		"garbage": 400, "AAA=": 400, strings.Repeat("A", 100): 400,
		api.EncodePosition(cybervault.ChangePosition{Transaction: 99, Mark: 7}): 410, api.EncodePosition(cybervault.ChangePosition{Mark: 8}): 410,
	} {
		w := f.do(request{call: "GET /v1/stream", header: http.Header{"Last-Event-Id": {id}}})
		if w.Code != status || w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%q: answered %d, want %d: %s", id, w.Code, status, w.Body)
		}
	}
	f.logFail = cybervault.Errorf(cybervault.CodeUnavailable, "no store")
	if w := f.do(request{call: "GET /v1/stream"}); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("without a store: %d", w.Code)
	}
}

func TestStreamFollows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := live(t)
		f.changeLog.page = 2
		f.commit(anEvent())
		r, hangUp := f.open("/v1/stream", nil)
		defer hangUp()
		last := want(t, r).id
		for range 5 {
			f.commit(anEvent(), aDelivery(), anAttempt())
		}
		for i := range 15 {
			it := want(t, r)
			if kind := []string{"event", "delivery", "attempt"}[i%3]; it.event != kind || it.id == last {
				t.Fatalf("item %d is %+v, want one of kind %s", i, it, kind)
			}
			last = it.id
		}
		// Nobody tells of another node's commits: they are looked for.
		f.logMu.Lock()
		f.rows = append(f.rows, cybervault.Change{Kind: cybervault.ChangeEvent, Event: sampleEvent(), At: cybervault.ChangePosition{Transaction: 17, Mark: 7}})
		f.logMu.Unlock()
		began := time.Now()
		if it := want(t, r); it.event != "event" {
			t.Errorf("another node's event is %+v", it)
		}
		if waited := time.Since(began); waited > time.Second {
			t.Errorf("another node's commit was found after %v", waited)
		}
		if it := want(t, r); it.comment != "still here" || it.id != api.EncodePosition(cybervault.ChangePosition{Transaction: 17, Mark: 7}) {
			t.Errorf("a quiet stream says %+v", it)
		}
		close(f.wake)
		if it, err := readItem(r); !errors.Is(err, io.EOF) {
			t.Errorf("after the server's stop: %+v, %v", it, err)
		}
	})
}

// Many commits are few looks.
func TestStreamLooksSeldom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := live(t)
		r, hangUp := f.open("/v1/stream?kinds=attempt", nil)
		defer hangUp()
		want(t, r)
		for range 1000 {
			f.commit()
			<-time.After(time.Millisecond) // in virtual time
		}
		f.logMu.Lock()
		defer f.logMu.Unlock()
		if f.looks > 25 {
			t.Errorf("1,000 commits in a second were %d looks at the log", f.looks)
		}
	})
}

func TestStreamEndsWithItsKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := live(t)
		r, hangUp := f.open("/v1/stream", nil)
		defer hangUp()
		want(t, r)
		want(t, r) // a heartbeat
		f.revoked.Store(true)
		if it, err := readItem(r); !errors.Is(err, io.EOF) {
			t.Errorf("after the key was revoked: %+v, %v", it, err)
		}
	})
}

// A reader that does not read is cut off, while the log is hardly looked at.
func TestStreamCutsOffWhoDoesNotRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := live(t)
		f.changeLog.page = 10
		r, hangUp := f.open("/v1/stream", nil)
		defer hangUp()
		want(t, r)
		for range 1000 {
			f.commit(anEvent())
		}
		want(t, r)                // and nothing more
		<-time.After(time.Minute) // in virtual time
		f.logMu.Lock()
		looks := f.looks
		f.logMu.Unlock()
		if looks > 3 {
			t.Errorf("the log was looked at %d times for a reader that does not read", looks)
		}
		if _, err := io.ReadAll(r); err != nil && !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("the stream was not cut off: %v", err)
		}
	})
}

func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := live(t)
		var hangUps []func()
		for range api.MaxWorkspaceStreams {
			r, hangUp := f.open("/v1/stream", nil)
			want(t, r)
			hangUps = append(hangUps, hangUp)
		}
		w := f.do(request{call: "GET /v1/stream"})
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Errorf("one stream too many: answered %d", w.Code)
		}
		for _, hangUp := range hangUps {
			hangUp()
		}
		synctest.Wait()
		r, hangUp := f.open("/v1/stream", nil)
		defer hangUp()
		want(t, r)
	})
}

// Whatever is sent as a position is refused or is one that would be written so.
func FuzzPosition(f *testing.F) {
	f.Add(api.EncodePosition(cybervault.ChangePosition{Transaction: 1 << 62, Mark: 1 << 50, Done: 12}))
	f.Add("AQAA")
	f.Add("gICAgICAgICAAQAA")
	f.Fuzz(func(t *testing.T, s string) {
		p, ok := api.DecodePosition(s)
		if ok && (api.EncodePosition(p) != s || p.Transaction < 0 || p.Mark < 0 || p.Done < 0) {
			t.Errorf("%q is read as %+v", s, p)
		}
	})
}
