package outbound

import (
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// idleLinks makes links over pipes and counts those that were closed.
type idleLinks struct {
	t      *testing.T
	closed atomic.Int32
}

type countedConn struct {
	net.Conn
	closed *atomic.Int32
}

func (c countedConn) Close() error {
	c.closed.Add(1)
	return c.Conn.Close()
}

func (i *idleLinks) link(origin string) *link {
	a, b := net.Pipe()
	i.t.Cleanup(func() { _ = a.Close(); _ = b.Close() })
	return newLink(&conn{Conn: countedConn{a, &i.closed}, alive: func() bool { return true }}, origin)
}

func TestIdlePoolIsBounded(t *testing.T) {
	t.Parallel()
	links := &idleLinks{t: t}
	now := time.Now()
	p := newIdlePool(func() time.Time { return now }, 10, 3)
	defer p.close()
	for i := range 5 {
		p.put(links.link("https://one"), now.Add(time.Duration(i)))
	}
	if p.count != 3 || links.closed.Load() != 2 {
		t.Errorf("%d idle to one host, %d closed; want 3 and 2", p.count, links.closed.Load())
	}
	for i := range 20 {
		p.put(links.link(fmt.Sprint("https://", i)), now.Add(time.Second))
	}
	if p.count != 10 || links.closed.Load() != 15 {
		t.Errorf("%d idle in all, %d closed; want 10 and 15", p.count, links.closed.Load())
	}
	for i := range 20 {
		if got := p.take(fmt.Sprint("https://", i), now.Add(time.Second)) != nil; got != (i >= 10) {
			t.Errorf("host %d: found %t; the oldest give way", i, got)
		}
	}
	if p.count != 0 || p.oldest != nil || p.newest != nil {
		t.Errorf("%d are left", p.count)
	}
}

func TestIdlePoolTakesTheLastUsed(t *testing.T) {
	t.Parallel()
	links := &idleLinks{t: t}
	now := time.Now()
	p := newIdlePool(func() time.Time { return now }, 10, 10)
	defer p.close()
	a, b, c := links.link("x"), links.link("x"), links.link("y")
	p.put(a, now)
	p.put(c, now)
	p.put(b, now.Add(time.Minute))
	if p.take("x", now.Add(IdleConnTimeout+time.Second)) != b {
		t.Error("not the one last used")
	}
	if p.take("x", now.Add(IdleConnTimeout+time.Second)) != nil || links.closed.Load() != 1 {
		t.Error("one that is too old was given, or was not closed")
	}
	if p.take("y", now.Add(IdleConnTimeout)) != c || p.take("z", now) != nil {
		t.Error("not the one of its host")
	}
}

func TestIdlePoolSweeps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		links := &idleLinks{t: t}
		p := newIdlePool(time.Now, 10, 10)
		defer p.close()
		dead, brief, old := links.link("x"), links.link("x"), links.link("y")
		var gone atomic.Bool
		dead.alive = func() bool { return !gone.Load() }
		brief.noteKeepAlive("timeout=30")
		for _, l := range []*link{dead, brief, old} {
			p.put(l, time.Now())
		}
		expect := func(after time.Duration, closed int32) {
			t.Helper()
			<-time.After(after) // of virtual time
			synctest.Wait()
			if links.closed.Load() != closed {
				t.Errorf("%d closed, want %d", links.closed.Load(), closed)
			}
		}
		expect(20*time.Second, 0)
		gone.Store(true)
		expect(sweepInterval, 2) // 24 s are what 30 leave
		expect(IdleConnTimeout-30*time.Second, 2)
		expect(sweepInterval, 3)
		if p.sweeper != nil || len(p.byOrigin) != 0 || p.count != 0 {
			t.Errorf("a pool with nothing in it goes on sweeping, or keeps %d hosts", len(p.byOrigin))
		}
	})
}

func TestIdlePoolCloses(t *testing.T) {
	t.Parallel()
	links := &idleLinks{t: t}
	p := newIdlePool(time.Now, 10, 10)
	p.put(links.link("x"), time.Now())
	p.close()
	p.put(links.link("x"), time.Now()) // of an exchange that was under way
	p.close()
	if links.closed.Load() != 2 || p.count != 0 || p.take("x", time.Now()) != nil {
		t.Errorf("%d closed, %d idle; want 2 and none", links.closed.Load(), p.count)
	}
}
