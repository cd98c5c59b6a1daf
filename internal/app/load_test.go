package app

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/detect"
	"github.com/cybervault/cybervault/internal/observe"
	"github.com/cybervault/cybervault/internal/store"
)

// An alert fires when publishing ends for want of room and is resolved when it
// goes on, once each, also where the store takes it late.
func TestALowDiskRaisesOneAlert(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNotes(t)
		n.refuse = 2
		var low atomic.Bool
		watch := &diskWatch{judge: n.keeper.Judge, now: time.Now, log: slog.New(slog.DiscardHandler), look: func() store.Disk {
			if low.Load() {
				return store.Disk{Low: true, Problem: "the disk has 1 MiB free"}
			}
			return store.Disk{}
		}}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); watch.run(ctx) }()
		pass := func() {
			<-time.After(10 * diskEvery) // virtual time
			synctest.Wait()
		}
		pass()
		n.want()
		low.Store(true)
		pass()
		n.want("disk_low disk firing")
		low.Store(false)
		pass()
		n.want("disk_low disk firing", "disk_low disk resolved")
		cancel()
		<-ended
	})
}

// A store that takes nothing does not make findings pile up in memory: from a
// bound on, telemetry is refused unread, until what is left over is stored.
func TestTelemetryIsRefusedWhileTooMuchIsUnpublished(t *testing.T) {
	t.Parallel()
	p, err := newPipeline(detect.Config{}, observe.NewMetrics("test"))
	if err != nil {
		t.Fatal(err)
	}
	d := &batchDesk{refuse: true}
	p.publisher, p.incidents = d, noIncidents{}
	var ws cybervault.WorkspaceID
	for range maxUnpublished {
		p.unpublished[ws] = append(p.unpublished[ws], cybervault.Finding{Type: cybervault.EventThreatDetected})
	}
	body := strings.NewReader("a line\n")
	if _, err := p.Ingest(t.Context(), ws, "", "", body); cybervault.ErrorCode(err) != cybervault.CodeUnavailable || body.Len() == 0 {
		t.Errorf("refused with %v, %d bytes unread", err, body.Len())
	}
	if n := len(p.unpublished[ws]); n != maxUnpublished {
		t.Errorf("%d findings are kept, want %d", n, maxUnpublished)
	}
	d.refuse = false
	if _, err := p.Ingest(t.Context(), ws, "", "", body); err != nil || body.Len() != 0 || d.taken != maxUnpublished || len(p.unpublished[ws]) != 0 {
		t.Errorf("afterwards: %v, %d published, %d kept", err, d.taken, len(p.unpublished[ws]))
	}
	if _, err := p.Ingest(t.Context(), ws, "", "csv", strings.NewReader("a line\n")); cybervault.ErrorCode(err) != cybervault.CodeInvalid {
		t.Errorf("a format that is not known: %v", err)
	}
}

// noIncidents leaves findings as they are.
type noIncidents struct{}

func (noIncidents) Assign(_ context.Context, _ cybervault.WorkspaceID, findings []cybervault.Finding) ([]cybervault.Finding, error) {
	return findings, nil
}

func (noIncidents) Send(context.Context, cybervault.WorkspaceID) error { return nil }

// batchDesk takes findings, or does not.
type batchDesk struct {
	refuse bool
	taken  int
}

func (d *batchDesk) PublishBatch(_ context.Context, _ cybervault.WorkspaceID, reqs []cybervault.PublishRequest) []cybervault.PublishOutcome {
	outcomes := make([]cybervault.PublishOutcome, len(reqs))
	for i := range outcomes {
		if d.refuse {
			outcomes[i].Err = cybervault.Errorf(cybervault.CodeUnavailable, "full")
		} else {
			d.taken++
		}
	}
	return outcomes
}
