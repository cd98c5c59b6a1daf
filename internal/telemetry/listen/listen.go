// Package listen takes syslog in from the network: over UDP, TCP and TLS, RFC
// 3164 and RFC 5424, framed as RFC 6587 and RFC 5425 have it.
//
// It stands before the threat engine, beside the API (socket -> listen ->
// telemetry, detect -> router). It owns the sockets, the frames and a bounded
// queue: a sender over TCP is made to wait when that is full, a datagram is
// dropped and counted. It never reads what a message says, never answers a
// sender, and hands the next batch on only when what the last led to is on disk.
package listen

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/telemetry/stream"
)

// Bounds of what is held in memory.
const (
	MaxMessageBytes  = 64 << 10 // of a longer message the beginning is kept
	MaxConnections   = 1024     // over TCP and TLS together
	maxQueued        = 32768    // messages
	maxQueuedBytes   = 16 << 20
	socketBuffer     = 4 << 20 // asked of the kernel, for datagrams that come in a burst
	handshakeTimeout = 10 * time.Second
	keepAlive        = time.Minute
	gatherFor        = 200 * time.Millisecond // how long a batch that is not full waits for more
)

// The transports, as the source of their records and the metrics name them.
const (
	UDP = "udp"
	TCP = "tcp"
	TLS = "tls"
)

// Config of a Server. An address that is empty is not listened on.
type Config struct {
	UDP, TCP, TLS string         // host:port
	CertFile      string         // of the server, PEM; needed for TLS
	KeyFile       string         // of CertFile
	ClientCAFile  string         // senders over TLS must show a certificate of these; none: they need none
	Allow         []netip.Prefix // senders; none: everybody
	Engine        stream.Engine
	Logger        *slog.Logger
	Patience      stream.Patience // DefaultPatience if zero
}

// Server takes messages in. Safe for concurrent use.
type Server struct {
	cfg   Config
	log   *slog.Logger
	hands stream.Hands
	meter *meter
	queue *queue
	slots chan struct{} // one for each open connection

	udp       *net.UDPConn
	listeners map[string]net.Listener // by transport
	readers   sync.WaitGroup
}

// New binds the addresses, so that what is wrong with them is known at once. It
// takes nothing in before Run. The error names the setting.
func New(cfg Config) (_ *Server, err error) {
	if cfg.Patience == (stream.Patience{}) {
		cfg.Patience = stream.DefaultPatience
	}
	s := &Server{cfg: cfg, log: stream.Discard(cfg.Logger), meter: &meter{}, queue: newQueue(maxQueued, maxQueuedBytes),
		slots: make(chan struct{}, MaxConnections), listeners: map[string]net.Listener{}}
	s.hands = stream.Hands{Engine: cfg.Engine, Patience: cfg.Patience, Meter: stream.NewMeter("syslog", cfg.Logger, time.Now)}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if cfg.UDP != "" {
		if err := s.bindUDP(); err != nil {
			return nil, err
		}
	}
	if cfg.TCP != "" {
		if err := s.bind(TCP, cfg.TCP, nil); err != nil {
			return nil, err
		}
	}
	if cfg.TLS != "" {
		secure, err := serverTLS(cfg)
		if err != nil {
			return nil, err
		}
		if err := s.bind(TLS, cfg.TLS, secure); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *Server) bindUDP() error {
	conn, err := net.ListenPacket("udp", s.cfg.UDP) //nolint:noctx // a bind does not wait
	if err != nil {
		return cannotBind(UDP, s.cfg.UDP, err)
	}
	s.udp = conn.(*net.UDPConn)
	_ = s.udp.SetReadBuffer(socketBuffer) // the kernel gives what it may
	s.meter.transport(UDP)
	return nil
}

func (s *Server) bind(transport, address string, secure *tls.Config) error {
	config := net.ListenConfig{KeepAlive: keepAlive}
	l, err := config.Listen(context.Background(), "tcp", address)
	if err != nil {
		return cannotBind(transport, address, err)
	}
	if secure != nil {
		l = tls.NewListener(l, secure)
	}
	s.listeners[transport] = l
	s.meter.transport(transport)
	return nil
}

func cannotBind(transport, address string, err error) error {
	return &cybervault.Error{Code: cybervault.CodeInvalid, Field: "syslog_" + transport, Err: err,
		Message: fmt.Sprintf("cannot listen on %s (%v): choose another address, or stop what uses it", address, err)}
}

func serverTLS(cfg Config) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile)
	if err != nil {
		return nil, cybervault.Invalid("syslog_tls_cert_file", "%v: name a PEM certificate and, in syslog_tls_key_file, the key that belongs to it", err)
	}
	secure := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if cfg.ClientCAFile == "" {
		return secure, nil
	}
	pem, err := os.ReadFile(cfg.ClientCAFile)
	if err != nil {
		return nil, cybervault.Invalid("syslog_tls_client_ca_file", "cannot be read (%v): name a PEM file of certificate authorities", err)
	}
	secure.ClientCAs = x509.NewCertPool()
	if !secure.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, cybervault.Invalid("syslog_tls_client_ca_file", "%s holds no certificate: name a PEM file of certificate authorities", cfg.ClientCAFile)
	}
	secure.ClientAuth = tls.RequireAndVerifyClientCert
	return secure, nil
}

// Address is what a transport listens on, host:port; "" where it is off.
func (s *Server) Address(transport string) string {
	if transport == UDP && s.udp != nil {
		return s.udp.LocalAddr().String()
	}
	if l := s.listeners[transport]; l != nil {
		return l.Addr().String()
	}
	return ""
}

// Close gives the addresses back. It is for a server that is not run.
func (s *Server) Close() {
	if s.udp != nil {
		_ = s.udp.Close()
	}
	for _, l := range s.listeners {
		_ = l.Close()
	}
}

// Run takes messages in until ctx ends, then hands on those that it has. It may
// be called once.
func (s *Server) Run(ctx context.Context) {
	if s.udp != nil {
		s.log.Info("syslog is taken in", slog.String("transport", UDP), slog.String("address", s.Address(UDP)))
		s.readers.Go(func() { s.readUDP(ctx) })
	}
	for transport, l := range s.listeners {
		s.log.Info("syslog is taken in", slog.String("transport", transport), slog.String("address", s.Address(transport)))
		s.readers.Go(func() { s.accept(ctx, transport, l) })
	}
	stop := context.AfterFunc(ctx, s.Close)
	defer stop()
	go func() {
		s.readers.Wait()
		s.queue.close()
	}()
	for {
		batch := s.queue.take(stream.MaxPieces, stream.MaxBytes, gatherFor)
		if batch == nil {
			return
		}
		s.hand(ctx, batch)
	}
}

// hand gives a batch to the engine, and waits until what it led to is on disk.
func (s *Server) hand(ctx context.Context, batch []stream.Piece) {
	receipt, err := s.hands.Hand(ctx, batch, nil)
	if err != nil {
		// No sender sends it again: syslog has no acknowledgement.
		for _, piece := range batch {
			s.meter.count(transportOf(piece), func(t *TransportStats) { t.Lost++ })
		}
		s.log.Error("messages were lost at the stop: the store did not take what came of them", slog.Int("messages", len(batch)), slog.Any("error", err))
		return
	}
	for _, u := range receipt.Unreadable {
		s.meter.count(transportOf(batch[u.Piece]), func(t *TransportStats) { t.Unreadable++ })
		if s.hands.Meter.Say("unreadable") {
			s.log.Warn("a message could not be read and is skipped", slog.String("sender", batch[u.Piece].Host), slog.String("reason", u.Reason))
		}
	}
}

// readUDP takes datagrams in, a message each.
func (s *Server) readUDP(ctx context.Context) {
	buf := make([]byte, MaxMessageBytes)
	for {
		n, from, err := s.udp.ReadFromUDPAddrPort(buf)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			s.hands.Meter.Failed("datagram", err)
			if !s.cfg.Patience.Rest(ctx, 1) {
				return
			}
			continue
		}
		sender := from.Addr().Unmap().WithZone("")
		if !s.allowed(sender) {
			s.meter.count(UDP, func(t *TransportStats) { t.Refused++ })
			continue
		}
		s.put(UDP, sender.String(), buf[:n], false)
	}
}

// accept takes connections in.
func (s *Server) accept(ctx context.Context, transport string, l net.Listener) {
	for {
		conn, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // out of file descriptors, most likely
			s.hands.Meter.Failed("accept", err)
			if !s.cfg.Patience.Rest(ctx, 1) {
				return
			}
			continue
		}
		sender := peer(conn)
		select {
		case s.slots <- struct{}{}:
			if s.allowed(sender) {
				s.readers.Go(func() { s.serve(ctx, transport, sender.String(), conn) })
				continue
			}
			<-s.slots
		default:
			if s.hands.Meter.Say("connections") {
				s.log.Warn("a connection was refused: as many are open as may be", slog.Int("connections", MaxConnections))
			}
		}
		s.meter.count(transport, func(t *TransportStats) { t.Refused++ })
		_ = conn.Close()
	}
}

func peer(conn net.Conn) netip.Addr {
	from, _ := netip.ParseAddrPort(conn.RemoteAddr().String())
	return from.Addr().Unmap().WithZone("")
}

func (s *Server) allowed(sender netip.Addr) bool {
	if len(s.cfg.Allow) == 0 {
		return true
	}
	for _, p := range s.cfg.Allow {
		if p.Contains(sender) {
			return true
		}
	}
	return false
}

// serve reads a connection to its end.
func (s *Server) serve(ctx context.Context, transport, sender string, conn net.Conn) {
	s.meter.count(transport, func(t *TransportStats) { t.Connections++ })
	// A stop ends a read that waits; what has come is still handed on.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		stop()
		_ = conn.Close()
		<-s.slots
		s.meter.count(transport, func(t *TransportStats) { t.Connections-- })
	}()
	if secure, ok := conn.(*tls.Conn); ok {
		shaking, cancel := context.WithTimeout(ctx, handshakeTimeout)
		err := secure.HandshakeContext(shaking)
		cancel()
		if err != nil {
			s.meter.count(transport, func(t *TransportStats) { t.Refused++ })
			if s.hands.Meter.Say("handshake") {
				s.log.Warn("a sender's TLS handshake failed", slog.String("sender", sender), slog.Any("error", err))
			}
			return
		}
	}
	frames := newFramer(conn)
	for {
		message, cut, err := frames.next()
		if cut {
			s.meter.count(transport, func(t *TransportStats) { t.Cut++ })
		}
		if len(message) > 0 {
			s.put(transport, sender, message, true)
		}
		if err == nil {
			continue
		}
		if errors.Is(err, errFrame) {
			s.meter.count(transport, func(t *TransportStats) { t.Received++; t.Unreadable++ })
			if s.hands.Meter.Say("frame") {
				s.log.Warn("a connection was closed", slog.String("sender", sender), slog.Any("error", err))
			}
		}
		return
	}
}

// put queues a message. One that may wait, waits: whoever sends it then waits, too.
func (s *Server) put(transport, sender string, message []byte, mayWait bool) {
	data := clean(message)
	if len(data) == 0 {
		return
	}
	took := s.queue.put(stream.Piece{Source: "syslog-" + transport, Host: sender, Data: data}, mayWait)
	s.meter.count(transport, func(t *TransportStats) {
		t.Received++
		if !took {
			t.Dropped++
		}
	})
	if !took && s.hands.Meter.Say("dropped") {
		s.log.Warn("datagrams are dropped: they come faster than they are judged", slog.String("sender", sender))
	}
}

func transportOf(p stream.Piece) string { return p.Source[len("syslog-"):] }
