//go:build !failpoints

package failpoint

import "time"

// Hit does nothing.
func Hit(string) {}

// Clock is time.Now.
func Clock() func() time.Time { return time.Now }
