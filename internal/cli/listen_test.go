package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/cli"
)

const (
	testSecret  = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	otherSecret = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
)

// listening is a listen command that runs until the test ends.
type listening struct {
	url    string
	caFile string
	lines  <-chan string // of its stdout
	stop   func() int
}

// startListening runs listen and waits until it tells its address.
func startListening(t *testing.T, args ...string) *listening {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	outReader, out := io.Pipe()
	errReader, errWriter := io.Pipe()
	ended := make(chan int, 1)
	env := world(nil, nil, out, errWriter, append([]string{"listen", "--port", "0"}, args...)...)
	go func() {
		ended <- cli.Run(ctx, env)
		out.Close()
		errWriter.Close()
	}()
	lines := make(chan string, 100) // read at once: listen answers after it has printed
	go func() {
		defer close(lines)
		for printed := bufio.NewScanner(outReader); printed.Scan(); {
			lines <- printed.Text()
		}
	}()
	l := &listening{lines: lines}
	l.stop = func() int { cancel(); return <-ended }
	t.Cleanup(cancel)

	said := bufio.NewScanner(errReader)
	for l.url == "" && said.Scan() {
		if url, ok := strings.CutPrefix(said.Text(), "Receiving at "); ok {
			l.url = url
		}
	}
	if strings.HasPrefix(l.url, "https:") {
		said.Scan()
		said.Scan()
		_, l.caFile, _ = strings.Cut(said.Text(), "--ca-certificate ")
	}
	go func() { _, _ = io.Copy(io.Discard, errReader) }()
	if l.url == "" {
		t.Fatal("listen did not tell its address")
	}
	return l
}

// signed makes a request as the server sends it at the moment of the tests' clock.
func signed(t *testing.T, url, secret string, body []byte) *http.Request {
	t.Helper()
	at := world(nil, nil, nil, nil).Now().Unix()
	signature, err := cybervault.SignStandard(secret, "wh_1", at, body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{
		"X-Cybervault-Event": {"threat.detected"}, "X-Cybervault-Delivery": {"dlv_1"}, "X-Cybervault-Attempt": {"1"},
		"X-Cybervault-Signature": {cybervault.SignHex(secret, body)},
		"Webhook-Id":             {"wh_1"}, "Webhook-Timestamp": {strconv.FormatInt(at, 10)}, "Webhook-Signature": {signature},
	}
	return req
}

func post(t *testing.T, client *http.Client, req *http.Request) int {
	t.Helper()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

func (l *listening) next(t *testing.T) string {
	t.Helper()
	line, ok := <-l.lines
	if !ok {
		t.Fatal("listen printed nothing more")
	}
	return line
}

func TestListenVerifiesAnswersAndPrints(t *testing.T) {
	t.Parallel()
	l := startListening(t, "--http", "--json", "--status", "500,201", "--secret", otherSecret, "--secret", testSecret)
	requests := []struct {
		change func(*http.Request)
		status int
		wrong  string
	}{
		{change: func(*http.Request) {}, status: 500},
		{change: func(r *http.Request) { r.Header.Set("X-CyberVault-Signature", strings.Repeat("0", 64)) }, status: 201, wrong: "X-CyberVault-Signature does not match"},
		{change: func(r *http.Request) { r.Header.Del("X-CyberVault-Signature") }, status: 201, wrong: "X-CyberVault-Signature is missing"},
		{change: func(r *http.Request) {
			r.Header.Set("X-CyberVault-Signature-Next", r.Header.Get("X-CyberVault-Signature"))
			r.Header.Set("X-CyberVault-Signature", strings.Repeat("0", 64))
		}, status: 201},
		{change: func(r *http.Request) { r.Header.Set("webhook-signature", "v1,AAAA") }, status: 201, wrong: "webhook-signature does not match"},
		{change: func(r *http.Request) { r.Header.Set("webhook-signature", "v1,AAAA "+r.Header.Get("webhook-signature")) }, status: 201},
		{change: func(r *http.Request) { r.Header.Set("webhook-id", "wh_2") }, status: 201, wrong: "webhook-signature does not match"},
		{change: func(r *http.Request) { r.Header.Set("webhook-timestamp", "soon") }, status: 201, wrong: "webhook-timestamp is not a number of seconds"},
		{change: func(r *http.Request) {
			old, err := cybervault.SignStandard(testSecret, "wh_1", 1000, []byte(`{"a":1}`))
			if err != nil {
				t.Error(err)
			}
			r.Header.Set("webhook-timestamp", "1000")
			r.Header.Set("webhook-signature", old)
		}, status: 201, wrong: "away from this clock"},
	}
	for i, want := range requests {
		req := signed(t, l.url, testSecret, []byte(`{"a":1}`))
		want.change(req)
		if status := post(t, http.DefaultClient, req); status != want.status {
			t.Errorf("request %d: answered %d, want %d", i, status, want.status)
		}
		var got struct {
			Event, ID, Delivery, Attempt, Body string
			Checked                            bool   `json:"signature_checked"`
			Wrong                              string `json:"signature_error"`
			Status                             int    `json:"answered"`
		}
		if err := json.Unmarshal([]byte(l.next(t)), &got); err != nil {
			t.Fatal(err)
		}
		if !got.Checked || (want.wrong == "") != (got.Wrong == "") || !strings.Contains(got.Wrong, want.wrong) ||
			got.Status != want.status || got.Event != "threat.detected" || got.Body != `{"a":1}` {
			t.Errorf("request %d: printed %+v, want the error %q", i, got, want.wrong)
		}
	}
	if status := l.stop(); status != cli.ExitDone {
		t.Errorf("stopped with status %d, want 0", status)
	}
}

func TestListenServesHTTPSWithACertificateThatItKeeps(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := startListening(t, "--tls-dir", dir)
	if l.caFile != filepath.Join(dir, "ca.pem") {
		t.Fatalf("the authority is said to be in %q", l.caFile)
	}
	ca, err := os.ReadFile(l.caFile)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		t.Fatalf("%s is not a certificate", l.caFile)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
	defer client.CloseIdleConnections()
	if status := post(t, client, signed(t, l.url, testSecret, []byte(`{}`))); status != http.StatusOK {
		t.Errorf("answered %d, want 200", status)
	}
	if line := l.next(t); !strings.Contains(line, "threat.detected") || !strings.Contains(line, "signature unchecked") || !strings.Contains(line, "answered 200") {
		t.Errorf("printed %q", line)
	}
	// By name and over IPv6 the same certificate holds, elsewhere it does not.
	for name, good := range map[string]bool{"localhost": true, "127.0.0.1": true, "::1": true, "example.com": false} {
		state := client.Transport.(*http.Transport).TLSClientConfig.Clone()
		state.ServerName = name
		conn, err := tls.Dial("tcp", strings.TrimPrefix(l.url, "https://"), state)
		if (err == nil) != good {
			t.Errorf("as %s: error %v, want trusted = %v", name, err, good)
		}
		if err == nil {
			conn.Close()
		}
	}
	if status := l.stop(); status != cli.ExitDone {
		t.Errorf("stopped with status %d, want 0", status)
	}

	startListening(t, "--tls-dir", dir)
	again, err := os.ReadFile(l.caFile)
	if err != nil || !bytes.Equal(ca, again) {
		t.Errorf("the authority is another one after a restart (error %v)", err)
	}
	if info, err := os.Stat(filepath.Join(dir, "server-key.pem")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key can be read by others: %v, %v", info.Mode(), err)
	}
}

func TestListenDelayEndsWithTheSender(t *testing.T) {
	t.Parallel()
	l := startListening(t, "--http", "--delay", "1h")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		resp, err := http.DefaultClient.Do(signed(t, l.url, testSecret, []byte(`{}`)).WithContext(ctx))
		if err == nil {
			resp.Body.Close()
		}
		done <- err
	}()
	l.next(t) // it has arrived, and is not answered
	cancel()
	if err := <-done; err == nil {
		t.Error("it was answered before the delay was over")
	}
	stopped := make(chan int, 1)
	go func() { stopped <- l.stop() }()
	select {
	case status := <-stopped:
		if status != cli.ExitDone {
			t.Errorf("stopped with status %d, want 0", status)
		}
	case <-time.After(time.Minute):
		t.Error("it waits for the delay instead of stopping")
	}
}
