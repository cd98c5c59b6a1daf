package access

import (
	"sync"
	"time"

	"github.com/cybervault/cybervault"
)

// allowance is how often something may fail: a burst, then once in each interval.
type allowance struct {
	burst    int
	interval time.Duration
}

// What may fail how often. The pair of account and address is the strict one; the
// account alone is generous, so that nobody can lock its owner out from elsewhere
// with a few requests, and so is the address, behind which may be a whole company.
var (
	allowPair    = allowance{8, 15 * time.Second}
	allowAccount = allowance{60, 5 * time.Second}
	allowAddress = allowance{100, time.Second}
	allowCode    = allowance{6, 30 * time.Second} // a million codes, of which three are right, take a year
)

// maxThrottled bounds how many accounts and addresses are remembered; one that is over
// its time is forgotten.
const maxThrottled = 50_000

// throttle counts failures. Safe for concurrent use. Each node has its own.
type throttle struct {
	mu      sync.Mutex
	buckets map[string]bucket
}

type bucket struct {
	left     int
	refilled time.Time
	full     time.Time // when it is as if it had never been
}

// take spends one of each, or none where one has none left.
func (t *throttle) take(now time.Time, keys map[string]allowance) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.buckets)+len(keys) > maxThrottled {
		t.sweep(now)
	}
	found := make(map[string]bucket, len(keys))
	for key, a := range keys {
		b, ok := t.buckets[key]
		if !ok {
			b = bucket{left: a.burst, refilled: now}
		}
		if gained := int64(now.Sub(b.refilled) / a.interval); gained > 0 {
			b.left = int(min(int64(a.burst), int64(b.left)+gained))
			b.refilled = b.refilled.Add(time.Duration(gained * int64(a.interval)))
		}
		if b.left <= 0 {
			return errTooManyTries()
		}
		found[key] = b
	}
	for key, b := range found {
		a := keys[key]
		b.left--
		b.full = now.Add(time.Duration(a.burst-b.left) * a.interval)
		t.buckets[key] = b
	}
	return nil
}

// give returns what was taken for a try that was right.
func (t *throttle) give(keys map[string]allowance) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, a := range keys {
		if b, ok := t.buckets[key]; ok && b.left < a.burst {
			b.left++
			t.buckets[key] = b
		}
	}
}

func (t *throttle) sweep(now time.Time) {
	for key, b := range t.buckets {
		if !now.Before(b.full) {
			delete(t.buckets, key)
		}
	}
	for key := range t.buckets {
		if len(t.buckets) < maxThrottled/2 {
			return
		}
		delete(t.buckets, key) // any one: better than memory without an end
	}
}

// TooManyTries is the field of the error that says so.
const TooManyTries = "tries"

func errTooManyTries() error {
	return &cybervault.Error{Code: cybervault.CodeUnavailable, Field: TooManyTries, Message: "were too many: wait a minute, then try again"}
}
