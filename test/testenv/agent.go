package testenv

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Agent is the real program as an agent, with a directory of its own that outlives it.
type Agent struct {
	Dir string // "data" in it is the agent's

	t       testing.TB
	program string
	server  string
	args    []string
	log     *serverLog
	process *process
}

// StartAgent starts an agent that enrols by a token. It is killed when the test ends. Of
// packages it tells only where args say which system's.
func StartAgent(t testing.TB, program, server, token string, args ...string) *Agent {
	t.Helper()
	a := &Agent{Dir: t.TempDir(), t: t, program: program, server: server, args: args, log: new(serverLog)}
	t.Cleanup(func() {
		if a.process != nil {
			_ = a.process.cmd.Process.Kill() // it may have ended
			<-a.process.ended
		}
		if t.Failed() {
			t.Logf("the agent said:\n%s", a.log)
		}
	})
	a.start("CYBERVAULT_AGENT_TOKEN=" + token)
	return a
}

// Start starts it again, without a token.
func (a *Agent) Start() {
	a.t.Helper()
	a.start()
}

func (a *Agent) start(env ...string) {
	a.t.Helper()
	cmd := exec.Command(a.program, append([]string{"agent", "--server", a.server, "--data", filepath.Join(a.Dir, "data"), "--packages", "none"}, a.args...)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = a.Dir, a.log, a.log, dieWithTest()
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "CYBERVAULT_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, env...)
	if err := cmd.Start(); err != nil {
		a.t.Fatalf("start the agent: %v", err)
	}
	p := &process{cmd: cmd, ended: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	a.process = p
}

// Signal sends it a signal, such as SIGSTOP.
func (a *Agent) Signal(s syscall.Signal) {
	a.t.Helper()
	if err := a.process.cmd.Process.Signal(s); err != nil {
		a.t.Fatalf("signal the agent: %v", err)
	}
}

// Kill ends it at once.
func (a *Agent) Kill() {
	a.t.Helper()
	a.Signal(syscall.SIGKILL)
	<-a.process.ended
	a.process = nil
}

// Stop asks it to end, and fails the test unless it ends well.
func (a *Agent) Stop() {
	a.t.Helper()
	if err := a.process.stop(); err != nil {
		a.t.Errorf("stop the agent: %v", err)
	}
	a.process = nil
}

// Ended waits until it has ended by itself, and returns what it said.
func (a *Agent) Ended() string {
	a.t.Helper()
	<-a.process.ended
	a.process = nil
	return a.log.String()
}
