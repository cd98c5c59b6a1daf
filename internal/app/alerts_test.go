package app

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/alert"
	"github.com/cybervault/cybervault/internal/catalog"
	"github.com/cybervault/cybervault/internal/fleet"
)

// notes keeps alerts in memory, and writes down what is published of them. It refuses as
// often as it is told to.
type notes struct {
	*testing.T

	keeper              *alert.Keeper
	ids                 *cybervault.IDSource
	workspace           cybervault.WorkspaceID
	refuse, refuseStore int
	all                 []*cybervault.Alert
	told                []string
	types               *catalog.Catalog
	now                 func() time.Time
}

func newNotes(t *testing.T) *notes {
	t.Helper()
	types, err := catalog.New()
	if err != nil {
		t.Fatal(err)
	}
	n := &notes{T: t, ids: cybervault.NewIDSource(1, 0, time.Now), types: types, now: time.Now}
	n.workspace = cybervault.NewID[cybervault.WorkspaceID](n.ids)
	n.keeper = alert.New(alert.Config{Store: n, Publish: n.publish, IDs: n.ids, Now: func() time.Time { return n.now() }, Log: slog.New(slog.DiscardHandler)})
	return n
}

func (n *notes) publish(_ context.Context, ws cybervault.WorkspaceID, req cybervault.PublishRequest) error {
	if n.refuse > 0 {
		n.refuse--
		return cybervault.Errorf(cybervault.CodeUnavailable, "disk full")
	}
	if err := n.types.Validate(ws, req.Type, req.Data); err != nil {
		n.Errorf("%s is not valid: %v", req.Data, err)
	}
	var d alert.Data
	if err := json.Unmarshal(req.Data, &d); err != nil {
		n.Error(err)
	}
	n.told = append(n.told, fmt.Sprintf("%s %s %s", d.Code, d.Subject, d.Status))
	return nil
}

func (n *notes) FireAlert(_ context.Context, a *cybervault.Alert) (bool, error) {
	if n.refuseStore > 0 {
		n.refuseStore--
		return false, cybervault.Errorf(cybervault.CodeUnavailable, "disk full")
	}
	for _, b := range n.all {
		if b.Code == a.Code && b.Subject == a.Subject && b.Status == cybervault.AlertFiring {
			return false, nil
		}
	}
	kept := *a
	n.all = append(n.all, &kept)
	return true, nil
}

func (n *notes) ResolveAlert(_ context.Context, a *cybervault.Alert) error {
	for i, b := range n.all {
		if b.ID == a.ID {
			kept := *a
			n.all[i] = &kept
		}
	}
	return nil
}

func (n *notes) ToldAlert(_ context.Context, id string, _ cybervault.AlertStatus) error {
	for _, a := range n.all {
		if a.ID == id {
			a.Untold = false
		}
	}
	return nil
}

func (n *notes) LiveAlerts(context.Context) ([]*cybervault.Alert, error) {
	var live []*cybervault.Alert
	for _, a := range n.all {
		if a.Untold || a.Status == cybervault.AlertFiring {
			kept := *a
			live = append(live, &kept)
		}
	}
	return live, nil
}

func (n *notes) want(want ...string) {
	n.Helper()
	if !slices.Equal(n.told, want) {
		n.Errorf("told of %q, want %q", n.told, want)
	}
}

// plant is the server that alerts look at.
type plant struct {
	*notes

	a       *alerts
	at      time.Time
	hook    *cybervault.Webhook
	health  []cybervault.WebhookHealth
	backlog []cybervault.Backlog
	letters int
	attempt *cybervault.Attempt
	keys    []*cybervault.APIKey
	gone    bool
	sources []cybervault.TelemetrySource
	damage  string
	notMine bool
}

func (p *plant) Health(context.Context) ([]cybervault.WebhookHealth, error) { return p.health, nil }
func (p *plant) Backlogs(context.Context) ([]cybervault.Backlog, error)     { return p.backlog, nil }

func (p *plant) DeadLettersByWebhook(_ context.Context, since time.Time) (map[cybervault.WebhookID]int, error) {
	if !since.Equal(p.at.Add(-time.Hour)) {
		p.Errorf("since %s", since)
	}
	return map[cybervault.WebhookID]int{p.hook.ID: p.letters}, nil
}

func (p *plant) hooks() []*cybervault.Webhook {
	if p.gone {
		return nil
	}
	return []*cybervault.Webhook{p.hook}
}

func (p *plant) LastAttempt(context.Context, cybervault.WebhookID) (*cybervault.Attempt, error) {
	return p.attempt, nil
}

func (p *plant) ExpiringAPIKeys(_ context.Context, after, before time.Time) (keys []*cybervault.APIKey, _ error) {
	for _, k := range p.keys {
		if k.RevokedAt.IsZero() && k.ExpiresAt.After(after) && k.ExpiresAt.Before(before) {
			keys = append(keys, k)
		}
	}
	return keys, nil
}

func newPlant(t *testing.T) *plant {
	t.Helper()
	p := &plant{notes: newNotes(t), at: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)}
	p.notes.now = func() time.Time { return p.at }
	p.hook = &cybervault.Webhook{ID: cybervault.NewID[cybervault.WebhookID](p.ids), Workspace: p.workspace, URL: "https://siem.example.com/", Status: cybervault.WebhookEnabled}
	p.restart()
	return p
}

func (p *plant) restart() {
	p.a = &alerts{
		keeper: p.keeper, facts: p, webhooks: p.hooks, workspace: p.workspace, mine: func() bool { return !p.notMine }, now: func() time.Time { return p.at }, log: slog.New(slog.DiscardHandler), intake: newIntake(),
		sources: func(time.Time) map[cybervault.WorkspaceID][]cybervault.TelemetrySource {
			return map[cybervault.WorkspaceID][]cybervault.TelemetrySource{p.workspace: p.sources}
		}, audit: func() string { return p.damage },
	}
}

// after looks once some time has passed, and checks what is told of; H stands for the
// webhook.
func (p *plant) after(d time.Duration, want ...string) {
	p.Helper()
	p.at, p.told = p.at.Add(d), nil
	if err := p.a.look(p.Context()); err != nil {
		p.Fatal(err)
	}
	for i := range want {
		want[i] = strings.ReplaceAll(want[i], "H", p.hook.ID.String())
	}
	p.notes.want(want...)
}

func TestAlerts(t *testing.T) {
	t.Parallel()
	for name, play := range map[string]func(p *plant){
		"a breaker that stays open": func(p *plant) {
			p.health = []cybervault.WebhookHealth{{Webhook: p.hook.ID, Breaker: cybervault.BreakerOpen, FailingSince: p.at, OpenedAt: p.at}}
			p.after(9 * time.Minute)
			p.after(time.Minute, "breaker_open H firing")
			p.health[0].Breaker = cybervault.BreakerHalfOpen // a probe, which may fail
			p.after(time.Minute)
			p.health = nil
			p.after(time.Minute, "breaker_open H resolved")
		},
		"a webhook that the server disabled": func(p *plant) {
			p.hook.Status, p.hook.DisabledReason = cybervault.WebhookDisabled, cybervault.DisabledByPerson
			p.after(0)
			p.hook.DisabledReason = "answered 410 Gone" // and a kill came before the alert
			p.after(0, "webhook_disabled H firing")
			if err := p.keeper.Raise(p.Context(), webhookDisabled(p.hook)); err != nil {
				p.Fatal(err)
			}
			p.after(time.Hour)
			p.hook.Status = cybervault.WebhookEnabled
			p.after(time.Second, "webhook_disabled H resolved")
		},
		"a breaker whose webhook is deleted": func(p *plant) {
			p.health = []cybervault.WebhookHealth{{Webhook: p.hook.ID, Breaker: cybervault.BreakerOpen, FailingSince: p.at}}
			p.after(time.Hour, "breaker_open H firing")
			p.gone = true
			p.after(time.Second, "breaker_open H resolved")
		},
		"deliveries that are late": func(p *plant) {
			p.backlog = []cybervault.Backlog{{Webhook: p.hook.ID, DueAt: p.at}}
			p.after(5*time.Minute - time.Second)
			p.after(time.Second, "deliveries_late H firing")
			p.backlog[0].DueAt = p.at.Add(-2 * time.Minute) // better, not well
			p.after(0)
			p.backlog[0].DueAt = p.at.Add(time.Minute)
			p.after(0, "deliveries_late H resolved")
		},
		"deliveries that nobody attempts are not late": func(p *plant) {
			p.backlog = []cybervault.Backlog{{Webhook: p.hook.ID, DueAt: p.at}}
			p.health = []cybervault.WebhookHealth{{Webhook: p.hook.ID, Breaker: cybervault.BreakerOpen, FailingSince: p.at}}
			p.after(7 * time.Minute)
			p.health = nil
			p.hook.URL = cybervault.PollURL
			p.after(time.Hour)
			p.hook.URL, p.hook.Verification = "https://siem.example.com/", true
			p.after(time.Hour)
		},
		"dead letters": func(p *plant) {
			p.letters = 19
			p.after(0)
			p.letters = 20
			p.after(0, "dead_letters H firing")
			p.letters = 5
			p.after(0)
			p.letters = 4
			p.after(0, "dead_letters H resolved")
		},
		"certificates": func(p *plant) {
			p.after(0)
			p.hook.ClientCertificate = certificate(p.T, p.at.Add(14*24*time.Hour+time.Minute)) + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
			p.attempt = &cybervault.Attempt{StartedAt: p.at, Exchange: cybervault.Exchange{TLS: &cybervault.PeerTLS{NotAfter: p.at.Add(24 * time.Hour)}}}
			p.after(time.Minute) // certificates are looked at once an hour
			p.after(time.Hour, "certificate_ending H client_certificate firing", "certificate_ending H receiver firing")
			p.attempt.TLS = &cybervault.PeerTLS{NotAfter: p.at.Add(100 * 24 * time.Hour)}
			p.after(time.Hour, "certificate_ending H receiver resolved")
			p.hook.Status, p.hook.DisabledReason = cybervault.WebhookDisabled, cybervault.DisabledByPerson
			p.after(time.Hour, "certificate_ending H client_certificate resolved")
		},
		"keys": func(p *plant) {
			key := &cybervault.APIKey{ID: cybervault.NewID[cybervault.APIKeyID](p.ids), Workspace: p.workspace, Name: "ci", ExpiresAt: p.at.Add(7*24*time.Hour + time.Minute)}
			p.keys = []*cybervault.APIKey{key, {ID: cybervault.NewID[cybervault.APIKeyID](p.ids), Workspace: p.workspace}}
			p.after(0)
			p.after(time.Hour, "key_ending "+key.ID.String()+" firing")
			key.RevokedAt = p.at
			p.after(time.Hour, "key_ending "+key.ID.String()+" resolved")
		},
		"a source": func(p *plant) {
			p.sources = []cybervault.TelemetrySource{{Name: "web-01", LastSeen: p.at, Batches: 100, Usual: time.Second}}
			p.after(10 * time.Minute)
			p.after(time.Second, "source_silent web-01 firing")
			silent := p.sources
			p.restart()
			p.sources = nil // nothing has come since the restart
			p.after(time.Hour)
			silent[0].LastSeen = p.at
			p.sources = silent
			p.after(time.Second, "source_silent web-01 resolved")
			p.after(time.Hour, "source_silent web-01 firing")
			p.sources = nil
			p.after(7*24*time.Hour+time.Second, "source_silent web-01 resolved")
		},
		"lines that cannot be read": func(p *plant) {
			saw := func(good, bad int) { p.a.intake.saw(p.at, p.workspace, good, bad, nil) }
			saw(10, 99)
			p.after(0)
			saw(390, 1)
			p.after(0, "records_unreadable telemetry firing")
			saw(400, 0)
			p.after(0) // 11 %
			p.after(2*time.Hour, "records_unreadable telemetry resolved")
		},
		"a rule that floods": func(p *plant) {
			saw := func(n int) {
				for range n {
					p.a.intake.saw(p.at, p.workspace, 1, 0, []cybervault.Finding{{Gist: cybervault.Gist{Rules: []string{"sigma:1", "web:2"}}}})
				}
			}
			saw(199)
			p.after(30 * time.Minute)
			saw(1)
			p.after(0, "rule_floods sigma:1 firing", "rule_floods web:2 firing")
			saw(49)
			p.after(30*time.Minute + windowPart) // few enough is fewer than that
			p.after(30*time.Minute, "rule_floods sigma:1 resolved", "rule_floods web:2 resolved")
			if len(p.a.intake.rules) != 0 {
				p.Error("rules that find nothing any more are kept")
			}
		},
		"an audit log that was changed": func(p *plant) {
			p.damage = "it has been changed"
			p.after(0, "audit_broken audit log firing")
			p.damage = ""
			p.after(0, "audit_broken audit log resolved")
		},
		"alerts about agents that an earlier process began": func(p *plant) {
			publish := p.a.publishing(p.publish)
			tell := func(code, status string) {
				data := fmt.Appendf(nil, `{"alert_id":"alr_%s","code":%q,"severity":"high","status":%q,"summary":"s","remedy":"r","subject":"agents"}`, code, code, status)
				if err := publish(p.Context(), p.workspace, cybervault.PublishRequest{Type: cybervault.EventSystemAlert, Data: data}); err != nil {
					p.Fatal(err)
				}
			}
			p.after(0)
			tell(fleet.CodeTogether, "firing")
			tell(fleet.CodeFlapping, "firing")
			tell(fleet.CodeFlapping, "resolved")
			p.after(time.Hour)
			p.restart()
			p.after(time.Second, "agents_offline_together agents resolved")
		},
		"another node looks": func(p *plant) {
			p.notMine, p.damage, p.letters = true, "it has been changed", 100
			p.after(0)
			p.notMine = false
			p.after(0, "dead_letters H firing", "audit_broken audit log firing")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			play(newPlant(t))
		})
	}
}

// certificate is a certificate that ends at a time, in PEM.
func certificate(t *testing.T, end time.Time) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: end.Add(-time.Hour), NotAfter: end}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestTheWindowOfAnHour(t *testing.T) {
	t.Parallel()
	var w window
	at := time.Unix(1_800_000_000, 0)
	for range 60 {
		w.add(at, 1)
		at = at.Add(time.Minute)
	}
	if n := w.sum(at); n < 55 || n > 60 {
		t.Errorf("%d in an hour", n)
	}
	if n := w.sum(at.Add(30 * time.Minute)); n < 25 || n > 30 {
		t.Errorf("%d in half an hour", n)
	}
	if n := w.sum(at.Add(100 * time.Hour)); n != 0 {
		t.Errorf("%d long after", n)
	}
	w.add(at, 1) // the clock was put back: it counts as now
	if n := w.sum(at); n != 1 {
		t.Errorf("%d after the clock was put back", n)
	}
}
