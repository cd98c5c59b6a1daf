// Package agent is what runs on a managed machine: it enrols it with a server, sends
// heartbeats, follows log files, hands what they say to the server as telemetry, and
// tells it what became of the packages.
//
// It stands before the flow, on another machine: what it reads is on disk before it is
// sent, and sent again until the server has it. It never speaks to anybody but its
// server, and by way of what it is given for that.
package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"github.com/cybervault/cybervault"
)

// Server is the server as the agent knows it. ErrGone means that the server knows the
// agent no more; other errors pass by themselves.
type Server interface {
	Enrol(ctx context.Context, token string, facts cybervault.HostFacts) (Identity, error)
	// Beat sends a heartbeat and answers with the pace to go on with, and with another key
	// if there is one.
	Beat(ctx context.Context, who Identity, facts cybervault.HostFacts) (interval time.Duration, key string, err error)
	// Send hands lines over. ErrRefused means that they never will be taken.
	Send(ctx context.Context, who Identity, source string, lines []byte) error
	// Report says how the packages stand and what became of some of them. It may be said
	// twice.
	Report(ctx context.Context, who Identity, state *cybervault.PackageState, changes []cybervault.PatchChange) error
}

// What a server may say that does not pass.
var (
	ErrGone    = errors.New("the server knows this agent no more: enrol it anew with another token")
	ErrRefused = errors.New("the server does not take it")
)

// Identity is who an agent is to its server.
type Identity struct {
	ID       string        `json:"id"`
	Key      string        `json:"key"`
	Server   string        `json:"server"` // its address
	Interval time.Duration `json:"interval"`
}

// DefaultBuffer is how many bytes of lines wait on disk while the server is away.
const DefaultBuffer = 256 << 20

// MinBuffer is the least of that.
const MinBuffer = 1 << 20

// Config is what an agent needs.
type Config struct {
	Server  Server
	Address string   // of the server: an identity holds for one
	Dir     string   // where its identity, its place in each file and what waits are kept
	Token   string   // to enrol with; needed the first time
	Tails   []string // patterns of files to follow
	FromTop bool     // of files that are there at the first start, read what they hold
	Buffer  int64    // bytes that may wait on disk
	Root    string   // of the system whose packages are looked at, "/"; empty: none are
	Facts   func() cybervault.HostFacts
	Log     *slog.Logger
	Now     func() time.Time // nil: time.Now
}

// Agent runs on one machine.
type Agent struct {
	Config

	mu  sync.Mutex
	who Identity
}

const (
	identityFile  = "agent.json"
	positionsFile = "positions.json"
	spoolDir      = "spool"
	lockFile      = "agent.lock"
)

// Run enrols the machine if it is not yet, and works until ctx ends. It returns an error
// only where a person has to do something.
func Run(ctx context.Context, c Config) error {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Buffer < MinBuffer {
		return cybervault.Invalid("buffer", "is %d bytes: give %d at least", c.Buffer, MinBuffer)
	}
	if err := os.MkdirAll(filepath.Join(c.Dir, spoolDir), 0o700); err != nil {
		return fmt.Errorf("the directory of the agent: %w", err)
	}
	lock := flock.New(filepath.Join(c.Dir, lockFile))
	locked, err := lock.TryLock()
	if err != nil {
		return fmt.Errorf("the directory of the agent: %w", err)
	}
	if !locked {
		return fmt.Errorf("another agent works in %s: give each its own directory with --data", c.Dir)
	}
	defer func() { _ = lock.Unlock() }()
	a := &Agent{Config: c}
	if err := a.enrol(ctx); err != nil {
		return err
	}
	spool, err := openSpool(filepath.Join(c.Dir, spoolDir), c.Buffer, c.Log)
	if err != nil {
		return err
	}
	tails, err := openTails(a, spool)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	work := func(run func(context.Context) error) {
		wg.Go(func() {
			if err := run(ctx); err != nil {
				stop(err)
			}
		})
	}
	work(a.beats)
	work(tails.run)
	if c.Root != "" {
		work(a.packages)
	}
	work(func(ctx context.Context) error { return a.ship(ctx, spool) })
	wg.Wait()
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// enrol takes the identity that is kept, or gets one with the token.
func (a *Agent) enrol(ctx context.Context) error {
	path := filepath.Join(a.Dir, identityFile)
	raw, err := os.ReadFile(path)
	switch {
	case err == nil:
		if err := json.Unmarshal(raw, &a.who); err != nil {
			return fmt.Errorf("%s cannot be read: %w: remove it to enrol anew", path, err)
		}
		if a.who.Server != a.Address {
			return fmt.Errorf("this agent is enrolled with %s, not with %s: remove %s to enrol it anew", a.who.Server, a.Address, path)
		}
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	case a.Token == "":
		return errors.New("the machine is not enrolled yet: give a token, made by 'cybervault agents token', in CYBERVAULT_AGENT_TOKEN or with --token-file")
	}
	for wait := time.Second; ; wait = min(2*wait, time.Minute) {
		who, err := a.Server.Enrol(ctx, a.Token, a.Facts())
		if err == nil {
			who.Server = a.Address
			a.who = who
			a.Log.Info("enrolled", slog.String("agent", who.ID), slog.String("server", who.Server))
			return a.saveIdentity()
		}
		if errors.Is(err, ErrGone) || errors.Is(err, ErrRefused) || ctx.Err() != nil {
			return err
		}
		a.Log.Warn("the server cannot be reached to enrol; trying again", slog.Any("error", err), slog.Duration("in", wait))
		if !rest(ctx, wait) {
			return ctx.Err()
		}
	}
}

func (a *Agent) saveIdentity() error {
	raw, err := json.Marshal(a.who)
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(a.Dir, identityFile), raw)
}

func (a *Agent) identity() Identity {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.who
}

// beats sends heartbeats. One that fails is not made up for: the next one says as much.
func (a *Agent) beats(ctx context.Context) error {
	failed := false
	for {
		who := a.identity()
		bounded, cancel := context.WithTimeout(ctx, min(max(who.Interval, 2*time.Second), time.Minute))
		interval, key, err := a.Server.Beat(bounded, who, a.Facts())
		cancel()
		switch {
		case errors.Is(err, ErrGone):
			return ErrGone
		case err != nil && ctx.Err() == nil && !failed:
			a.Log.Warn("the server does not hear the heartbeat", slog.Any("error", err))
		case err == nil && failed:
			a.Log.Info("the server hears the heartbeat again")
		}
		failed = err != nil
		if err == nil && (key != "" || interval != who.Interval) {
			if err := a.become(key, interval); err != nil {
				a.Log.Error("the identity cannot be written down", slog.Any("error", err))
			}
		}
		// A tenth early or late, so that not all agents send at once.
		pace := a.identity().Interval
		if !rest(ctx, pace-pace/10+time.Duration(rand.Int64N(int64(pace/5)+1))) {
			return nil
		}
	}
}

// become takes another key or pace. It is written down before it is used: a key that is
// lost is an agent that is.
func (a *Agent) become(key string, interval time.Duration) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	before := a.who
	if key != "" {
		a.who.Key = key
	}
	if interval > 0 {
		a.who.Interval = interval
	}
	err := a.saveIdentity()
	if err != nil {
		a.who = before
	}
	return err
}

// ship sends what waits, oldest first, until ctx ends; then what is left waits for the
// next start.
func (a *Agent) ship(ctx context.Context, s *spool) error {
	wait := time.Second
	for ctx.Err() == nil {
		b, ok := s.oldest(ctx)
		if !ok {
			break
		}
		err := a.Server.Send(ctx, a.identity(), a.Facts().Hostname, b.lines)
		switch {
		case err == nil:
			wait = time.Second
			s.remove(b)
		case errors.Is(err, ErrGone):
			return ErrGone
		case errors.Is(err, ErrRefused):
			s.setAside(b, err)
		case ctx.Err() == nil:
			if wait == time.Second {
				a.Log.Warn("the server takes no lines; they wait on disk", slog.Any("error", err))
			}
			rest(ctx, wait/2+time.Duration(rand.Int64N(int64(wait))))
			wait = min(2*wait, time.Minute)
		}
	}
	return nil
}

// writeFile puts a file in place whole, and on the disk.
func writeFile(path string, content []byte) error {
	next := path + ".new"
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(next, path)
}

func rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
