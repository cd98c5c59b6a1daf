package dashboardtest

import (
	"context"
	"slices"
	"time"

	"github.com/cybervault/cybervault"
)

// SetSystem says how the server stands, and where telemetry comes from.
func (f *Fake) SetSystem(v cybervault.System, sources ...cybervault.TelemetrySource) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.system, f.sources = v, sources
}

// SetChecks says what the doctor finds.
func (f *Fake) SetChecks(checks ...cybervault.Check) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.checks = checks
}

// System implements dashboard.System, as do the methods after it.
func (f *Fake) System(context.Context) cybervault.System {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.system
}

// Sources lists where telemetry came from.
func (f *Fake) Sources(ws cybervault.WorkspaceID) []cybervault.TelemetrySource {
	f.mu.Lock()
	defer f.mu.Unlock()
	if ws != f.Workspace {
		return nil
	}
	return slices.Clone(f.sources)
}

// Examine returns what SetChecks was given.
func (f *Fake) Examine(_ context.Context, ws cybervault.WorkspaceID) ([]cybervault.Check, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.checks), f.check(ws)
}

// seedSystem is two nodes on one PostgreSQL, and a source that fell silent.
func (f *Fake) seedSystem(now time.Time) {
	f.system = cybervault.System{
		Version: "v0.1.0", StartedAt: now.Add(-9 * 24 * time.Hour), Retention: 30 * 24 * time.Hour, RetentionDead: 90 * 24 * time.Hour, Store: "postgres", Node: 1, Oldest: now.Add(-30 * 24 * time.Hour), Pending: 1204, Held: 31, Waiting: 48 << 10, Audited: 2_418_004,
		Nodes:  []cybervault.Node{{Number: 0, Host: "cv-1.example.com", JoinedAt: now.Add(-12 * 24 * time.Hour)}, {Number: 1, Host: "cv-2.example.com", JoinedAt: now.Add(-9 * 24 * time.Hour), Me: true}},
		Engine: cybervault.Engine{Rules: 358, Records: 18_204_551, Open: 12, Watched: 2_204, Late: 17},
	}
	source := func(name string, ago, usual time.Duration, records int64) cybervault.TelemetrySource {
		return cybervault.TelemetrySource{Name: name, FirstSeen: now.Add(-9 * 24 * time.Hour), LastSeen: now.Add(-ago), Records: records, Batches: records / 100, Usual: usual}
	}
	f.sources = []cybervault.TelemetrySource{
		source("nginx-eu", 42*time.Minute, 10*time.Second, 8_204_551), source("bastion", 3*time.Second, 30*time.Second, 204_551), source("cloudtrail", 4*time.Minute, 5*time.Minute, 1_204_551),
		source("windows-dc", 9*time.Second, 5*time.Second, 8_604_551),
	}
}

// SetHealth sets how a webhook's receiver has been answering.
func (f *Fake) SetHealth(h cybervault.WebhookHealth) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.standing[h.Webhook] = h
}

// Health returns what SetHealth was given, or that all is well.
func (f *Fake) Health(id cybervault.WebhookID) cybervault.WebhookHealth {
	f.mu.Lock()
	defer f.mu.Unlock()
	if h, ok := f.standing[id]; ok {
		return h
	}
	return cybervault.WebhookHealth{Webhook: id, Breaker: cybervault.BreakerClosed}
}

// Waiting counts the deliveries of a webhook that have not ended.
func (f *Fake) Waiting(_ context.Context, id cybervault.WebhookID) (n int64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range f.deliveries {
		if d.Webhook == id && (d.Status == cybervault.DeliveryPending || d.Status == cybervault.DeliveryHeld) {
			n++
		}
	}
	return n, nil
}
