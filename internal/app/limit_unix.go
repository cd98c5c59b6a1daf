//go:build unix

package app

import (
	"fmt"
	"syscall"
)

// openFiles is how many files this process may have open.
func openFiles() (uint64, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("getrlimit: %w", err)
	}
	return uint64(limit.Cur), nil //nolint:unconvert // the type differs between systems
}
