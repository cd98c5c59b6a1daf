//go:build !unix

package app

import "math"

// openFiles is without a limit where there is none to ask for.
func openFiles() (uint64, error) { return math.MaxInt64, nil }
