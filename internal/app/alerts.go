package app

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/alert"
	"github.com/cybervault/cybervault/internal/doctor"
	"github.com/cybervault/cybervault/internal/fleet"
	"github.com/cybervault/cybervault/internal/store"
)

// The codes of system.alert, beside those of internal/fleet. They are stable: programs
// choose by them.
const (
	alertWebhookDisabled = "webhook_disabled"
	alertDiskLow         = "disk_low"
	alertBreakerOpen     = "breaker_open"
	alertLate            = "deliveries_late"
	alertDeadLetters     = "dead_letters"
	alertCertificate     = "certificate_ending"
	alertKeyEnding       = "key_ending"
	alertSourceSilent    = "source_silent"
	alertUnreadable      = "records_unreadable"
	alertRuleFloods      = "rule_floods"
	alertAuditBroken     = "audit_broken"
)

// What makes an alert, and what ends one. Between the two nothing changes, so that none
// comes and goes with the noise.
const (
	alertsEvery  = 10 * time.Second
	endingsEvery = time.Hour // between two looks at certificates and keys

	breakerPatience = 10 * time.Minute // that a receiver has failed and its breaker is open
	lateAfter       = 5 * time.Minute  // past the time at which a delivery is due
	lateNoMore      = time.Minute
	lettersWithin   = time.Hour
	lettersMany     = 20
	lettersFew      = 5
	endingSoon      = 14 * 24 * time.Hour // of a certificate
	keyEndingSoon   = 7 * 24 * time.Hour
)

// alertFacts is the store as the alerts need it.
type alertFacts interface {
	Health(ctx context.Context) ([]cybervault.WebhookHealth, error)
	Backlogs(ctx context.Context) ([]cybervault.Backlog, error)
	DeadLettersByWebhook(ctx context.Context, since time.Time) (map[cybervault.WebhookID]int, error)
	LastAttempt(ctx context.Context, id cybervault.WebhookID) (*cybervault.Attempt, error)
	ExpiringAPIKeys(ctx context.Context, after, before time.Time) ([]*cybervault.APIKey, error)
}

// alerts looks at the parts of the server, one after the other, and tells the keeper what
// is wrong with them.
type alerts struct {
	keeper    *alert.Keeper
	facts     alertFacts
	webhooks  func() []*cybervault.Webhook
	workspace cybervault.WorkspaceID // to which is said what belongs to none
	mine      func() bool            // whether it is this node that looks at what is stored
	sources   func(now time.Time) map[cybervault.WorkspaceID][]cybervault.TelemetrySource
	intake    *intake       // nil where other nodes are handed telemetry too
	audit     func() string // what keeps the audit log from growing, where it is damaged
	now       func() time.Time
	log       *slog.Logger

	mineSince time.Time // since when it is this node; zero while it is not
	endings   time.Time // of the last look at certificates and keys
	troubled  bool
}

// newAlerts fits the keeper to the store and to the router.
func (a *App) newAlerts(ids *cybervault.IDSource, log *slog.Logger) *alerts {
	if !a.store.Shared() {
		a.pipeline.intake = newIntake()
	}
	return &alerts{
		keeper: alert.New(alert.Config{Store: a.store, Publish: a.publishOne, IDs: ids, Now: a.store.Now, Log: log}), facts: a.store, webhooks: a.router.All, workspace: a.workspace,
		mine: func() bool { return a.store.Has(store.DutyFleet) }, sources: a.pipeline.sources.All, intake: a.pipeline.intake, audit: a.audit.Damage, now: a.store.Now, log: log,
	}
}

// publishOne publishes one event, for those who need no receipt.
func (a *App) publishOne(ctx context.Context, ws cybervault.WorkspaceID, req cybervault.PublishRequest) error {
	_, err := a.router.Publish(ctx, ws, req)
	return err
}

// run looks until ctx ends.
func (a *alerts) run(ctx context.Context) {
	for {
		err := a.look(ctx)
		if err != nil && ctx.Err() == nil && !a.troubled {
			a.log.Warn("it cannot be seen what needs an alert; trying again", slog.Any("error", err))
		}
		a.troubled = err != nil
		if !rest(ctx, alertsEvery) {
			return
		}
	}
}

// look judges what this node can see.
func (a *alerts) look(ctx context.Context) error {
	now := a.now()
	var findings []alert.Finding
	if a.intake != nil {
		findings = append(findings, a.silent(now), a.intake.unreadable(now), a.intake.floods(now))
	}
	if !a.mine() {
		a.mineSince = time.Time{}
		return a.keeper.Judge(ctx, now, findings...)
	}
	if a.mineSince.IsZero() {
		a.mineSince = now
	}
	findings = append(findings, orphans(a.mineSince)...)
	stored, err := a.stored(ctx, now)
	if err != nil {
		return err
	}
	return a.keeper.Judge(ctx, now, append(findings, stored...)...)
}

// stored judges what the nodes share.
func (a *alerts) stored(ctx context.Context, now time.Time) ([]alert.Finding, error) {
	list := a.webhooks()
	hooks := make(map[cybervault.WebhookID]*cybervault.Webhook, len(list))
	for _, w := range list {
		hooks[w.ID] = w
	}
	health, err := a.facts.Health(ctx)
	if err != nil {
		return nil, err
	}
	backlogs, err := a.facts.Backlogs(ctx)
	if err != nil {
		return nil, err
	}
	letters, err := a.facts.DeadLettersByWebhook(ctx, now.Add(-lettersWithin))
	if err != nil {
		return nil, err
	}
	findings := []alert.Finding{disabled(hooks), breakers(now, hooks, health), late(now, hooks, health, backlogs), deadLetters(hooks, letters), a.auditBroken()}
	if !a.endings.IsZero() && now.Sub(a.endings) < endingsEvery {
		return findings, nil
	}
	certificates, err := a.certificates(ctx, now, list)
	if err != nil {
		return nil, err
	}
	keys, err := a.keys(ctx, now)
	if err != nil {
		return nil, err
	}
	a.endings = now
	return append(findings, certificates, keys), nil
}

// webhookDisabled is what the server says of a webhook that it disabled, at once and, if
// it was ended before it could, at the next look.
func webhookDisabled(w *cybervault.Webhook) alert.Condition {
	return alert.Condition{
		Workspace: w.Workspace, Code: alertWebhookDisabled, Subject: w.ID.String(), Severity: cybervault.SeverityHigh,
		Summary: fmt.Sprintf("The webhook %s was disabled: %s.", w.ID, w.DisabledReason),
		Remedy:  "See its delivery log, put its receiver right or change its URL, then enable it again. What was pending is delivered then; what came meanwhile is skipped and can be replayed.",
	}
}

func disabled(hooks map[cybervault.WebhookID]*cybervault.Webhook) alert.Finding {
	f := alert.Finding{Code: alertWebhookDisabled}
	for _, w := range hooks {
		if w.Status == cybervault.WebhookDisabled && w.DisabledReason != cybervault.DisabledByPerson {
			f.Firing = append(f.Firing, webhookDisabled(w))
		}
	}
	f.Over = func(a *cybervault.Alert) (string, bool) {
		switch w := hookOf(hooks, a); {
		case w == nil:
			return "The webhook was deleted.", true
		case w.Status == cybervault.WebhookEnabled:
			return "The webhook is enabled again.", true
		}
		return "", false
	}
	return f
}

// hookOf is the webhook that an alert is about; nil once it is deleted.
func hookOf(hooks map[cybervault.WebhookID]*cybervault.Webhook, a *cybervault.Alert) *cybervault.Webhook {
	id, err := cybervault.ParseID[cybervault.WebhookID](a.Subject)
	if err != nil {
		return nil
	}
	return hooks[id]
}

func breakers(now time.Time, hooks map[cybervault.WebhookID]*cybervault.Webhook, health []cybervault.WebhookHealth) alert.Finding {
	f := alert.Finding{Code: alertBreakerOpen}
	failing := map[cybervault.WebhookID]bool{}
	for i := range health {
		h := &health[i]
		w := hooks[h.Webhook]
		if w == nil || !w.Live() || h.Breaker == cybervault.BreakerClosed || h.FailingSince.IsZero() {
			continue
		}
		failing[w.ID] = true
		if now.Sub(h.FailingSince) < breakerPatience {
			continue
		}
		f.Firing = append(f.Firing, alert.Condition{
			Workspace: w.Workspace, Subject: w.ID.String(), Severity: cybervault.SeverityHigh,
			Summary: fmt.Sprintf("The webhook %s has failed every attempt since %s, and waits for its receiver.", w.ID, h.FailingSince.UTC().Format(time.RFC3339)),
			Remedy:  "Look at the last attempts in its delivery log and put its receiver right. What waits is delivered once it answers again.",
		})
	}
	f.Over = func(a *cybervault.Alert) (string, bool) {
		switch w := hookOf(hooks, a); {
		case w == nil || !w.Live():
			return "The webhook is disabled or deleted.", true
		case !failing[w.ID]:
			return "The receiver of the webhook answers again.", true
		}
		return "", false
	}
	return f
}

func late(now time.Time, hooks map[cybervault.WebhookID]*cybervault.Webhook, health []cybervault.WebhookHealth, backlogs []cybervault.Backlog) alert.Finding {
	f := alert.Finding{Code: alertLate}
	open := map[cybervault.WebhookID]bool{}
	for i := range health {
		open[health[i].Webhook] = health[i].Breaker != cybervault.BreakerClosed
	}
	by := map[cybervault.WebhookID]time.Duration{}
	for _, b := range backlogs {
		w := hooks[b.Webhook]
		// What nobody attempts now is not late: a breaker has an alert of its own.
		if w == nil || !w.Live() || w.Held() || w.Polled() || open[w.ID] {
			continue
		}
		by[w.ID] = now.Sub(b.DueAt)
		if by[w.ID] < lateAfter {
			continue
		}
		f.Firing = append(f.Firing, alert.Condition{
			Workspace: w.Workspace, Subject: w.ID.String(), Severity: cybervault.SeverityMedium,
			Summary: fmt.Sprintf("Deliveries to the webhook %s are %s late.", w.ID, cybervault.FormatDuration(by[w.ID].Round(time.Minute))),
			Remedy:  "Its receiver answers too slowly for what it chose, or its rate_limit or concurrency is too low. Raise those, or choose fewer event types or a filter.",
		})
	}
	f.Over = func(a *cybervault.Alert) (string, bool) {
		switch w := hookOf(hooks, a); {
		case w == nil || !w.Live():
			return "The webhook is disabled or deleted.", true
		case by[w.ID] < lateNoMore:
			return "Deliveries to the webhook are on time again.", true
		}
		return "", false
	}
	return f
}

func deadLetters(hooks map[cybervault.WebhookID]*cybervault.Webhook, letters map[cybervault.WebhookID]int) alert.Finding {
	f := alert.Finding{Code: alertDeadLetters}
	for id, n := range letters {
		if w := hooks[id]; w != nil && n >= lettersMany {
			f.Firing = append(f.Firing, alert.Condition{
				Workspace: w.Workspace, Subject: id.String(), Severity: cybervault.SeverityHigh,
				Summary: fmt.Sprintf("%d deliveries to the webhook %s became dead letters within an hour.", n, id),
				Remedy:  "Look at their last attempts, put the receiver right, and replay them: they are kept.",
			})
		}
	}
	f.Over = func(a *cybervault.Alert) (string, bool) {
		w := hookOf(hooks, a)
		return "Hardly any delivery to the webhook becomes a dead letter now.", w == nil || letters[w.ID] < lettersFew
	}
	return f
}

// certificates judges what is about to end of the certificates that webhooks show, that
// they trust, and that their receivers have shown last.
func (a *alerts) certificates(ctx context.Context, now time.Time, hooks []*cybervault.Webhook) (alert.Finding, error) {
	f := alert.Finding{Code: alertCertificate}
	for _, w := range hooks {
		if !w.Live() {
			continue
		}
		add := func(whose, remedy string, end time.Time) {
			if left := end.Sub(now); left < endingSoon {
				word := "ends"
				if left < 0 {
					word = "ended"
				}
				f.Firing = append(f.Firing, alert.Condition{
					Workspace: w.Workspace, Subject: w.ID.String() + " " + whose, Severity: cybervault.SeverityHigh,
					Summary: fmt.Sprintf("The certificate of the webhook %s (%s) %s on %s.", w.ID, whose, word, end.UTC().Format(time.DateOnly)), Remedy: remedy,
				})
			}
		}
		const own = "Give the webhook a new one: PATCH /v1/webhooks/{id}."
		if end := firstEnd(w.CACertificate); !end.IsZero() {
			add("ca_certificate", own, end)
		}
		if end := firstEnd(w.ClientCertificate); !end.IsZero() {
			add("client_certificate", own, end)
		}
		last, err := a.facts.LastAttempt(ctx, w.ID)
		if err != nil {
			return f, err
		}
		if last != nil && last.TLS != nil && !last.TLS.NotAfter.IsZero() && now.Sub(last.StartedAt) < endingSoon {
			add("receiver", "Whoever runs the receiver has to renew it; attempts fail once it has ended.", last.TLS.NotAfter)
		}
	}
	return f, nil
}

// firstEnd is when the first of the certificates in PEM ends; zero where there is none.
func firstEnd(text string) (end time.Time) {
	for _, c := range doctor.CertificatesIn(text) {
		if end.IsZero() || c.NotAfter.Before(end) {
			end = c.NotAfter
		}
	}
	return end
}

func (a *alerts) keys(ctx context.Context, now time.Time) (alert.Finding, error) {
	f := alert.Finding{Code: alertKeyEnding}
	keys, err := a.facts.ExpiringAPIKeys(ctx, now, now.Add(keyEndingSoon))
	if err != nil {
		return f, err
	}
	for _, k := range keys {
		f.Firing = append(f.Firing, alert.Condition{
			Workspace: k.Workspace, Subject: k.ID.String(), Severity: cybervault.SeverityMedium,
			Summary: fmt.Sprintf("The API key %q ends on %s.", k.Name, k.ExpiresAt.UTC().Format(time.DateOnly)),
			Remedy:  "Make another one, give it to whoever uses this one, then revoke this one.",
		})
	}
	f.Over = func(*cybervault.Alert) (string, bool) { return "The API key has ended, or lasts for longer now.", true }
	return f, nil
}

func (a *alerts) auditBroken() alert.Finding {
	f := alert.Finding{Code: alertAuditBroken}
	if problem := a.audit(); problem != "" {
		f.Firing = []alert.Condition{{
			Workspace: a.workspace, Subject: "audit log", Severity: cybervault.SeverityCritical,
			Summary: "The audit log of deliveries is damaged, and nothing is appended to it: " + problem + ".",
			Remedy:  "Someone or something has changed what is stored of it. Keep a copy of the database, find out what it was, and restore a backup from before; cybervault doctor says more.",
		}}
	}
	return f
}

func (a *alerts) silent(now time.Time) alert.Finding {
	f := alert.Finding{Code: alertSourceSilent}
	type source struct {
		workspace cybervault.WorkspaceID
		name      string
	}
	heard := map[source]bool{}
	for ws, all := range a.sources(now) {
		for i := range all {
			s := &all[i]
			if !s.Silent(now) {
				heard[source{ws, s.Name}] = true
				continue
			}
			f.Firing = append(f.Firing, alert.Condition{
				Workspace: ws, Subject: s.Name, Severity: cybervault.SeverityHigh,
				Summary: fmt.Sprintf("The source of telemetry %q has been silent since %s.", s.Name, s.LastSeen.UTC().Format(time.RFC3339)),
				Remedy:  "Look whether its machine runs and its logs are sent. An attacker who is in turns the logs off first.",
			})
		}
	}
	f.Over = func(alert *cybervault.Alert) (string, bool) {
		if heard[source{alert.Workspace, alert.Subject}] {
			return "The source sends again.", true
		}
		// After a restart a source is unknown until it sends. One that never does was
		// taken away.
		return "The source has not sent anything for a week, and is not waited for any more.", now.Sub(alert.FiredAt) > 7*24*time.Hour
	}
	return f
}

// publishing publishes for the fleet, and notes its alerts.
func (a *alerts) publishing(publish func(ctx context.Context, ws cybervault.WorkspaceID, req cybervault.PublishRequest) error) func(context.Context, cybervault.WorkspaceID, cybervault.PublishRequest) error {
	return func(ctx context.Context, ws cybervault.WorkspaceID, req cybervault.PublishRequest) error {
		err := publish(ctx, ws, req)
		if req.Type != cybervault.EventSystemAlert || err != nil {
			return err
		}
		if err := a.keeper.Note(ctx, ws, req.Data); err != nil && ctx.Err() == nil {
			a.log.Warn("an alert about agents is not listed", slog.Any("error", err))
		}
		return nil
	}
}

// orphans ends alerts about agents that were begun before this process looked after the
// agents: only who began one knew when it would end. What is wrong still is told of anew.
func orphans(since time.Time) []alert.Finding {
	ask := func(a *cybervault.Alert) (string, bool) {
		return "CyberVault was started anew; if it goes on, it is told of again.", a.FiredAt.Before(since)
	}
	return []alert.Finding{{Code: fleet.CodeTogether, Over: ask}, {Code: fleet.CodeFlapping, Over: ask}}
}
