//go:build unix

package testenv

import (
	"net"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// Nobody is an address of this machine, host:port, that refuses connections until the test
// ends. The port is taken, so that no other program begins to listen there, as it may on
// one that was only freed.
func Nobody(t testing.TB) string {
	t.Helper()
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(socket) })
	if err := unix.Bind(socket, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(socket)
	if err != nil {
		t.Fatal(err)
	}
	at, ok := name.(*unix.SockaddrInet4)
	if !ok {
		t.Fatalf("the socket is bound to %v", name)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(at.Port))
}
