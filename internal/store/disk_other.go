//go:build !linux && !darwin && !freebsd && !windows

package store

import "errors"

// diskFree is not known on this system.
func diskFree(string) (int64, error) { return 0, errors.ErrUnsupported }
