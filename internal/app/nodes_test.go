package app

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/cybervault/cybervault"
)

// changeLog is what other nodes changed.
type changeLog struct {
	mu      sync.Mutex
	changes []cybervault.SettingChanges
	grown   int64
	fails   int // as often
}

func (l *changeLog) SettingChanges(_ context.Context, after int64) (cybervault.SettingChanges, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fails > 0 {
		l.fails--
		return cybervault.SettingChanges{}, errors.New("the database is away")
	}
	out := cybervault.SettingChanges{Last: after}
	for _, c := range l.changes {
		if c.Last > after {
			out = c
		}
	}
	return out, nil
}

func (l *changeLog) Grown(context.Context) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.grown, nil
}

func (l *changeLog) grows() { l.mu.Lock(); defer l.mu.Unlock(); l.grown++ }

func (l *changeLog) failsTwice() { l.mu.Lock(); defer l.mu.Unlock(); l.fails = 2 }

func (l *changeLog) add(c cybervault.SettingChanges) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changes = append(l.changes, c)
}

func TestFollower(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &changeLog{}
		var mu sync.Mutex
		var heard []string
		var broken error
		note := func(what string) { mu.Lock(); defer mu.Unlock(); heard = append(heard, what) }
		breaks := func(err error) { mu.Lock(); defer mu.Unlock(); broken = err }
		f := &follower{
			log: log, news: make(chan struct{}, 1), logger: slog.New(slog.DiscardHandler),
			webhooks: func(_ context.Context, keys map[int64]bool) error {
				mu.Lock()
				err := broken
				mu.Unlock()
				if err == nil && keys[7] {
					note("webhook 7")
				}
				return err
			},
			all:   func(context.Context) error { note("all webhooks"); return nil },
			types: func(context.Context) error { note("event types"); return nil }, forget: func() { note("keys") }, changed: func() { note("changed") },
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { f.run(ctx); close(ended) }()
		wants := func(what string, want ...string) {
			t.Helper()
			f.signal()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if len(heard) != len(want) {
				t.Fatalf("%s: heard %v, want %v", what, heard, want)
			}
			for i := range want {
				if heard[i] != want[i] {
					t.Fatalf("%s: heard %v, want %v", what, heard, want)
				}
			}
			heard = nil
		}
		wants("nothing")
		log.add(cybervault.SettingChanges{Last: 3, Webhooks: map[int64]bool{7: true}})
		wants("a webhook", "webhook 7", "changed")
		wants("nothing new")
		log.add(cybervault.SettingChanges{Last: 4, EventTypes: true, APIKeys: true})
		wants("the rest", "event types", "keys", "changed")
		log.add(cybervault.SettingChanges{Last: 9000, All: true})
		wants("too much", "event types", "all webhooks", "keys", "changed")
		log.grows()
		wants("a commit", "changed")

		// What fails is heard again, without anybody's word.
		breaks(errors.New("cannot be read"))
		log.failsTwice()
		log.add(cybervault.SettingChanges{Last: 9001, Webhooks: map[int64]bool{7: true}})
		f.signal()
		synctest.Wait()
		wantsNothing := func() {
			t.Helper()
			mu.Lock()
			defer mu.Unlock()
			if len(heard) != 0 {
				t.Fatalf("heard %v of what could not be read", heard)
			}
		}
		wantsNothing()
		rest(t.Context(), 10*followPause)
		wantsNothing()
		breaks(nil)
		rest(t.Context(), followPause)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if len(heard) != 2 || heard[0] != "webhook 7" {
			t.Fatalf("after the trouble: %v", heard)
		}
		stop()
		<-ended
	})
}
