package cli

import (
	"bytes"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestProgress(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	p := &progress{out: &out, now: func() time.Time { return now }, began: now, shown: now, read: new(atomic.Int64), total: 4000}
	for range 1024 {
		p.record()
	}
	if out.Len() > 0 {
		t.Errorf("shown at once: %q", out.String())
	}
	now = now.Add(2 * time.Second)
	p.read.Store(1000)
	for range 1024 {
		p.record()
	}
	if got := out.String(); strings.Count(got, "\r") != 1 || !strings.Contains(got, " 25 %") || !strings.Contains(got, "6s left") {
		t.Errorf("shown as %q", got)
	}
	if took := p.end(); took != 2*time.Second || !strings.HasSuffix(out.String(), "\r\x1b[K") {
		t.Errorf("took %v, left %q", took, out.String())
	}
	p = &progress{now: time.Now, read: new(atomic.Int64)}
	p.record()
	p.end() // with no terminal it is silent
}
