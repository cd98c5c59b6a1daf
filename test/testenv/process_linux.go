package testenv

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// dieWithTest makes the kernel end a process when the test binary dies.
func dieWithTest() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// Resources of a process that Limit limits.
const (
	LimitFileSize = unix.RLIMIT_FSIZE // bytes; at 0 the system refuses every write to a file, whatever is on it
	LimitMemory   = unix.RLIMIT_DATA  // bytes it may write to, taken by whatever call
)

// Unlimited lifts a limit again.
const Unlimited = unix.RLIM_INFINITY

// Limit limits what the running server may have of a resource, from now on. Only
// the soft limit is set, so that lifting it needs no privilege. A start has none.
func (s *Server) Limit(resource int, to uint64) {
	s.t.Helper()
	var now unix.Rlimit
	err := unix.Prlimit(s.PID(), resource, nil, &now)
	if err == nil {
		now.Cur = min(to, now.Max)
		err = unix.Prlimit(s.PID(), resource, &now, nil)
	}
	if err != nil {
		s.t.Fatalf("limit the server's resource %d to %d: %v", resource, to, err)
	}
}

// Memory tells what the running server has, by the name that /proc/PID/status
// gives it, such as VmHWM, in bytes.
func (s *Server) Memory(name string) uint64 {
	s.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.PID()))
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			n, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			if err != nil {
				s.t.Fatalf("%s of the server: %v", name, err)
			}
			return n << 10
		}
	}
	s.t.Fatalf("the system tells no %s of the server", name)
	return 0
}
