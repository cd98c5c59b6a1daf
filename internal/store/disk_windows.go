package store

import (
	"fmt"

	"golang.org/x/sys/windows"
)

// diskFree returns how many bytes the volume of dir has left for this process's
// user.
func diskFree(dir string) (int64, error) {
	path, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, fmt.Errorf("ask the volume of %s: %w", dir, err)
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(path, &free, nil, nil); err != nil {
		return 0, fmt.Errorf("ask the volume of %s: %w", dir, err)
	}
	return clampProduct(free, 1), nil
}
