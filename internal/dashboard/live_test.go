package dashboard_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/access"
	"github.com/cybervault/cybervault/internal/dashboard"
	"github.com/cybervault/cybervault/internal/dashboard/dashboardtest"
)

// stream is a response that is read while it is written.
type stream struct {
	*httptest.ResponseRecorder
	mu   sync.Mutex
	text strings.Builder
}

func (s *stream) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *stream) WriteString(text string) (int, error) { return s.Write([]byte(text)) }

func (s *stream) signals() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Count(s.text.String(), "event: changed\ndata: {}\n\n")
}

// nobody is a store of people without any: the bubble has no disk.
type nobody struct{ access.People }

func (nobody) HasOwner(context.Context) (bool, error) { return false, nil }

func (nobody) SessionByHash(context.Context, [32]byte) (*cybervault.Session, error) {
	return nil, cybervault.Errorf(cybervault.CodeNotFound, "no such session")
}

// listen opens the live stream within the bubble, and answers with it, a
// channel that is closed at its end, and a way to close it from the browser's side.
func listen(t *testing.T, f *dashboardtest.Fake) (s *stream, ended <-chan struct{}, leave, logout func()) {
	t.Helper()
	var session string
	people := access.New(nil, nobody{}, f.Workspace, time.Now, cybervault.NewIDSource(2, 0, time.Now))
	people.SetDashboardToken(dashboardtest.Token)
	cfg := config(f)
	cfg.Access = people
	h, err := dashboard.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if session, err = people.OperatorLogin(t.Context(), cybervault.Caller{}, dashboardtest.Token); err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(t.Context())
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/live", nil)
	r.AddCookie(&http.Cookie{Name: "cybervault_session", Value: session})
	s = &stream{ResponseRecorder: httptest.NewRecorder()}
	end := make(chan struct{})
	go func() {
		defer close(end)
		h.ServeHTTP(s, r)
	}()
	synctest.Wait()
	if got := s.Header().Get("Content-Type"); got != "text/event-stream" {
		t.Fatalf("the stream has Content-Type %q", got)
	}
	return s, end, leave, func() { _ = people.Logout(t.Context(), session) }
}

func TestLiveSignalsAtMostTwiceASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := dashboardtest.New(time.Now)
		s, ended, leave, _ := listen(t, f)
		if s.signals() != 0 {
			t.Fatal("a signal came before anything changed")
		}
		f.Signal()
		synctest.Wait()
		if s.signals() != 1 {
			t.Fatal("the first change was not told at once")
		}
		for range 1000 { // ten seconds of a commit every 10 ms
			f.Signal()
			<-time.After(10 * time.Millisecond) // the bubble's clock
		}
		if n := s.signals(); n < 20 || n > 21 {
			t.Errorf("%d signals in ten seconds, want 20 or 21", n)
		}
		f.Signal()
		<-time.After(time.Second) // the bubble's clock
		before := s.signals()
		<-time.After(10 * time.Second) // the bubble's clock
		if s.signals() != before {
			t.Error("signals came though nothing changed")
		}
		f.Signal()
		synctest.Wait()
		if s.signals() != before+1 {
			t.Error("the last change was lost")
		}
		leave()
		<-ended
		if f.Watchers() != 0 {
			t.Error("the watch was not stopped")
		}
	})
}

func TestLiveEndsWithTheSessionAndTheServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := dashboardtest.New(time.Now)
		_, ended, leave, logout := listen(t, f)
		defer leave()
		logout()
		<-ended // the bubble's clock runs on to the next heartbeat
	})
	synctest.Test(t, func(t *testing.T) {
		f := dashboardtest.New(time.Now)
		_, ended, leave, _ := listen(t, f)
		defer leave()
		f.StopServer()
		<-ended
	})
}
