package listen_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cybervault/cybervault/internal/telemetry/listen"
	"github.com/cybervault/cybervault/internal/telemetry/stream"
)

const patience = 20 * time.Second

// keeper is an engine that keeps what it is given, and may be told to wait.
type keeper struct {
	mu     sync.Mutex
	pieces []stream.Piece
	gate   chan struct{} // a batch waits for each; nil: none waits
	settle error
}

func (k *keeper) Judge(_ context.Context, pieces []stream.Piece) (stream.Receipt, error) {
	if k.gate != nil {
		<-k.gate
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	receipt := stream.Receipt{Records: len(pieces)}
	for i, p := range pieces {
		if strings.HasPrefix(string(p.Data), "garbage") {
			receipt.Unreadable = append(receipt.Unreadable, stream.Unreadable{Piece: i, Reason: "a syslog line was expected", Whole: true})
		}
	}
	k.pieces = append(k.pieces, pieces...)
	return receipt, nil
}

func (k *keeper) Settle(context.Context) error { return k.settle }

func (k *keeper) texts() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var all []string
	for _, p := range k.pieces {
		all = append(all, p.Source+" "+p.Host+" "+string(p.Data))
	}
	return all
}

// serve runs a server until the test ends, or stop is called.
func serve(t *testing.T, cfg listen.Config) (s *listen.Server, stop func()) {
	t.Helper()
	s, err := listen.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	stop = func() {
		cancel()
		select {
		case <-done:
		case <-time.After(patience):
			t.Error("the server does not stop")
		}
	}
	t.Cleanup(stop)
	return s, stop
}

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline, tick := time.NewTimer(patience), time.NewTicker(2*time.Millisecond)
	defer deadline.Stop()
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline.C:
			t.Fatalf("%s did not come about", what)
		case <-tick.C:
		}
	}
}

func send(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := conn.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

func dial(t *testing.T, network, address string) net.Conn {
	t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func want(t *testing.T, k *keeper, texts ...string) {
	t.Helper()
	until(t, fmt.Sprintf("%d messages", len(texts)), func() bool { return len(k.texts()) >= len(texts) })
	if got := k.texts(); !slices.Equal(got, texts) {
		t.Errorf("taken in:\n%q\nwant\n%q", got, texts)
	}
}

func TestEveryDatagramIsAMessage(t *testing.T) {
	t.Parallel()
	k := &keeper{}
	s, _ := serve(t, listen.Config{UDP: "127.0.0.1:0", Engine: k})
	conn := dial(t, "udp", s.Address(listen.UDP))
	for _, text := range []string{"<34>Oct 11 22:14:15 mymachine su: a\n", "<34>1 - - - - - - b\r\nforged\x00", "garbage"} {
		send(t, conn, text)
	}
	want(t, k, "syslog-udp 127.0.0.1 <34>Oct 11 22:14:15 mymachine su: a", "syslog-udp 127.0.0.1 <34>1 - - - - - - b  forged", "syslog-udp 127.0.0.1 garbage")
	until(t, "the count", func() bool { return s.Stats()[listen.UDP].Unreadable == 1 })
	if stats := s.Stats()[listen.UDP]; stats != (listen.TransportStats{Received: 3, Unreadable: 1}) {
		t.Errorf("the figures are %+v", stats)
	}
}

// Both framings of RFC 6587 are told apart, frame by frame, wherever the bytes
// are cut on their way.
func TestFramesOverTCP(t *testing.T) {
	t.Parallel()
	k := &keeper{}
	s, stop := serve(t, listen.Config{TCP: "127.0.0.1:0", Engine: k})
	conn := dial(t, "tcp", s.Address(listen.TCP))
	input := "<1>plain line\n17 <2>counted\nlines.11 <3>counted2\n2026-03-10T08:00:00Z host app: a line\n<4>the last, cut off"
	for part := range slices.Chunk([]byte(input), 3) {
		send(t, conn, string(part))
	}
	_ = conn.Close()
	want(t, k, "syslog-tcp 127.0.0.1 <1>plain line", "syslog-tcp 127.0.0.1 <2>counted lines.", "syslog-tcp 127.0.0.1 <3>counted2",
		"syslog-tcp 127.0.0.1 2026-03-10T08:00:00Z host app: a line", "syslog-tcp 127.0.0.1 <4>the last, cut off")
	until(t, "the end of the connection", func() bool { return s.Stats()[listen.TCP].Connections == 0 })
	open := dial(t, "tcp", s.Address(listen.TCP))
	until(t, "the connection", func() bool { return s.Stats()[listen.TCP].Connections == 1 })
	stop()
	if _, err := open.Read(make([]byte, 1)); err == nil {
		t.Error("a stop leaves a connection open")
	}
}

func TestALongMessageIsCutAndAnEndlessFrameEndsTheConnection(t *testing.T) {
	t.Parallel()
	k := &keeper{}
	s, _ := serve(t, listen.Config{TCP: "127.0.0.1:0", Engine: k})
	conn := dial(t, "tcp", s.Address(listen.TCP))
	long := strings.Repeat("x", listen.MaxMessageBytes+100)
	send(t, conn, "<1>"+long+"\n"+fmt.Sprintf("%d <2>%s", len(long)+3, long)+"<3>next\n99999999 <4>never")
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the connection was answered")
	}
	until(t, "three messages", func() bool { return len(k.texts()) == 3 })
	for i, text := range k.texts()[:2] {
		if n := len(text) - len("syslog-tcp 127.0.0.1 "); n != listen.MaxMessageBytes {
			t.Errorf("message %d has %d bytes, want %d", i, n, listen.MaxMessageBytes)
		}
	}
	if text := k.texts()[2]; text != "syslog-tcp 127.0.0.1 <3>next" {
		t.Errorf("after the long ones came %q", text)
	}
	if stats := s.Stats()[listen.TCP]; stats.Cut != 2 || stats.Unreadable != 1 || stats.Received != 4 {
		t.Errorf("the figures are %+v", stats)
	}
}

func TestOnlyAllowedSenders(t *testing.T) {
	t.Parallel()
	k := &keeper{}
	s, _ := serve(t, listen.Config{UDP: "127.0.0.1:0", TCP: "127.0.0.1:0", Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Engine: k})
	send(t, dial(t, "udp", s.Address(listen.UDP)), "<1>a")
	if _, err := dial(t, "tcp", s.Address(listen.TCP)).Read(make([]byte, 1)); err == nil {
		t.Error("a sender that is not allowed is answered")
	}
	until(t, "the refusals", func() bool { return s.Stats()[listen.UDP].Refused == 1 && s.Stats()[listen.TCP].Refused == 1 })
	if got := k.texts(); got != nil {
		t.Errorf("taken in: %q", got)
	}
}

// While the engine is busy, datagrams beyond the queue are dropped and counted,
// and a sender over TCP waits until there is room: nothing of it is lost.
func TestAFullQueueDropsDatagramsAndHoldsConnections(t *testing.T) {
	t.Parallel()
	k := &keeper{gate: make(chan struct{})}
	s, _ := serve(t, listen.Config{UDP: "127.0.0.1:0", TCP: "127.0.0.1:0", Engine: k})
	tcp := dial(t, "tcp", s.Address(listen.TCP))
	const messages, size = 800, 60 << 10 // 47 MiB: more than the queue, the batch and the kernel's buffers hold
	sent := make(chan error, 1)
	go func() {
		for i := range messages {
			if _, err := fmt.Fprintf(tcp, "<1>%d %s\n", i, strings.Repeat("x", size)); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	udp := dial(t, "udp", s.Address(listen.UDP))
	big := strings.Repeat("y", size)
	until(t, "a datagram that is dropped", func() bool {
		_, err := udp.Write([]byte("<2>" + big))
		return err == nil && s.Stats()[listen.UDP].Dropped > 0
	})
	if err := udp.Close(); err != nil {
		t.Error(err)
	}
	select {
	case err := <-sent:
		t.Fatalf("a sender over TCP did not wait: %v", err)
	default:
	}
	close(k.gate)
	until(t, "all messages over TCP", func() bool { return s.Stats()[listen.TCP].Received == messages })
	if err := <-sent; err != nil {
		t.Error(err)
	}
	received := func() int64 {
		udp := s.Stats()[listen.UDP]
		return messages + udp.Received - udp.Dropped
	}
	until(t, "all that was not dropped", func() bool { return int64(len(k.texts())) == received() })
	next := 0
	for _, text := range k.texts() {
		if strings.HasPrefix(text, "syslog-tcp") {
			if !strings.HasPrefix(text, fmt.Sprintf("syslog-tcp 127.0.0.1 <1>%d ", next)) {
				t.Fatalf("message %d is %.60s", next, text)
			}
			next++
		}
	}
	if next != messages || s.Stats()[listen.TCP].Dropped != 0 {
		t.Errorf("%d messages over TCP, want %d; the figures are %+v", next, messages, s.Stats()[listen.TCP])
	}
}

// What has come is handed on at a stop; what the store does not take then is lost, and said to be.
func TestAStopHandsOnWhatHasCome(t *testing.T) {
	t.Parallel()
	for _, settle := range []error{nil, errors.New("the disk is full")} {
		k := &keeper{settle: settle}
		s, stop := serve(t, listen.Config{TCP: "127.0.0.1:0", Engine: k})
		send(t, dial(t, "tcp", s.Address(listen.TCP)), "<1>a\n<1>b\n")
		until(t, "both messages", func() bool { return s.Stats()[listen.TCP].Received == 2 })
		stop()
		if len(k.texts()) != 2 {
			t.Errorf("the engine got %q", k.texts())
		}
		if lost := s.Stats()[listen.TCP].Lost; (lost == 2) != (settle != nil) {
			t.Errorf("with a store that says %v, %d messages are said to be lost", settle, lost)
		}
	}
}

// identity makes a certificate for 127.0.0.1 that issuer vouches for, or itself.
func identity(t *testing.T, issuer *tls.Certificate) (pair *tls.Certificate, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}, IsCA: issuer == nil, BasicConstraintsValid: true}
	parent, signer := template, any(key)
	if issuer != nil {
		parent, signer = issuer.Leaf, issuer.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM, keyPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err := errors.Join(os.WriteFile(certFile, certPEM, 0o600), os.WriteFile(keyFile, keyPEM, 0o600)); err != nil {
		t.Fatal(err)
	}
	made, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return &made, certFile, keyFile
}

// Over TLS a sender checks the server's certificate, and where the server names
// authorities it shows one of theirs.
func TestSyslogOverTLS(t *testing.T) {
	t.Parallel()
	ca, caFile, _ := identity(t, nil)
	_, certFile, keyFile := identity(t, ca)
	sender, _, _ := identity(t, ca)
	stranger, _, _ := identity(t, nil)
	roots := x509.NewCertPool()
	roots.AddCert(ca.Leaf)
	k := &keeper{}
	s, _ := serve(t, listen.Config{TLS: "127.0.0.1:0", CertFile: certFile, KeyFile: keyFile, ClientCAFile: caFile, Engine: k})
	speak := func(certificates ...tls.Certificate) {
		conn := tls.Client(dial(t, "tcp", s.Address(listen.TLS)), &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", Certificates: certificates, MinVersion: tls.VersionTLS12})
		// A sender whose certificate is refused may hear of it on writing, or later.
		_, _ = conn.Write([]byte("9 <1>hello\n8 <1>world"))
		_ = conn.CloseWrite()
	}
	speak()
	speak(*stranger)
	until(t, "two refusals", func() bool { return s.Stats()[listen.TLS].Refused == 2 })
	speak(*sender)
	want(t, k, "syslog-tls 127.0.0.1 <1>hello", "syslog-tls 127.0.0.1 <1>world")
	if stats := s.Stats()[listen.TLS]; stats.Received != 2 {
		t.Errorf("the figures are %+v", stats)
	}
}

func TestWrongListenersAreAnError(t *testing.T) {
	t.Parallel()
	taken, _ := serve(t, listen.Config{UDP: "127.0.0.1:0", TCP: "127.0.0.1:0", Engine: &keeper{}})
	_, certFile, keyFile := identity(t, nil)
	_, _, otherKey := identity(t, nil)
	for field, cfg := range map[string]listen.Config{
		"syslog_udp":                {UDP: taken.Address(listen.UDP)},
		"syslog_tcp":                {UDP: "127.0.0.1:0", TCP: taken.Address(listen.TCP)},
		"syslog_tls_cert_file":      {TLS: "127.0.0.1:0", CertFile: certFile, KeyFile: otherKey},
		"syslog_tls_client_ca_file": {TLS: "127.0.0.1:0", CertFile: certFile, KeyFile: keyFile, ClientCAFile: keyFile},
	} {
		if _, err := listen.New(cfg); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: the error is %v", field, err)
		}
	}
}
