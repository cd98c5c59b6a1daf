//go:build unix

package outbound

import (
	"net"
	"syscall"
)

// aliveProbe returns a function that asks the kernel whether an idle connection
// can carry a request: the peer has not closed it, and has sent nothing that
// nobody asked for (a 408 before it closes, or an answer meant for the next
// request). A request written to a peer that had closed would be lost for good,
// because a POST is not sent again once it has been written.
func aliveProbe(c net.Conn) func() bool {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return alwaysAlive
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return alwaysAlive
	}
	quiet := true
	var one [1]byte
	probe := func(fd uintptr) { // made once: no allocation a request
		// The socket does not block: the end is 0, a byte 1, silence EAGAIN.
		_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK)
		quiet = err == syscall.EAGAIN || err == syscall.EINTR
	}
	return func() bool { return raw.Control(probe) == nil && quiet }
}

func alwaysAlive() bool { return true }
