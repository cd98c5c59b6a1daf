package testenv_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault/test/testenv"
)

// TestMain makes this test binary serve as the program under test when it is
// started as one: a server that tells what it was given.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		os.Exit(serve())
	}
	m.Run()
}

func serve() int {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 1
	}
	asked := 0
	mux := http.NewServeMux()
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if asked++; asked < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("/told", func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode([]string{
			os.Args[len(os.Args)-1], os.Getenv("CYBERVAULT_LOG_LEVEL"), os.Getenv("CYBERVAULT_DEV"),
			r.Header.Get("Authorization"), "Bearer " + os.Getenv("CYBERVAULT_BOOTSTRAP_API_KEY"),
		})
	})
	fmt.Fprintln(os.Stderr, "a line before")
	slog.New(slog.NewTextHandler(os.Stderr, nil)).Info("listening", "address", l.Addr().String())
	go func() { _ = http.Serve(l, mux) }()
	<-stop
	return 0
}

func startFake(t *testing.T) *testenv.Server {
	t.Helper()
	return testenv.StartServer(t, testenv.ServerOptions{Binary: os.Args[0], Args: []string{"--extra"}, Env: []string{"CYBERVAULT_LOG_LEVEL=debug"}})
}

func TestServerIsGivenItsArgumentsAndEnvironment(t *testing.T) {
	t.Setenv("CYBERVAULT_DEV", "of the person who runs the tests")
	s := startFake(t)
	status, body := s.Do(http.MethodGet, "/told", "")
	if status != http.StatusOK {
		t.Fatalf("status = %d", status)
	}
	var told []string
	if err := json.Unmarshal(body, &told); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"--extra", "debug", "", "Bearer " + s.APIKey, "Bearer " + s.APIKey}, told); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestServerIsKilledStoppedAndRestarted(t *testing.T) {
	t.Parallel()
	s := startFake(t)
	s.Kill()
	if _, _, err := s.Try(t.Context(), http.MethodGet, "/told", ""); err == nil {
		t.Error("a killed server answers")
	}
	s.Restart()
	s.Stop()
	if _, _, err := s.Try(t.Context(), http.MethodGet, "/told", ""); err == nil {
		t.Error("a stopped server answers")
	}
	s.Restart()
	if status, _ := s.Do(http.MethodGet, "/told", ""); status != http.StatusOK {
		t.Errorf("status = %d after the second restart", status)
	}
	if _, err := os.Stat(filepath.Join(s.Dir, "data")); err == nil {
		t.Error("the data directory was made by testenv; that is for the server")
	}
}

func TestReceiverRecordsAndAnswersAsTold(t *testing.T) {
	t.Parallel()
	r := testenv.NewPlainReceiver(t)
	post := func() int {
		t.Helper()
		resp, err := http.Post(r.URL+"/in?a=b", "application/json", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	if got := post(); got != http.StatusOK {
		t.Errorf("status = %d, want 200 until told otherwise", got)
	}
	r.AnswerWith(func(w http.ResponseWriter, _ *http.Request, got testenv.Received) { w.WriteHeader(500 + got.Number) })
	if got := post(); got != 502 {
		t.Errorf("status = %d, want the answer to know the request's number", got)
	}
	got := r.WaitFor(time.Minute, 2)
	if len(got) != 2 || got[1].Number != 2 || got[1].Path != "/in?a=b" || got[1].Method != http.MethodPost ||
		got[1].Header.Get("Content-Type") != "application/json" || got[1].At.IsZero() {
		t.Errorf("recorded %+v", got)
	}
}

func TestReceiverWaitsForWhatIsStillToCome(t *testing.T) {
	t.Parallel()
	r := testenv.NewPlainReceiver(t)
	asked := make(chan struct{}, 10)
	go func() {
		<-asked // Wait has seen that nothing is there
		if resp, err := http.Get(r.URL); err == nil {
			resp.Body.Close()
		}
	}()
	got := r.Wait(time.Minute, "a request", func(got []testenv.Received) bool {
		asked <- struct{}{}
		return len(got) == 1
	})
	if len(got) != 1 {
		t.Errorf("got %d requests, want 1", len(got))
	}
}
