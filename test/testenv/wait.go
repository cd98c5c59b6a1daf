package testenv

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

// until asks ready again and again until it returns nil. It gives up with
// ready's last error when the time is over, or when ended is closed.
func until(limit time.Duration, ended <-chan struct{}, ready func() error) error {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-again.C:
		case <-ended:
			return errors.New("ended before it was ready")
		case <-deadline.C:
			return fmt.Errorf("not ready after %s: %w", limit, err)
		}
	}
}

// Until waits until ready returns nil, and fails the test with its last error
// when the time is over.
func Until(t testing.TB, limit time.Duration, ready func() error) {
	t.Helper()
	if err := until(limit, nil, ready); err != nil {
		t.Fatal(err)
	}
}

// maxTailBytes is what a tail keeps at least.
const maxTailBytes = 256 << 10

// A tail is an io.Writer that keeps the end of what was written. The zero
// value is ready; safe for concurrent use.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if len(t.buf) > 2*maxTailBytes {
		t.buf = append(t.buf[:0], t.buf[len(t.buf)-maxTailBytes:]...)
	}
	return len(p), nil
}

// String returns what is kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
