package app

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/catalog"
	"github.com/cybervault/cybervault/internal/detect"
	"github.com/cybervault/cybervault/internal/observe"
	"github.com/cybervault/cybervault/internal/store"
)

// An alert fires when publishing ends for want of room and is resolved when it
// goes on, once each, also where the store takes it late.
func TestALowDiskRaisesOneAlert(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &desk{hook: &cybervault.Webhook{}, refuse: 2}
		var low atomic.Bool
		watch := &diskWatch{publish: d.Publish, now: time.Now, log: slog.New(slog.DiscardHandler), look: func() store.Disk {
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
		if d.tries != 0 {
			t.Errorf("with room there were %d alerts", d.tries)
		}
		low.Store(true)
		pass()
		low.Store(false)
		pass()
		cancel()
		<-ended
		if len(d.published) != 2 {
			t.Fatalf("%d alerts, want 2", len(d.published))
		}
		types, err := catalog.New()
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for i, want := range []string{"firing", "resolved"} {
			alert := d.published[i]
			if err := types.Validate(cybervault.WorkspaceID{}, alert.Type, alert.Data); err != nil {
				t.Errorf("%s is not valid: %v", alert.Data, err)
			}
			var data struct {
				ID     string `json:"alert_id"`
				Status string `json:"status"`
				Code   string `json:"code"`
			}
			if err := json.Unmarshal(alert.Data, &data); err != nil || data.Status != want || data.Code != "disk_low" {
				t.Errorf("%s: %v, want status %s", alert.Data, err, want)
			}
			ids = append(ids, data.ID)
		}
		if ids[0] != ids[1] || d.published[0].IdempotencyKey == d.published[1].IdempotencyKey {
			t.Errorf("the two alerts are %+v", d.published)
		}
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
