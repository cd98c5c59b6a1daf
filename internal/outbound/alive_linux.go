package outbound

import (
	"encoding/binary"
	"net"
	"syscall"
)

// tcpEstablished is TCP_ESTABLISHED of the kernel's tcp_states.h.
const tcpEstablished = 1

// aliveProbe returns a function that asks the kernel whether the peer has
// closed the connection. net/http learns it a moment later, when its reading
// goroutine runs; a request written in between would be lost for good, because
// a POST is not sent again once it has been written.
func aliveProbe(c net.Conn) func() bool {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return alwaysAlive
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return alwaysAlive
	}
	established := true
	probe := func(fd uintptr) { // made once: no allocation a request
		info, err := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_INFO)
		var b [4]byte // the first of struct tcp_info: tcpi_state leads
		binary.NativeEndian.PutUint32(b[:], uint32(info))
		established = err != nil || b[0] == tcpEstablished
	}
	return func() bool { return raw.Control(probe) == nil && established }
}

func alwaysAlive() bool { return true }
