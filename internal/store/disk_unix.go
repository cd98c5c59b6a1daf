//go:build linux || darwin || freebsd

package store

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// diskFree returns how many bytes the file system of dir has left for this
// process's user.
func diskFree(dir string) (int64, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		return 0, fmt.Errorf("ask the file system of %s: %w", dir, err)
	}
	return clampProduct(uint64(max(stat.Bavail, 0)), uint64(stat.Bsize)), nil //nolint:unconvert // the types differ between systems
}
