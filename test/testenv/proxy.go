package testenv

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// A Proxy stands between a program and a server it talks TCP to, and does what
// networks do: it cuts, swallows, delays, is slow, or leads elsewhere. Safe for
// concurrent use.
type Proxy struct {
	// Address is what it listens on, "127.0.0.1:PORT".
	Address string

	t        testing.TB
	listener net.Listener
	moved    sync.WaitGroup

	mu      sync.Mutex
	network string // of the server: "tcp" or "unix"
	target  string
	fault   Fault
	changed chan struct{} // closed, and made anew, with each change of the fault
	ended   bool
	open    map[net.Conn]bool
}

// A Fault is what a proxy does to what it carries; the zero value nothing.
type Fault struct {
	// Refuse ends each new connection at once.
	Refuse bool
	// Swallow lets nothing through, either way, and ends nothing: what came
	// meanwhile goes on when the fault is over, as TCP would send it again.
	Swallow bool
	// Latency is added to each way.
	Latency time.Duration
	// Bandwidth is how many bytes a second pass each way; 0: all.
	Bandwidth int
}

// NewProxy starts a proxy to a server. It ends with the test.
func NewProxy(t testing.TB, network, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("testenv: proxy: %v", err)
	}
	p := &Proxy{Address: l.Addr().String(), t: t, listener: l, network: network, target: target, changed: make(chan struct{}), open: map[net.Conn]bool{}}
	p.moved.Go(p.accept)
	t.Cleanup(func() {
		p.mu.Lock()
		p.ended = true
		p.mu.Unlock()
		_ = l.Close() // it does not matter any more
		p.Set(Fault{})
		p.Cut()
		p.moved.Wait()
	})
	return p
}

// Set makes the fault that of all connections, those that are open included.
func (p *Proxy) Set(fault Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = fault
	close(p.changed)
	p.changed = make(chan struct{})
}

// Cut ends every connection with a reset. New ones are taken, unless the fault
// is to refuse them.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.open {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // then Close resets
		}
		_ = conn.Close()
	}
}

// Lead sends new connections to another server; those that are open stay.
func (p *Proxy) Lead(network, target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.network, p.target = network, target
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.moved.Go(func() { p.carry(client) })
	}
}

func (p *Proxy) carry(client net.Conn) {
	if !p.keep(client) {
		return
	}
	defer p.drop(client)
	p.mu.Lock()
	network, target := p.network, p.target
	p.mu.Unlock()
	server, err := net.Dial(network, target)
	if err != nil || !p.keep(server) {
		return
	}
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		both.Go(func() {
			p.move(way[0], way[1])
			p.drop(client)
			p.drop(server)
		})
	}
	both.Wait()
}

// move carries one way until either end closes.
func (p *Proxy) move(from io.Reader, to io.Writer) {
	chunk := make([]byte, 16<<10)
	for {
		n, err := from.Read(chunk)
		if n > 0 {
			p.pass(n)
			if _, err := to.Write(chunk[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass waits until n bytes may go on.
func (p *Proxy) pass(n int) {
	for first := true; ; first = false {
		p.mu.Lock()
		fault, changed := p.fault, p.changed
		p.mu.Unlock()
		wait := fault.Latency
		if fault.Bandwidth > 0 {
			wait += time.Duration(n) * time.Second / time.Duration(fault.Bandwidth)
		}
		switch {
		case fault.Swallow:
			<-changed
		case wait == 0 || !first:
			return
		default:
			select {
			case <-time.After(wait):
				return
			case <-changed: // it may swallow now
			}
		}
	}
}

// keep notes a connection that is to be cut with the others.
func (p *Proxy) keep(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended || p.fault.Refuse {
		_ = conn.Close()
		return false
	}
	p.open[conn] = true
	return true
}

func (p *Proxy) drop(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, conn)
	_ = conn.Close()
}
