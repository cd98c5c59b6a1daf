//go:build unix

package agent

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// holdLock takes the lock on a file as dpkg does, until the process ends.
func holdLock(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart})
}
