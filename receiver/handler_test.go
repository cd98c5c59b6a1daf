package receiver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// deliver sends body to h as CyberVault would.
func deliver(t *testing.T, h http.Handler, body []byte) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/hooks/cybervault", bytes.NewReader(body))
	r.Header = headers(t, now, body, oldSecret)
	r.Header.Set(HeaderDelivery, "dlv_01946a60-dcd1-7aaa-8a00-5d0c9b7e3f12")
	r.Header.Set(HeaderAttempt, "2")
	r.Header.Set(HeaderSequence, "42")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func options() Options {
	return Options{Secrets: []string{oldSecret}, Verify: []Option{at(now)}}
}

func TestHandlerGivesTheEvent(t *testing.T) {
	t.Parallel()
	var got Event
	h := Handler(options(), func(_ context.Context, e Event) error {
		got = e
		return nil
	})
	if w := deliver(t, h, body); w.Code != http.StatusOK {
		t.Fatalf("answered %d", w.Code)
	}
	var data struct {
		ThreatID   string  `json:"threat_id"`
		Confidence float64 `json:"confidence"`
	}
	if err := got.Decode(&data); err != nil {
		t.Fatal(err)
	}
	if data.ThreatID != "thr_94x2k1" || data.Confidence != 0.98 {
		t.Errorf("data: %+v", data)
	}
	if got.ID != "wh_01946a60-dcd0-7f21-8a00-5d0c9b7e3f12" || got.Type != "threat.detected" ||
		!got.Timestamp.Equal(time.Date(2025, 1, 15, 14, 32, 0, 0, time.UTC)) ||
		got.Metadata != (Metadata{"ws_01942600-1a2b-7c3d-8e00-4f5061728394", "ai_v3.1", "idm_x9z8y7w6"}) ||
		got.Delivery != "dlv_01946a60-dcd1-7aaa-8a00-5d0c9b7e3f12" || got.Attempt != 2 || got.Sequence != 42 || got.Test ||
		!bytes.Equal(got.Body, body) {
		t.Errorf("event: %+v", got)
	}
	if err := got.Decode(&[]int{}); err == nil || !strings.Contains(err.Error(), "threat.detected") {
		t.Errorf("an object read as a list: %v", err)
	}
}

func TestHandlerAnswers(t *testing.T) {
	t.Parallel()
	broken := errors.New("database is away")
	ok := func(context.Context, Event) error { return nil }
	failing := func(err error) func(context.Context, Event) error {
		return func(context.Context, Event) error { return err }
	}
	tests := []struct {
		name       string
		handle     func(context.Context, Event) error
		change     func(*http.Request)
		options    func(*Options)
		body       []byte
		status     int
		header     [2]string
		errorIs    error
		errorText  string
		notHandled bool
	}{
		{name: "handled", handle: ok, status: 200},
		{name: "failed", handle: failing(broken), status: 500, errorIs: broken},
		{name: "try later", handle: failing(RetryAfter(90*time.Second, broken)), status: 503, header: [2]string{"Retry-After", "90"}, errorIs: broken},
		{name: "try in a moment", handle: failing(RetryAfter(time.Millisecond, nil)), status: 503, header: [2]string{"Retry-After", "1"}, errorText: "Service Unavailable"},
		{name: "wrapped", handle: failing(fmt.Errorf("queue: %w", RetryAfter(1500*time.Millisecond, broken))), status: 503, header: [2]string{"Retry-After", "2"}, errorIs: broken},
		{name: "gone", handle: failing(Gone(broken)), status: 410, errorIs: broken},
		{name: "forged", change: func(r *http.Request) { r.Header.Set(HeaderSignatures, "v1,AAAA") }, status: 401, errorIs: ErrMismatch, notHandled: true},
		{name: "unsigned", change: func(r *http.Request) { r.Header = http.Header{} }, status: 401, errorIs: ErrUnsigned, notHandled: true},
		{name: "old", options: func(o *Options) { o.Verify = []Option{at(now.Add(time.Hour))} }, status: 401, errorIs: ErrExpired, notHandled: true},
		{name: "no secret configured", options: func(o *Options) { o.Secrets = nil }, status: 500, errorIs: ErrSecret, notHandled: true},
		{name: "GET", change: func(r *http.Request) { r.Method = http.MethodGet }, status: 405, header: [2]string{"Allow", "POST"}, errorText: "the method is GET", notHandled: true},
		{name: "body at the limit", handle: ok, options: func(o *Options) { o.MaxBodyBytes = int64(len(body)) }, status: 200},
		{name: "body over the limit", options: func(o *Options) { o.MaxBodyBytes = int64(len(body)) - 1 }, status: 413, errorText: "longer than", notHandled: true},
		{name: "no event", body: []byte(`{"hello":"there"}`), status: 400, errorText: "no id or no event type", notHandled: true},
		{name: "not JSON", body: []byte(`hello`), status: 400, errorText: "is not an event", notHandled: true},
		{name: "store fails", options: func(o *Options) { o.Store = brokenStore{} }, status: 500, errorText: "store: disk is away", notHandled: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := options()
			var reported error
			o.OnError = func(_ *http.Request, err error) { reported = err }
			if tt.options != nil {
				tt.options(&o)
			}
			if tt.body == nil {
				tt.body = body
			}
			r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(tt.body))
			r.Header = headers(t, now, tt.body, oldSecret)
			if tt.change != nil {
				tt.change(r)
			}
			handled := false
			w := httptest.NewRecorder()
			Handler(o, func(ctx context.Context, e Event) error {
				handled = true
				if tt.handle == nil {
					return nil
				}
				return tt.handle(ctx, e)
			}).ServeHTTP(w, r)
			if w.Code != tt.status {
				t.Errorf("answered %d, want %d", w.Code, tt.status)
			}
			if tt.header[0] != "" && w.Header().Get(tt.header[0]) != tt.header[1] {
				t.Errorf("%s is %q, want %q", tt.header[0], w.Header().Get(tt.header[0]), tt.header[1])
			}
			if handled == tt.notHandled {
				t.Errorf("handled: %v", handled)
			}
			if (reported != nil) != (tt.status != 200) {
				t.Fatalf("reported %v", reported)
			}
			if tt.errorIs != nil && !errors.Is(reported, tt.errorIs) || reported != nil && !strings.Contains(reported.Error(), tt.errorText) {
				t.Errorf("reported %v", reported)
			}
			if reported != nil && strings.Contains(w.Body.String(), reported.Error()) && tt.errorText != "Service Unavailable" {
				t.Errorf("the sender is told %q", w.Body)
			}
		})
	}
}

type brokenStore struct{}

var errDisk = errors.New("disk is away")

func (brokenStore) Claim(context.Context, string) (Claim, error) { return 0, errDisk }
func (brokenStore) Done(context.Context, string) error           { return errDisk }
func (brokenStore) Release(context.Context, string) error        { return errDisk }

func TestARepeatedDeliveryIsHandledOnce(t *testing.T) {
	t.Parallel()
	o := options()
	o.Store = NewMemoryStore(10)
	handled := 0
	h := Handler(o, func(context.Context, Event) error { handled++; return nil })
	for range 3 {
		if w := deliver(t, h, body); w.Code != http.StatusOK {
			t.Fatalf("answered %d", w.Code)
		}
	}
	if handled != 1 {
		t.Errorf("handled %d times", handled)
	}
	// Another workspace's key of the same name is another event.
	other := bytes.Replace(body, []byte("ws_01942600"), []byte("ws_01942601"), 1)
	if deliver(t, h, other); handled != 2 {
		t.Errorf("handled %d times after another workspace's event", handled)
	}
}

func TestWhatFailedIsHandledAgain(t *testing.T) {
	t.Parallel()
	o := options()
	o.Store = NewMemoryStore(10)
	turn := 0
	h := Handler(o, func(context.Context, Event) error {
		switch turn++; turn {
		case 1:
			return errors.New("not now")
		case 2:
			panic("a bug")
		}
		return nil
	})
	if w := deliver(t, h, body); w.Code != http.StatusInternalServerError {
		t.Errorf("first: %d", w.Code)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed: net/http should see it")
			}
		}()
		deliver(t, h, body)
	}()
	if w := deliver(t, h, body); w.Code != http.StatusOK || turn != 3 {
		t.Errorf("third: %d after %d turns", w.Code, turn)
	}
	if w := deliver(t, h, body); w.Code != http.StatusOK || turn != 3 {
		t.Errorf("fourth: %d after %d turns", w.Code, turn)
	}
}

func TestAnAttemptWhileAnotherIsHandledMustWait(t *testing.T) {
	t.Parallel()
	o := options()
	o.Store = NewMemoryStore(10)
	started, finish := make(chan struct{}), make(chan struct{})
	h := Handler(o, func(context.Context, Event) error {
		close(started)
		<-finish
		return nil
	})
	var group sync.WaitGroup
	group.Go(func() {
		if w := deliver(t, h, body); w.Code != http.StatusOK {
			t.Errorf("the first: %d", w.Code)
		}
	})
	<-started
	if w := deliver(t, h, body); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "5" {
		t.Errorf("the second: %d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
	}
	close(finish)
	group.Wait()
	if w := deliver(t, h, body); w.Code != http.StatusOK {
		t.Errorf("the third: %d", w.Code)
	}
}

// A store that cannot keep what was done is a failure, so that the event comes again.
func TestDoneMustBeKept(t *testing.T) {
	t.Parallel()
	o := options()
	store := &forgetful{MemoryStore: NewMemoryStore(0)}
	o.Store = store
	if w := deliver(t, Handler(o, func(context.Context, Event) error { return nil }), body); w.Code != http.StatusInternalServerError {
		t.Errorf("answered %d", w.Code)
	}
	if claim, _ := store.Claim(t.Context(), "ws_01942600-1a2b-7c3d-8e00-4f5061728394/idm_x9z8y7w6"); claim != ClaimFresh {
		t.Errorf("claim afterwards: %v", claim)
	}
}

type forgetful struct{ *MemoryStore }

func (forgetful) Done(context.Context, string) error { return errDisk }

func TestMemoryStoreIsBounded(t *testing.T) {
	t.Parallel()
	const most = 100
	s := NewMemoryStore(most)
	claim := func(key string) Claim {
		c, err := s.Claim(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if claim("busy") != ClaimFresh {
		t.Fatal("the first claim is not fresh")
	}
	for i := range 3 * most {
		key := strconv.Itoa(i)
		if claim(key) != ClaimFresh {
			t.Fatalf("%s is not fresh", key)
		}
		for range 2 { // twice is harmless
			if err := s.Done(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(s.handled) != most || len(s.order) != most || len(s.busy) != 1 {
		t.Errorf("%d handled in a list of %d, %d busy", len(s.handled), len(s.order), len(s.busy))
	}
	if claim("busy") != ClaimBusy {
		t.Error("a claim was forgotten")
	}
	if claim("299") != ClaimHandled || claim("200") != ClaimHandled {
		t.Error("one of the newest was forgotten")
	}
	if claim("199") != ClaimFresh {
		t.Error("one too many is remembered")
	}
}

// Of many that claim one key at once, one gets it.
func TestMemoryStoreGivesAClaimOnce(t *testing.T) {
	t.Parallel()
	s := NewMemoryStore(10)
	var group sync.WaitGroup
	var mu sync.Mutex
	answers := map[Claim]int{}
	for range 50 {
		group.Go(func() {
			c, _ := s.Claim(t.Context(), "key")
			mu.Lock()
			answers[c]++
			mu.Unlock()
		})
	}
	group.Wait()
	if answers[ClaimFresh] != 1 || answers[ClaimBusy] != 49 {
		t.Errorf("answers: %v", answers)
	}
}

func TestReadEventWithoutHeaders(t *testing.T) {
	t.Parallel()
	e, err := ReadEvent(http.Header{HeaderAttempt: {"x"}}, []byte(`{"id":"wh_1","event":"webhook.test"}`))
	if err != nil || e.Attempt != 0 || e.Sequence != 0 || e.Key() != "wh_1" {
		t.Errorf("%+v, %v", e, err)
	}
}
