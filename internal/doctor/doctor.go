// Package doctor looks at a server's surroundings and says what is amiss and what
// to do about it: files, disk, clock, certificates, destinations, queue.
//
// It stands around the flow and changes nothing. It opens no database and dials
// nobody: internal/app hands it what it asks through small interfaces, so that the
// checks run where the server runs, with its resolver, network and proxies. What it
// says names no secret: of a URL no more than scheme, host and port.
package doctor

import (
	"context"
	"time"

	"github.com/cybervault/cybervault"
)

// Store is the database of a running server.
type Store interface {
	Diagnose(ctx context.Context) (Database, error)
	Overdue(ctx context.Context, before time.Time) ([]Overdue, error)
	DeadLetters(ctx context.Context, webhook cybervault.WebhookID, since time.Time) (int64, error)
	LastAttempt(ctx context.Context, webhook cybervault.WebhookID) (*cybervault.Attempt, error)
}

// Database is what a database says about itself.
type Database struct {
	Schema    int64         // version of its schema
	Known     int64         // version that this program brings it to
	ClockSkew time.Duration // how far its clock is ahead
	Clock     bool          // it has one
	Bytes     int64         // 0 where its disk is another machine's
	Oldest    time.Time     // when the oldest event was stored
}

// Overdue is the delivery of a webhook that has been due for longest.
type Overdue struct {
	Webhook cybervault.WebhookID
	DueAt   time.Time
	Leased  bool
}

// Disk is how much room an embedded store has.
type Disk struct {
	Free, Reusable, Reserve int64
	Low                     bool
	Problem                 string
}

// Server is what is to be looked at of one that runs.
type Server struct {
	Files

	Store     Store
	Ready     func(ctx context.Context) error
	Disk      func() Disk // nil where the database's disk is another machine's
	Retention time.Duration
	Webhooks  func(ctx context.Context) ([]*cybervault.Webhook, error)
	Health    func(id cybervault.WebhookID) cybervault.WebhookHealth
	// Probe connects to a webhook's receiver and sends nothing.
	Probe func(ctx context.Context, w *cybervault.Webhook) (cybervault.Exchange, error)
	// OpenFiles is how many files the process may have open, and Connections how
	// many callers it lets in. nil where that is not known.
	OpenFiles   func() (uint64, error)
	Connections int
	Now         func() time.Time
}

// patience bounds all that is asked of others.
const patience = 30 * time.Second

// Examine looks at everything. What could not be looked at is a check that failed.
func (s *Server) Examine(ctx context.Context) []cybervault.Check {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	checks := s.Files.Examine()
	checks = append(checks, s.database(ctx)...)
	checks = append(checks, s.openFiles()...)
	hooks, err := s.Webhooks(ctx)
	if err != nil {
		return append(checks, fail("webhook", "", "the webhooks cannot be read: "+said(err), tryLater))
	}
	checks = append(checks, s.queue(ctx, hooks)...)
	checks = append(checks, s.states(ctx, hooks)...)
	checks = append(checks, s.certificates(hooks)...)
	checks = append(checks, s.destinations(ctx, hooks)...)
	return append(checks, s.receiversClocks(ctx, hooks)...)
}

func ok(name, subject, summary string) cybervault.Check {
	return cybervault.Check{Name: name, Status: cybervault.CheckOK, Subject: subject, Summary: summary}
}

func warn(name, subject, summary, remedy string) cybervault.Check {
	return cybervault.Check{Name: name, Status: cybervault.CheckWarn, Subject: subject, Summary: summary, Remedy: remedy}
}

func fail(name, subject, summary, remedy string) cybervault.Check {
	return cybervault.Check{Name: name, Status: cybervault.CheckFail, Subject: subject, Summary: summary, Remedy: remedy}
}

// orOK is the checks, or that all is well where there are none.
func orOK(checks []cybervault.Check, name, summary string) []cybervault.Check {
	if len(checks) == 0 {
		return []cybervault.Check{ok(name, "", summary)}
	}
	return checks
}

// Words that checks share.
const (
	tryLater = "The server's log names the cause."
	day      = 24 * time.Hour
)
