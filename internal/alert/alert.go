// Package alert keeps what CyberVault itself needs a person for: that it fires, that it is
// told of, and that it resolves itself.
//
// It stands beside the flow. Whoever looks at a part of the server says what is wrong with
// it; the keeper compares that with what is known to fire, writes down what changed, and
// hands it to the router as system.alert. It is written down first: what could not be
// published is published later, with an idempotency key of its own, so each change is told
// of once, over a restart too. It never judges anything by itself, and sends nothing.
package alert

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/cybervault/cybervault"
)

const (
	// MaxEach is how many alerts of one code fire at a time in a workspace. What goes
	// beyond it is one alert of the subject Many.
	MaxEach = 20
	// Many is the subject of an alert that stands for several.
	Many = "many"
	// MaxTextBytes bounds a subject, a summary and a remedy each; what is longer is cut.
	MaxTextBytes = 1000
)

// Store keeps alerts. Its errors are *cybervault.Error.
type Store interface {
	// FireAlert stores an alert, unless one of its code and subject fires.
	FireAlert(ctx context.Context, a *cybervault.Alert) (fresh bool, err error)
	ResolveAlert(ctx context.Context, a *cybervault.Alert) error
	ToldAlert(ctx context.Context, id string, status cybervault.AlertStatus) error
	// LiveAlerts lists those that fire, and those whose status is not published yet.
	LiveAlerts(ctx context.Context) ([]*cybervault.Alert, error)
}

// Config is what a Keeper needs.
type Config struct {
	Store Store
	// Publish stores an event. CodeUnavailable: it is offered again.
	Publish func(ctx context.Context, ws cybervault.WorkspaceID, req cybervault.PublishRequest) error
	IDs     *cybervault.IDSource
	Now     func() time.Time
	Log     *slog.Logger
}

// Keeper keeps alerts. Safe for concurrent use, on several nodes too.
type Keeper struct {
	Config

	mu sync.Mutex // one comparison at a time
}

// New makes a keeper.
func New(c Config) *Keeper { return &Keeper{Config: c} }

// Condition is something that needs a person, as it is now.
type Condition struct {
	Workspace cybervault.WorkspaceID
	Code      string
	Subject   string
	Severity  cybervault.Severity
	Summary   string // a sentence
	Remedy    string // what to do
}

// Finding is what a look at one part of the server found.
type Finding struct {
	Code   string
	Firing []Condition // all that is wrong; their Code may be left empty
	// Over tells whether an alert that fires and is none of Firing has ended, and in what
	// words. Nil: it has.
	Over func(a *cybervault.Alert) (summary string, over bool)
}

// Raise has one alert fire, unless it does. Where it could be stored but not published,
// that is made up for by Judge.
func (k *Keeper) Raise(ctx context.Context, c Condition) error {
	a := &cybervault.Alert{
		ID: cybervault.NewID[cybervault.AlertID](k.IDs).String(), Workspace: c.Workspace, Code: c.Code, Subject: cut(c.Subject), Severity: c.Severity, Status: cybervault.AlertFiring,
		Summary: cut(c.Summary), Remedy: cut(c.Remedy), FiredAt: k.Now(), Untold: true,
	}
	fresh, err := k.Store.FireAlert(ctx, a)
	if err != nil || !fresh {
		return err
	}
	k.Log.Warn("an alert fires", slog.String("code", a.Code), slog.String("subject", a.Subject), slog.String("summary", a.Summary))
	return k.tell(ctx, a)
}

// Judge compares what was found with what is known to fire, stores and publishes what
// changed, and publishes what could not be published before. began is when it was begun to
// look: what fired since then is not ended, since the look may not have seen it. Codes that
// are none of the findings' stay as they are.
func (k *Keeper) Judge(ctx context.Context, began time.Time, findings ...Finding) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	live, err := k.Store.LiveAlerts(ctx)
	if err != nil {
		return err
	}
	for _, a := range live {
		if a.Untold {
			if err := k.tell(ctx, a); err != nil {
				return err
			}
		}
	}
	for i := range findings {
		if err := k.compare(ctx, began, &findings[i], live); err != nil {
			return err
		}
	}
	return nil
}

type place struct {
	workspace cybervault.WorkspaceID
	subject   string
}

func (k *Keeper) compare(ctx context.Context, began time.Time, f *Finding, live []*cybervault.Alert) error {
	found := map[place]bool{}
	for i := range f.Firing {
		f.Firing[i].Code, f.Firing[i].Subject = f.Code, cut(f.Firing[i].Subject)
		found[place{f.Firing[i].Workspace, f.Firing[i].Subject}] = true
	}
	firing := map[place]bool{}
	fire := map[cybervault.WorkspaceID]int{}
	var many []*cybervault.Alert
	for _, a := range live {
		if a.Code != f.Code || a.Status != cybervault.AlertFiring {
			continue
		}
		at := place{a.Workspace, a.Subject}
		if a.Subject == Many {
			many = append(many, a)
		} else if summary, over := f.over(a); over && !found[at] && !a.FiredAt.After(began) {
			if err := k.resolve(ctx, a, summary); err != nil {
				return err
			}
			continue
		} else {
			fire[a.Workspace]++
		}
		firing[at] = true
	}
	fresh := map[cybervault.WorkspaceID][]Condition{}
	for _, c := range f.Firing {
		if !firing[place{c.Workspace, c.Subject}] {
			firing[place{c.Workspace, c.Subject}] = true
			fresh[c.Workspace] = append(fresh[c.Workspace], c)
		}
	}
	for ws, conditions := range fresh {
		if fire[ws]+len(conditions) > MaxEach {
			conditions = []Condition{together(conditions)}
		}
		for _, c := range conditions {
			if err := k.Raise(ctx, c); err != nil {
				return err
			}
		}
	}
	for _, a := range many {
		if fire[a.Workspace]+len(fresh[a.Workspace]) <= MaxEach {
			if err := k.resolve(ctx, a, "What is left of them is told of one by one."); err != nil {
				return err
			}
		}
	}
	return nil
}

// together is one condition for several.
func together(all []Condition) Condition {
	c := all[0]
	c.Subject = Many
	c.Summary = fmt.Sprintf("%d more of this kind at once, the first: %s", len(all), c.Summary)
	for i := range all {
		if all[i].Severity.Rank() > c.Severity.Rank() {
			c.Severity = all[i].Severity
		}
	}
	return c
}

func (f *Finding) over(a *cybervault.Alert) (string, bool) {
	if f.Over == nil {
		return "It is over.", true
	}
	return f.Over(a)
}

// resolve ends an alert and tells of it.
func (k *Keeper) resolve(ctx context.Context, a *cybervault.Alert, summary string) error {
	ended := *a
	ended.Status, ended.Summary, ended.Remedy, ended.ResolvedAt, ended.Untold = cybervault.AlertResolved, cut(summary), "Nothing is left to do.", k.Now(), true
	if err := k.Store.ResolveAlert(ctx, &ended); err != nil {
		return err
	}
	k.Log.Info("an alert is resolved", slog.String("code", a.Code), slog.String("subject", a.Subject))
	return k.tell(ctx, &ended)
}

// Data is what system.alert says.
type Data struct {
	ID       string                 `json:"alert_id"`
	Code     string                 `json:"code"`
	Severity cybervault.Severity    `json:"severity"`
	Status   cybervault.AlertStatus `json:"status"`
	Summary  string                 `json:"summary"`
	Remedy   string                 `json:"remedy"`
	Subject  string                 `json:"subject"`
}

// tell publishes the status of an alert. Where that has to wait it is no error: Judge does
// it later.
func (k *Keeper) tell(ctx context.Context, a *cybervault.Alert) error {
	data, err := json.Marshal(Data{ID: a.ID, Code: a.Code, Severity: a.Severity, Status: a.Status, Summary: a.Summary, Remedy: a.Remedy, Subject: a.Subject})
	if err != nil {
		return err
	}
	err = k.Publish(ctx, a.Workspace, cybervault.PublishRequest{Type: cybervault.EventSystemAlert, Data: data, IdempotencyKey: a.ID + "_" + string(a.Status)})
	switch code := cybervault.ErrorCode(err); {
	case code == cybervault.CodeUnavailable, err != nil && ctx.Err() != nil:
		return nil //nolint:nilerr // it stays untold, and is told of later
	case err != nil && code != cybervault.CodeConflict: // or told by another node
		k.Log.Error("an alert could not be published", slog.String("alert", a.ID), slog.Any("error", err))
	}
	return k.Store.ToldAlert(ctx, a.ID, a.Status)
}

// Note writes down an alert that another part has published, in the words of its event's
// data, so that it is listed with the others.
func (k *Keeper) Note(ctx context.Context, ws cybervault.WorkspaceID, raw []byte) error {
	var d Data
	if err := json.Unmarshal(raw, &d); err != nil {
		return err
	}
	a := &cybervault.Alert{ID: d.ID, Workspace: ws, Code: d.Code, Subject: cut(d.Subject), Severity: d.Severity, Status: d.Status, Summary: cut(d.Summary), Remedy: cut(d.Remedy), FiredAt: k.Now()}
	if d.Status == cybervault.AlertResolved {
		a.ResolvedAt = k.Now()
		return k.Store.ResolveAlert(ctx, a)
	}
	_, err := k.Store.FireAlert(ctx, a)
	return err
}

// cut shortens a text to what is kept of it, without characters that nothing stores.
func cut(text string) string {
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
	if len(text) <= MaxTextBytes {
		return text
	}
	return strings.ToValidUTF8(text[:MaxTextBytes-len("…")], "") + "…"
}
