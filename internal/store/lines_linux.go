package store

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// giveUpAfter has the kernel end a TCP connection when what was sent is not
// acknowledged for so long, instead of after a quarter of an hour.
func giveUpAfter(limit time.Duration) func(network, address string, c syscall.RawConn) error {
	return func(network, _ string, c syscall.RawConn) error {
		if len(network) < 3 || network[:3] != "tcp" {
			return nil
		}
		return c.Control(func(fd uintptr) {
			// Without it the connection is given up later, and the pulse cuts it before.
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(limit.Milliseconds()))
		})
	}
}
