package testenv

import (
	"errors"
	"os/exec"
	"syscall"
	"time"
)

// RestartAt is Restart with a program that kills itself where a failpoint says,
// "name:N", which may be before it is ready.
func (s *Server) RestartAt(failpoint string) {
	s.t.Helper()
	s.mu.Lock()
	running := s.process != nil
	s.mu.Unlock()
	if running {
		s.t.Fatal("the server still runs: Kill or Stop it first")
	}
	s.options.Binary = FailpointBinary(s.t)
	s.start(failpoint)
}

// Gone returns a channel that is closed once the process that runs now has ended.
func (s *Server) Gone() <-chan struct{} {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		s.t.Fatal("the server does not run")
	}
	return s.process.ended
}

// Dead reports whether the server has ended by itself.
func (s *Server) Dead() bool {
	s.t.Helper()
	select {
	case <-s.Gone():
		return true
	default:
		return false
	}
}

// PID is the id of the process that runs now.
func (s *Server) PID() int {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		s.t.Fatal("the server does not run")
	}
	return s.process.cmd.Process.Pid
}

// Terminate asks the server to end (SIGTERM) and does not wait.
func (s *Server) Terminate() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		s.t.Fatal("the server does not run")
	}
	_ = s.process.cmd.Process.Signal(syscall.SIGTERM) // it may be gone already
}

// Killed waits until the server has killed itself at its failpoint, and reports
// whether it has within the limit; Restart or Kill may follow.
func (s *Server) Killed(limit time.Duration) bool {
	s.t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	select {
	case <-s.Gone():
	case <-deadline.C:
		return false
	}
	if p := s.take(); !p.killed() {
		s.t.Fatalf("the server did not kill itself, it ended: %v", p.err)
	}
	return true
}

// killed reports whether the process, which has ended, was ended by SIGKILL.
func (p *process) killed() bool {
	select {
	case <-p.ended:
	default:
		return false
	}
	exit, ok := errors.AsType[*exec.ExitError](p.err)
	if !ok {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}
