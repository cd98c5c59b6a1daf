//go:build !unix

package outbound

import (
	"errors"
	"net"
	"os"
	"time"
)

// aliveProbe waits a moment for the end of an idle connection, or for bytes
// that nobody asked for, since this system cannot be asked without reading.
func aliveProbe(c net.Conn) func() bool {
	var one [1]byte
	return func() bool {
		if c.SetReadDeadline(time.Now().Add(time.Millisecond)) != nil {
			return false
		}
		_, err := c.Read(one[:])
		return errors.Is(err, os.ErrDeadlineExceeded)
	}
}
