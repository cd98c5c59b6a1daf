package e2e

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cybervault/cybervault/test/testenv"
)

// rawReceiver answers each connection on loopback by hand. It returns host:port.
func rawReceiver(t *testing.T, answer func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveRaw(t, l, answer)
	return l.Addr().String()
}

func serveRaw(t *testing.T, l net.Listener, answer func(net.Conn)) {
	t.Helper()
	var all sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, conn)
			mu.Unlock()
			all.Go(func() {
				defer conn.Close()
				answer(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, conn := range open {
			_ = conn.Close()
		}
		mu.Unlock()
		all.Wait()
	})
}

// afterRequest reads one request, then answers.
func afterRequest(answer func(net.Conn)) func(net.Conn) {
	return func(c net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			answer(c)
		}
	}
}

// forever writes the same again and again, with a pause, until the other side has had enough.
func forever(c net.Conn, text string, pause time.Duration) {
	tick := time.NewTicker(max(pause, time.Nanosecond))
	defer tick.Stop()
	for {
		if _, err := io.WriteString(c, text); err != nil {
			return
		}
		if pause > 0 {
			<-tick.C
		}
	}
}

// reset ends a connection with RST instead of FIN.
func reset(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }

// bomb is 64 MiB of zeros in 64 KiB.
var bomb = sync.OnceValue(func() []byte {
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	zeros := make([]byte, 1<<20)
	for range 64 {
		_, _ = zip.Write(zeros)
	}
	_ = zip.Close()
	return out.Bytes()
})

// tried is an attempt as the API shows it.
type tried struct {
	Succeeded  bool    `json:"succeeded"`
	Failure    *string `json:"failure"`
	Error      *string `json:"error"`
	Status     *int    `json:"status"`
	RemoteAddr *string `json:"remote_addr"`
	Body       *string `json:"response_body"`
	Base64     *string `json:"response_body_base64"`
	Cut        bool    `json:"response_body_truncated"`
	ElapsedMS  float64 `json:"elapsed_ms"`
	Timings    struct {
		Connect   *float64 `json:"connect_ms"`
		TLS       *float64 `json:"tls_ms"`
		FirstByte *float64 `json:"first_byte_ms"`
	} `json:"timings"`
}

type shownDelivery struct {
	ID            string     `json:"id"`
	Hook          string     `json:"webhook_id"`
	Status        string     `json:"status"`
	AttemptCount  int        `json:"attempt_count"`
	NextAttemptAt *time.Time `json:"next_attempt_at"`
	Attempts      []tried    `json:"attempts"`
}

// hostile is a receiver that does harm, and what is to become of a delivery to it.
type hostile struct {
	name     string
	url      string
	settings string // more of the webhook's, `,"accept":"any_2xx"`
	failure  string // "" where the delivery succeeds
	says     string // part of the diagnosis
	wait     time.Duration
	check    func(t *testing.T, a tried)
	silent   bool // no connection comes about, so there is no address
	secure   bool // TLS is made before it goes wrong
}

// deliverTo adds a webhook for each receiver and a healthy one beside them,
// publishes one event, and looks how each delivery of it ends.
func deliverTo(t *testing.T, server *testenv.Server, all []hostile) (hooks map[string]webhook) {
	t.Helper()
	healthy := testenv.NewPlainReceiver(t)
	well := addWebhook(t, server, healthy, "")
	hooks = map[string]webhook{}
	byHook := map[string]hostile{}
	for _, h := range all {
		settings := `{"url":"` + h.url + `","events":["threat.*"]` + h.settings
		if !strings.Contains(settings, "retry_schedule") {
			settings += `,"retry_schedule":[]`
		}
		hook := call[webhook](t, server, http.StatusCreated, http.MethodPost, "/v1/webhooks", settings+"}")
		hooks[h.name], byHook[hook.ID] = hook, h
	}
	event := call[published](t, server, http.StatusAccepted, http.MethodPost, "/v1/events", threat)
	healthy.WaitFor(patience, 1)
	if event.Deliveries != len(all)+1 {
		t.Fatalf("%d deliveries for %d webhooks", event.Deliveries, len(all)+1)
	}
	deliveries := call[list[shownDelivery]](t, server, http.StatusOK, http.MethodGet, "/v1/events/"+event.ID+"/deliveries?limit=200", "").Data
	for _, d := range deliveries {
		if d.Hook == well.ID {
			waitDelivery(t, server, d.ID, func(d delivery) bool { return d.Status == "delivered" && d.AttemptCount == 1 })
			continue
		}
		h := byHook[d.Hook]
		t.Run(h.name, func(t *testing.T) {
			waitDelivery(t, server, d.ID, func(d delivery) bool { return d.AttemptCount >= 1 })
			h.look(t, call[shownDelivery](t, server, http.StatusOK, http.MethodGet, "/v1/deliveries/"+d.ID, ""))
		})
	}
	return hooks
}

// look compares a delivery with what is to become of it.
func (h *hostile) look(t *testing.T, d shownDelivery) {
	t.Helper()
	if len(d.Attempts) != 1 {
		t.Fatalf("the delivery: %+v", d)
	}
	a := d.Attempts[0]
	if a.Failure == nil {
		a.Failure = new(string)
	}
	if a.Error == nil {
		a.Error = new(string)
	}
	want := "delivered"
	switch {
	case h.wait > 0:
		want = "pending"
		if d.NextAttemptAt == nil || !within(time.Until(*d.NextAttemptAt), h.wait) {
			t.Errorf("the next attempt is at %v, want it in %s", d.NextAttemptAt, h.wait)
		}
	case h.failure != "":
		want = "dead_letter"
	}
	if d.Status != want || *a.Failure != h.failure || a.Succeeded != (h.failure == "") || !strings.Contains(*a.Error, h.says) {
		t.Errorf("%s, failure %q: %q; want %s, %q that says %q", d.Status, *a.Failure, *a.Error, want, h.failure, h.says)
	}
	t.Logf("%s: %s %s", h.name, *a.Failure, *a.Error)
	if h.silent {
		return
	}
	if a.RemoteAddr == nil || !strings.HasPrefix(*a.RemoteAddr, "127.0.0.1:") || a.ElapsedMS <= 0 || a.Timings.Connect == nil {
		t.Errorf("the attempt has no address, or no time: %+v", a)
	}
	if h.secure && a.Timings.TLS == nil {
		t.Error("there is no time for TLS")
	}
	if (h.failure == "" || a.Status != nil) && a.Timings.FirstByte == nil {
		t.Error("there is no time for the first byte")
	}
	if h.check != nil {
		h.check(t, a)
	}
}

// within reports whether a wait that began a while ago is the one that was asked for.
func within(left, whole time.Duration) bool {
	return left <= whole+time.Second && left > whole-2*patience
}

// Receivers that do harm over plain HTTP: each attempt ends within its bounds,
// with a name and a sentence, and a healthy receiver beside them is served.
func TestHostileReceivers(t *testing.T) {
	t.Parallel()
	bomb() // packed before an attempt waits for it
	const ok = "HTTP/1.1 200 OK\r\n"
	var led atomic.Int64
	target := rawReceiver(t, func(net.Conn) { led.Add(1) })
	raw := func(answer func(net.Conn)) string { return "http://" + rawReceiver(t, afterRequest(answer)) + "/" }
	text := func(s string) string { return raw(func(c net.Conn) { _, _ = io.WriteString(c, s) }) }
	answering := func(answer testenv.Answer) string {
		r := testenv.NewPlainReceiver(t)
		r.AnswerWith(answer)
		return r.URL + "/"
	}
	closed := rawReceiver(t, func(net.Conn) {})
	nobody := testenv.Nobody(t)
	kept := func(t *testing.T, a tried) {
		t.Helper()
		if a.Body == nil || *a.Body == "" || len(*a.Body) > 64<<10 || !a.Cut {
			t.Errorf("the body is not kept in part: %v, cut %v", a.Body, a.Cut)
		}
	}
	pause := func(status int, retryAfter string) string {
		return answering(func(w http.ResponseWriter, _ *http.Request, _ testenv.Received) {
			w.Header().Set("Retry-After", retryAfter)
			w.WriteHeader(status)
		})
	}
	inTenMinutes := time.Now().Add(10 * time.Minute).UTC().Format(http.TimeFormat)
	all := []hostile{
		{name: "headers drip", failure: "timeout", says: "began to answer, but its headers did not come to an end", url: raw(func(c net.Conn) {
			_, _ = io.WriteString(c, ok)
			forever(c, "X-A: b\r\n", 200*time.Millisecond)
		})},
		{name: "never answers", failure: "timeout", says: "still waiting for the headers", url: raw(func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })},
		{name: "body drips", check: kept, url: raw(func(c net.Conn) {
			_, _ = io.WriteString(c, ok+"Content-Length: 1000000\r\n\r\n")
			forever(c, "x", 20*time.Millisecond)
		})},
		{name: "endless body", check: kept, url: raw(func(c net.Conn) {
			_, _ = io.WriteString(c, ok+"\r\n")
			forever(c, strings.Repeat("x", 4096), 0)
		})},
		{name: "gzip bomb", url: answering(func(w http.ResponseWriter, _ *http.Request, _ testenv.Received) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb())
		}), check: func(t *testing.T, a tried) {
			t.Helper()
			if a.Base64 == nil || !a.Cut {
				t.Fatalf("the bomb is kept as %v, cut %v", a.Body, a.Cut)
			}
			body, err := base64.StdEncoding.DecodeString(*a.Base64)
			if err != nil || len(body) < 16<<10 || len(body) > 64<<10 || !bytes.HasPrefix(bomb(), body) {
				t.Errorf("%d bytes of the bomb are kept, %v", len(body), err)
			}
		}},
		{name: "huge headers", failure: "protocol", says: "headers of the answer are longer than", url: raw(func(c net.Conn) {
			_, _ = io.WriteString(c, ok)
			forever(c, "X-A: "+strings.Repeat("b", 1000)+"\r\n", 0)
		})},
		{name: "1xx flood", failure: "protocol", says: "headers of the answer are longer than", url: raw(func(c net.Conn) {
			forever(c, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 0)
		})},
		{name: "1xx drip", failure: "timeout", says: "no answer within 5s", url: raw(func(c net.Conn) { forever(c, "HTTP/1.1 102 Processing\r\n\r\n", 200*time.Millisecond) })},
		{name: "garbage", failure: "protocol", says: "not HTTP", url: text("SSH-2.0-OpenSSH_9.2\r\n")},
		{name: "reset in the body", url: raw(func(c net.Conn) {
			_, _ = io.WriteString(c, ok+"Content-Length: 1000\r\n\r\npart")
			reset(c)
		})},
		{name: "reset before headers", failure: "protocol", says: "before it answered", url: raw(reset)},
		{name: "closes at once", failure: "protocol", says: "before it answered", url: "http://" + closed + "/"},
		{name: "nobody listens", failure: "connect", says: "connection refused by " + nobody, url: "http://" + nobody + "/", silent: true},
		{name: "redirect to metadata", failure: "redirect", says: `which leads to "http://169.254.169.254/latest/meta-data/"; redirects are never followed`,
			url: text("HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest/meta-data/\r\nContent-Length: 0\r\n\r\n")},
		{name: "redirect to another", failure: "redirect", says: "give the webhook the final URL",
			url: text("HTTP/1.1 307 Temporary Redirect\r\nLocation: http://" + target + "/\r\nContent-Length: 0\r\n\r\n")},
		{name: "204", failure: "status", says: "answered 204; this webhook counts only 200 and 201 as success: change it under Accept", url: answering(testenv.Status(204))},
		{name: "204 wanted", settings: `,"accept":"any_2xx"`, url: answering(testenv.Status(204))},
		{name: "410", failure: "status", says: "answered 410 Gone", url: answering(testenv.Status(410))},
		{name: "429 in seconds", settings: `,"retry_schedule":["1s"]`, failure: "status", says: "a pause of 5m", wait: 5 * time.Minute, url: pause(429, "300")},
		{name: "503 until", settings: `,"retry_schedule":["1s"]`, failure: "status", says: "a pause of", wait: 10 * time.Minute, url: pause(503, inTenMinutes)},
		{name: "503 for a month", settings: `,"retry_schedule":["1s"]`, failure: "status", says: "a day is waited", wait: 24 * time.Hour, url: pause(503, "2592000")},
	}
	server := testenv.StartServer(t, testenv.ServerOptions{Args: []string{"--dev"}})
	hooks := deliverTo(t, server, all)
	if n := led.Load(); n != 0 {
		t.Errorf("the redirect was followed %d times", n)
	}

	gone := call[struct {
		Status string  `json:"status"`
		Reason *string `json:"disabled_reason"`
	}](t, server, http.StatusOK, http.MethodGet, "/v1/webhooks/"+hooks["410"].ID, "")
	if gone.Status != "disabled" || gone.Reason == nil || *gone.Reason != "answered 410 Gone" {
		t.Errorf("the webhook that answered 410: %+v", gone)
	}
	waitFor(t, func() (bool, any) {
		alerts := call[list[json.RawMessage]](t, server, http.StatusOK, http.MethodGet, "/v1/events?event=system.alert", "").Data
		return len(alerts) == 1 && strings.Contains(string(alerts[0]), "webhook_disabled") && strings.Contains(string(alerts[0]), hooks["410"].ID), alerts
	}, "one alert about the disabled webhook")
}

// However many bombs go off, the server holds a bounded part of each.
func TestBombsDoNotFillTheMemory(t *testing.T) {
	t.Parallel()
	bomb() // packed before an attempt waits for it
	server := testenv.StartServer(t, testenv.ServerOptions{Args: []string{"--dev"}})
	endless := func(head, text string) string {
		return "http://" + rawReceiver(t, afterRequest(func(c net.Conn) {
			_, _ = io.WriteString(c, head)
			forever(c, text, 0)
		})) + "/"
	}
	packed := testenv.NewPlainReceiver(t)
	packed.AnswerWith(func(w http.ResponseWriter, _ *http.Request, _ testenv.Received) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(bomb())
	})
	urls := []string{
		packed.URL + "/", endless("HTTP/1.1 200 OK\r\n\r\n", strings.Repeat("x", 4096)),
		endless("HTTP/1.1 200 OK\r\n", "X-A: "+strings.Repeat("b", 1000)+"\r\n"), endless("", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
	}
	for _, url := range urls {
		call[webhook](t, server, http.StatusCreated, http.MethodPost, "/v1/webhooks", fmt.Sprintf(`{"url":%q,"events":["*"],"concurrency":32,"retry_schedule":[]}`, url))
	}
	const events = 150
	batch := "[" + strings.TrimSuffix(strings.Repeat(threat+",", events), ",") + "]"
	call[struct{}](t, server, http.StatusOK, http.MethodPost, "/v1/events/batch", batch)
	waitFor(t, func() (bool, any) {
		left := metric(t, server, `cybervault_deliveries_waiting{status="pending"}`)
		// A receiver that does nothing but fail is spared by its breaker: what is left of its deliveries waits.
		return left <= 2*events, left
	}, "the bombs have gone off")
	if heap := metric(t, server, "go_memstats_heap_sys_bytes"); heap > 400<<20 {
		t.Errorf("the heap took %d MiB", int(heap)>>20)
	}
}
