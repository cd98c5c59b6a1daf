//go:build unix

package agent

import (
	"os"

	"golang.org/x/sys/unix"
)

// locked reports whether another process holds a lock on a file (fcntl(2)), where that
// can be told: the file may be root's to open.
func locked(path string) (busy, known bool) {
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return false, true
	}
	if err != nil {
		return false, false
	}
	defer func() { _ = f.Close() }() // nothing was written
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_GETLK, &lock); err != nil {
		return false, false
	}
	return lock.Type != unix.F_UNLCK, true
}
