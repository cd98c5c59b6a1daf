package doctor_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/doctor"
)

var now = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// patient is a server that is well, and its parts to make ill.
type patient struct {
	*doctor.Server

	database  doctor.Database
	dbErr     error
	overdue   []doctor.Overdue
	dead      int64
	attempts  map[cybervault.WebhookID]*cybervault.Attempt
	hooks     []*cybervault.Webhook
	health    cybervault.WebhookHealth
	exchange  cybervault.Exchange
	disk      doctor.Disk
	ready     error
	limit     uint64
	keyErr    error
	hooksErr  error
	mu        sync.Mutex
	probedFor []string
}

func (p *patient) Diagnose(context.Context) (doctor.Database, error) { return p.database, p.dbErr }

func (p *patient) Overdue(context.Context, time.Time) ([]doctor.Overdue, error) {
	return p.overdue, p.dbErr
}

func (p *patient) DeadLetters(context.Context, cybervault.WebhookID, time.Time) (int64, error) {
	return p.dead, p.dbErr
}

func (p *patient) LastAttempt(_ context.Context, id cybervault.WebhookID) (*cybervault.Attempt, error) {
	return p.attempts[id], p.dbErr
}

func hook(n int64) *cybervault.Webhook {
	return &cybervault.Webhook{ID: cybervault.MakeID[cybervault.WebhookID](n<<20, n), URL: "https://receiver.test/hook?token=very-secret", Status: cybervault.WebhookEnabled}
}

func healthy(t *testing.T) *patient {
	t.Helper()
	dir := t.TempDir()
	for path, mode := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, "cybervault.db"): 0o600, filepath.Join(dir, "secret.key"): 0o600} {
		if path != dir {
			if err := os.WriteFile(path, []byte("x"), mode); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	p := &patient{
		database: doctor.Database{Schema: 9, Known: 9, Clock: true, Bytes: 1 << 30, Oldest: now.Add(-10 * day)},
		disk:     doctor.Disk{Free: 100 << 30, Reserve: 256 << 20}, limit: 1 << 20, hooks: []*cybervault.Webhook{hook(1)},
		exchange: cybervault.Exchange{TLS: &cybervault.PeerTLS{NotAfter: now.Add(60 * day)}},
	}
	p.attempts = map[cybervault.WebhookID]*cybervault.Attempt{p.hooks[0].ID: answeredAt(now.Add(-time.Minute), 0)}
	p.Server = &doctor.Server{
		Files: doctor.Files{DataDir: dir, Database: filepath.Join(dir, "cybervault.db"), KeyFile: filepath.Join(dir, "secret.key"),
			ReadKey: func(string) error { return p.keyErr }},
		Store: p, Ready: func(context.Context) error { return p.ready }, Disk: func() doctor.Disk { return p.disk }, Retention: 30 * day,
		Webhooks: func(context.Context) ([]*cybervault.Webhook, error) { return p.hooks, p.hooksErr },
		Health:   func(cybervault.WebhookID) cybervault.WebhookHealth { return p.health },
		Probe: func(_ context.Context, w *cybervault.Webhook) (cybervault.Exchange, error) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.probedFor = append(p.probedFor, w.ID.String())
			return p.exchange, nil
		},
		OpenFiles: func() (uint64, error) { return p.limit, nil }, Connections: 10_000, Now: func() time.Time { return now },
	}
	return p
}

// answeredAt is an attempt whose answer's clock is ahead by skew.
func answeredAt(at time.Time, skew time.Duration) *cybervault.Attempt {
	return &cybervault.Attempt{StartedAt: at, Exchange: cybervault.Exchange{Elapsed: 100 * time.Millisecond,
		Answer: []cybervault.Header{{Name: "date", Value: at.Add(skew).UTC().Format(http.TimeFormat)}}}}
}

func certificate(t *testing.T, end time.Time) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-day), NotAfter: end}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestAllIsWell(t *testing.T) {
	t.Parallel()
	checks := healthy(t).Examine(t.Context())
	names := map[string]bool{}
	for _, c := range checks {
		names[c.Name] = true
		if c.Status != cybervault.CheckOK || c.Remedy != "" || c.Summary == "" {
			t.Errorf("%+v", c)
		}
	}
	for _, name := range []string{"configuration", "key file", "data directory", "server", "database", "clock", "disk", "open files", "queue", "webhook", "certificate", "destination"} {
		if !names[name] {
			t.Errorf("%s was not looked at", name)
		}
	}
}

// Every check is made to fail, or to warn, by what it is there for, and says what
// to do.
func TestEveryCheckFindsWhatItIsFor(t *testing.T) {
	t.Parallel()
	chmod := func(mode os.FileMode, path func(*patient) string) func(*testing.T, *patient) {
		return func(t *testing.T, p *patient) {
			t.Helper()
			if err := os.Chmod(path(p), mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	remove := func(path func(*patient) string) func(*testing.T, *patient) {
		return func(t *testing.T, p *patient) {
			t.Helper()
			if err := os.RemoveAll(path(p)); err != nil {
				t.Fatal(err)
			}
		}
	}
	dir := func(p *patient) string { return p.DataDir }
	database := func(p *patient) string { return p.Database }
	key := func(p *patient) string { return p.KeyFile }
	ill := func(change func(*patient)) func(*testing.T, *patient) {
		return func(_ *testing.T, p *patient) { change(p) }
	}
	fails := func(f cybervault.Failure) func(*testing.T, *patient) {
		return ill(func(p *patient) { p.exchange = cybervault.Exchange{Failure: f, Error: "in words"} })
	}
	for name, test := range map[string]struct {
		change func(*testing.T, *patient)
		check  string
		status cybervault.CheckStatus
		words  string
	}{
		"dangerous setting":     {ill(func(p *patient) { p.Warnings = []string{"the bootstrap API key has only 5 characters"} }), "configuration", "warn", "bootstrap API key"},
		"no directory":          {remove(dir), "data directory", "fail", "does not exist"},
		"directory writable":    {chmod(0o777, dir), "data directory", "fail", "written to by others, mode 0777"},
		"directory readable":    {chmod(0o755, dir), "data directory", "warn", "entered by others"},
		"database readable":     {chmod(0o644, database), "data directory", "fail", "read by others, mode 0644"},
		"no database":           {remove(database), "data directory", "warn", "no database yet"},
		"no key":                {remove(key), "key file", "fail", "sealed with it"},
		"key readable":          {chmod(0o640, key), "key file", "fail", "read by others, mode 0640"},
		"no key yet":            {func(t *testing.T, p *patient) { t.Helper(); remove(key)(t, p); remove(database)(t, p) }, "key file", "warn", "yet"},
		"key is none":           {ill(func(p *patient) { p.keyErr = errors.New("is no key") }), "key file", "fail", "is no key"},
		"not ready":             {ill(func(p *patient) { p.ready = errors.New("it stops") }), "server", "fail", "it stops"},
		"database away":         {ill(func(p *patient) { p.dbErr = errors.New("away") }), "database", "fail", "away"},
		"schema behind":         {ill(func(p *patient) { p.database.Schema = 8 }), "database", "warn", "brings it to 9"},
		"schema too new":        {ill(func(p *patient) { p.database.Schema = 10 }), "database", "warn", "knows 9"},
		"database clock":        {ill(func(p *patient) { p.database.ClockSkew = -10 * time.Second }), "clock", "warn", "10s behind"},
		"database clock far":    {ill(func(p *patient) { p.database.ClockSkew = 3 * time.Minute }), "clock", "fail", "3m0s ahead"},
		"disk low":              {ill(func(p *patient) { p.disk.Low, p.disk.Problem = true, "the disk is full" }), "disk", "fail", "the disk is full"},
		"disk nearly low":       {ill(func(p *patient) { p.disk.Free = 400 << 20 }), "disk", "warn", "400 MiB free"},
		"disk fills":            {ill(func(p *patient) { p.database.Bytes = 200 << 30 }), "disk", "warn", "room for 4 days"},
		"disk says nothing":     {ill(func(p *patient) { p.disk.Free = 0 }), "disk", "warn", "does not say"},
		"few open files":        {ill(func(p *patient) { p.limit = 256 }), "open files", "fail", "256"},
		"rather few open files": {ill(func(p *patient) { p.limit = 4096 }), "open files", "warn", "10000 connections"},
		"lease stuck":           {ill(func(p *patient) { p.overdue = []doctor.Overdue{{p.hooks[0].ID, now.Add(-20 * time.Minute), true}} }), "queue", "fail", "ended 20 minutes ago"},
		"delivery overdue":      {ill(func(p *patient) { p.overdue = []doctor.Overdue{{p.hooks[0].ID, now.Add(-3 * time.Hour), false}} }), "queue", "warn", "due for 3 hours"},
		"webhooks unreadable":   {ill(func(p *patient) { p.hooksErr = errors.New("another key") }), "webhook", "fail", "another key"},
		"webhook disabled": {ill(func(p *patient) {
			p.hooks[0].Status, p.hooks[0].DisabledReason = cybervault.WebhookDisabled, "it answered 410 Gone"
		}), "webhook", "warn", "410 Gone"},
		"breaker open": {ill(func(p *patient) {
			p.health = cybervault.WebhookHealth{Breaker: cybervault.BreakerOpen, FailingSince: now.Add(-3 * time.Hour), Failures: 12}
		}), "webhook", "warn", "failed for 3 hours, 12 attempts"},
		"not verified": {ill(func(p *patient) { p.hooks[0].Verification = true }), "webhook", "warn", "not verified"},
		"dead letters": {ill(func(p *patient) { p.dead = 7 }), "webhook", "warn", "7 deliveries"},
		"CA ended":     {func(t *testing.T, p *patient) { t.Helper(); p.hooks[0].CACertificate = certificate(t, now.Add(-day)) }, "certificate", "fail", "ca_certificate holds a certificate that ended"},
		"client certificate ends": {func(t *testing.T, p *patient) {
			t.Helper()
			p.hooks[0].ClientCertificate = certificate(t, now.Add(5*day))
		}, "certificate", "warn", "ends in 5 days"},
		"receiver's certificate": {ill(func(p *patient) { p.exchange.TLS.NotAfter = now.Add(3 * day) }), "destination", "warn", "ends in 3 days"},
		"no name":                {fails(cybervault.FailureDNS), "destination", "fail", "(dns): in words"},
		"no connection":          {fails(cybervault.FailureConnect), "destination", "fail", "(connect)"},
		"no TLS":                 {fails(cybervault.FailureTLS), "destination", "fail", "(tls)"},
		"no answer":              {fails(cybervault.FailureTimeout), "destination", "fail", "(timeout)"},
		"refused address":        {fails(cybervault.FailureBlockedAddress), "destination", "fail", "(blocked_address)"},
		"proxy": {ill(func(p *patient) {
			p.hooks[0].Proxy, p.exchange = "http://user:very-secret@proxy.test:3128", cybervault.Exchange{Failure: cybervault.FailureConnect}
		}), "destination", "fail", "through its proxy http://proxy.test:3128"},
		"receiver's clock": {ill(func(p *patient) { p.attempts[p.hooks[0].ID] = answeredAt(now.Add(-time.Hour), 30*time.Second) }), "clock", "warn", "https://receiver.test is 29.9s ahead"},
		"own clock": {ill(func(p *patient) {
			p.hooks = append(p.hooks, hook(2), hook(3))
			for _, w := range p.hooks {
				p.attempts[w.ID] = answeredAt(now.Add(-time.Hour), -10*time.Minute)
			}
		}), "clock", "fail", "3 of 3 receivers"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := healthy(t)
			test.change(t, p)
			found := false
			for _, c := range p.Examine(t.Context()) {
				if strings.Contains(c.Summary+c.Remedy+c.Subject, "very-secret") {
					t.Errorf("a secret is told: %+v", c)
				}
				if c.Name != test.check || c.Status == cybervault.CheckOK {
					continue
				}
				found = found || c.Status == test.status && strings.Contains(c.Summary, test.words)
				if c.Remedy == "" {
					t.Errorf("no remedy: %+v", c)
				}
			}
			if !found {
				t.Errorf("no check %s with status %s says %q: %+v", test.check, test.status, test.words, p.Examine(t.Context()))
			}
		})
	}
}

// What waits for a reason of its own is not called overdue.
func TestWhatMayWait(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*patient){
		"ordered":      func(p *patient) { p.hooks[0].Ordered = true },
		"rate limit":   func(p *patient) { p.hooks[0].RateLimit = 0.1 },
		"breaker open": func(p *patient) { p.health.Breaker = cybervault.BreakerOpen },
		"polled":       func(p *patient) { p.hooks[0].URL = cybervault.PollURL },
		"disabled":     func(p *patient) { p.hooks[0].Status = cybervault.WebhookDisabled },
	} {
		p := healthy(t)
		p.overdue = []doctor.Overdue{{p.hooks[0].ID, now.Add(-3 * time.Hour), false}}
		change(p)
		for _, c := range p.Examine(t.Context()) {
			if c.Name == "queue" && c.Status != cybervault.CheckOK {
				t.Errorf("%s: %+v", name, c)
			}
		}
	}
}

// A receiver that many webhooks share is connected to once.
func TestSharedDestinationIsReachedOnce(t *testing.T) {
	t.Parallel()
	p := healthy(t)
	p.hooks = append(p.hooks, hook(2), hook(3))
	p.hooks[2].CACertificate = certificate(t, now.Add(90*day))
	p.hooks[1].URL = "https://receiver.test/other"
	p.Examine(t.Context())
	if len(p.probedFor) != 2 {
		t.Errorf("connected %d times", len(p.probedFor))
	}
}

func TestOldAttemptsTellNoTime(t *testing.T) {
	t.Parallel()
	p := healthy(t)
	p.attempts[p.hooks[0].ID] = answeredAt(now.Add(-3*day), time.Hour)
	for _, c := range p.Examine(t.Context()) {
		if c.Status != cybervault.CheckOK {
			t.Errorf("%+v", c)
		}
	}
}
