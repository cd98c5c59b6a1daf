//go:build !linux

package store

import (
	"syscall"
	"time"
)

// giveUpAfter has nothing to set here: keep-alives and the pulse remain.
func giveUpAfter(time.Duration) func(network, address string, c syscall.RawConn) error { return nil }
