package testenv

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// stopTimeout bounds how long a server may take to end once asked to.
const stopTimeout = time.Minute

// ServerOptions say how a server is started.
type ServerOptions struct {
	// Args follow "serve". They should not hold --listen.
	Args []string
	// Env is added to the environment, of which nothing that starts with
	// CYBERVAULT_ is passed on.
	Env []string
	// Binary is the program to run, "" for the one that Binary builds.
	Binary string
	// Failpoint has the program of FailpointBinary run, and kill itself where this
	// says, "name:N": see Killed. It holds for the first start alone.
	Failpoint string
}

// Server is the real program, serving on a free port of loopback with a data
// directory and a bootstrap API key of its own. Its methods, Restart and what
// it calls apart, may be called from several goroutines.
type Server struct {
	APIKey string // of scope admin
	Dir    string // its working directory; the data directory is "data" in it

	t       testing.TB
	options ServerOptions
	log     *serverLog

	mu      sync.Mutex
	process *process // nil while it does not run
	url     string
}

// A process is one run of the program.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed once it has ended and err is set
	err   error
}

// StartServer starts a server and waits until it is ready. It is stopped when
// the test ends; if the test failed, the end of its log is shown. A server that
// finds a data race, or ends in another way than it was told to, fails the test.
func StartServer(t testing.TB, options ServerOptions) *Server {
	t.Helper()
	s := &Server{APIKey: "cvk_test_" + rand.Text(), Dir: t.TempDir(), t: t, options: options, log: new(serverLog)}
	switch {
	case s.options.Binary != "":
	case s.options.Failpoint != "":
		s.options.Binary = FailpointBinary(t)
	default:
		s.options.Binary = Binary(t)
	}
	t.Cleanup(s.cleanUp)
	s.start(options.Failpoint)
	return s
}

// URL is the server's address, "http://127.0.0.1:PORT". It changes with Restart.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.url
}

// Program is the path of the program that the server runs.
func (s *Server) Program() string { return s.options.Binary }

// Log returns the end of what the server has written to stdout and stderr.
func (s *Server) Log() string { return s.log.String() }

// Kill ends the server at once, as a power cut would: SIGKILL.
func (s *Server) Kill() {
	s.t.Helper()
	p := s.take()
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Fatalf("kill the server: %v", err)
	}
	<-p.ended
}

// Stop asks the server to end (SIGTERM), waits until it has, and fails the
// test unless it ended with status 0.
func (s *Server) Stop() {
	s.t.Helper()
	if err := s.take().stop(); err != nil {
		s.t.Errorf("stop the server: %v", err)
	}
}

// Restart starts a server that was killed or stopped again, on the same data
// directory and another port, and waits until it is ready.
func (s *Server) Restart() {
	s.t.Helper()
	s.mu.Lock()
	running := s.process != nil
	s.mu.Unlock()
	if running {
		s.t.Fatal("the server still runs: Kill or Stop it first")
	}
	s.start("")
}

// RestartWith is Restart with arguments added to those of the start; a flag that
// was given before is given anew.
func (s *Server) RestartWith(args ...string) {
	s.t.Helper()
	s.options.Args = append(slices.Clone(s.options.Args), args...)
	s.Restart()
}

// RestartAs is Restart with another program, such as that of another release.
func (s *Server) RestartAs(binary string) {
	s.t.Helper()
	s.options.Binary = binary
	s.Restart()
}

// Do sends a request with the server's API key, body as JSON, and returns the
// answer's status and body. A server that cannot be reached fails the test.
func (s *Server) Do(method, path, body string) (int, []byte) {
	s.t.Helper()
	status, answer, err := s.Try(context.Background(), method, path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	return status, answer
}

// Try is Do for a server that may be gone, and for other goroutines than the
// test's own.
func (s *Server) Try(ctx context.Context, method, path, body string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.URL()+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+s.APIKey)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil, fmt.Errorf("%s %s: read the answer: %w", method, path, err)
	}
	return resp.StatusCode, answer, nil
}

// start starts the program and waits until it is ready, or has killed itself
// where a failpoint says.
func (s *Server) start(failpoint string) {
	s.t.Helper()
	args := append([]string{"serve", "--listen", "127.0.0.1:0", "--data", filepath.Join(s.Dir, "data")}, s.options.Args...)
	cmd := exec.Command(s.options.Binary, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = s.Dir, s.log, s.log, dieWithTest()
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "CYBERVAULT_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "CYBERVAULT_BOOTSTRAP_API_KEY="+s.APIKey)
	cmd.Env = append(cmd.Env, s.options.Env...)
	if failpoint != "" {
		cmd.Env = append(cmd.Env, "CYBERVAULT_FAILPOINT="+failpoint)
	}
	addresses := s.log.watch()
	if err := cmd.Start(); err != nil {
		s.t.Fatalf("start the server: %v", err)
	}
	p := &process{cmd: cmd, ended: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	s.mu.Lock()
	s.process = p
	s.mu.Unlock()

	deadline := time.NewTimer(startTimeout)
	defer deadline.Stop()
	var address string
	select {
	case address = <-addresses:
	case <-p.ended:
		if failpoint != "" && p.killed() {
			return
		}
		s.t.Fatalf("the server ended instead of listening: %v", p.err)
	case <-deadline.C:
		s.t.Fatalf("the server did not log the address it listens on within %s", startTimeout)
	}
	s.mu.Lock()
	s.url = "http://" + address
	s.mu.Unlock()
	if err := until(startTimeout, p.ended, s.ready); err != nil && (failpoint == "" || !p.killed()) {
		s.t.Fatalf("the server: %v", err)
	}
}

func (s *Server) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	status, body, err := s.Try(ctx, http.MethodGet, "/readyz", "")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("GET /readyz: %d %s", status, body)
	}
	return err
}

// take returns the running process and forgets it.
func (s *Server) take() *process {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.process
	if p == nil {
		s.t.Fatal("the server does not run")
	}
	s.process = nil
	return p
}

func (p *process) stop() error {
	select {
	case <-p.ended:
		return fmt.Errorf("it had ended already: %w", p.err)
	default:
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	deadline := time.NewTimer(stopTimeout)
	defer deadline.Stop()
	select {
	case <-p.ended:
		return p.err
	case <-deadline.C:
		_ = p.cmd.Process.Kill() // it may end just now
		<-p.ended
		return fmt.Errorf("it did not end within %s and was killed", stopTimeout)
	}
}

func (s *Server) cleanUp() {
	s.mu.Lock()
	p := s.process
	s.process = nil
	s.mu.Unlock()
	if p != nil {
		if err := p.stop(); err != nil {
			s.t.Errorf("stop the server: %v", err)
		}
	}
	if strings.Contains(s.log.String(), "WARNING: DATA RACE") {
		s.t.Error("the server has a data race")
	}
	if s.t.Failed() {
		s.t.Logf("the server logged:\n%s", s.log)
	}
}

// A serverLog keeps the end of the log and finds the address in it.
type serverLog struct {
	tail

	mu   sync.Mutex
	line []byte        // what was written since watch, while nothing is found
	to   chan<- string // where the address goes; nil when nobody waits for it
}

// watch returns a channel that gets the next address that is logged.
func (l *serverLog) watch() <-chan string {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := make(chan string, 1)
	l.to, l.line = found, nil
	return found
}

// listening matches the line by which a server says where it listens, in
// either form of the log.
var listening = regexp.MustCompile(`"?msg"?[=:]"?listening"?\b.*\baddress"?[=:]"?([^\s",]+).*\n`)

// Write implements io.Writer.
func (l *serverLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	if l.to != nil {
		l.line = append(l.line, p...)
		if m := listening.FindSubmatch(l.line); m != nil {
			l.to <- string(m[1])
			l.to, l.line = nil, nil
		}
	}
	l.mu.Unlock()
	return l.tail.Write(p)
}
