package cli

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/cobra"
)

// maxReceivedBytes bounds the body of a request; an event has at most 256 KiB.
const maxReceivedBytes = 1 << 20

// listenFlags are the settings of listen.
type listenFlags struct {
	port     int
	statuses []int
	delay    time.Duration
	secrets  []string
	plain    bool
	dir      string
	body     bool
	json     bool
}

func newListen(env *Env) *cobra.Command {
	var f listenFlags
	cmd := &cobra.Command{
		Use: "listen", GroupID: groupReceiver, Args: cobra.NoArgs,
		Short: "A local receiver that verifies what it gets and prints it",
		Long: `Receives webhooks on 127.0.0.1, checks both signatures of each request if it
knows the secret, prints it, and answers as it is told. It serves HTTPS with a
certificate that it makes once and keeps; hand its authority (ca.pem) to the
webhook. The server must allow loopback: serve --dev, or --allow-destination
127.0.0.0/8.`,
		Example: `  cybervault listen --secret whsec_…
  cybervault listen --status 500,500,200        # the first two requests fail
  cybervault listen --status 200 --delay 6s     # every attempt times out`,
		RunE: func(cmd *cobra.Command, _ []string) error { return listen(cmd.Context(), env, &f) },
	}
	flags := cmd.Flags()
	flags.IntVar(&f.port, "port", 8443, "port to listen on; 0 takes a free one")
	flags.IntSliceVar(&f.statuses, "status", []int{http.StatusOK}, "status to answer with; several, with commas, for one request after the other, the last for all that follow")
	flags.DurationVar(&f.delay, "delay", 0, "how long to wait before answering")
	flags.StringSliceVar(&f.secrets, "secret", nil, "the webhook's signing secret; repeatable (default $"+secretVariable+")")
	flags.BoolVar(&f.plain, "http", false, "serve HTTP instead of HTTPS (webhooks need serve --dev for it)")
	flags.StringVar(&f.dir, "tls-dir", "", "where the certificate is kept (default cybervault/listen in the user's configuration directory)")
	flags.BoolVar(&f.body, "body", false, "print the bodies too")
	flags.BoolVar(&f.json, "json", false, "print JSON, one request a line")
	return cmd
}

func (f *listenFlags) check(env *Env) error {
	if v, ok := env.LookupEnv(secretVariable); ok && v != "" && len(f.secrets) == 0 {
		f.secrets = []string{v}
	}
	for _, s := range f.statuses {
		if s < 200 || s > 599 {
			return usagef("--status: %d is not the status of an answer: use 200 to 599", s)
		}
	}
	if f.delay < 0 || f.port < 0 || f.port > 65535 {
		return usagef("--delay and --port cannot be negative, and a port is at most 65535")
	}
	if len(f.statuses) == 0 {
		return usagef("--status: give at least one")
	}
	return nil
}

// listen serves until ctx ends.
func listen(ctx context.Context, env *Env, f *listenFlags) error {
	if err := f.check(env); err != nil {
		return err
	}
	var certificate *loopbackCertificate
	caPath := ""
	if !f.plain {
		dir := f.dir
		if dir == "" {
			base, err := os.UserConfigDir()
			if err != nil {
				return fmt.Errorf("no place for the certificate (%w): name one with --tls-dir", err)
			}
			dir = filepath.Join(base, "cybervault", "listen")
		}
		var err error
		if certificate, caPath, err = keptLoopbackCertificate(dir, env.Now()); err != nil {
			return fmt.Errorf("certificate: %w", err)
		}
	}
	r := &localReceiver{secrets: f.secrets, statuses: f.statuses, delay: f.delay, now: env.Now, show: f.printer(env)}
	return r.serve(ctx, net.JoinHostPort("127.0.0.1", strconv.Itoa(f.port)), certificate, func(url string) {
		fmt.Fprintf(env.Stderr, "Receiving at %s\n", url)
		if caPath != "" {
			fmt.Fprintf(env.Stderr, "Add it as a webhook:\n  cybervault webhooks create %s --events '*' --ca-certificate %s\n", url, caPath)
		}
		if len(f.secrets) == 0 {
			fmt.Fprintf(env.Stderr, "Signatures are not checked: give the webhook's secret with --secret or %s\n", secretVariable)
		}
	})
}

// printer returns what shows each request.
func (f *listenFlags) printer(env *Env) func(receivedRequest) {
	p := colours(env, env.Stdout)
	return func(r receivedRequest) {
		if f.json {
			if raw, err := json.Marshal(r); err == nil { // strings and numbers: it cannot fail
				_ = printLine(env.Stdout, raw)
			}
			return
		}
		signature := p.dim("unchecked")
		switch {
		case r.Checked && r.Wrong == "":
			signature = p.good("valid")
		case r.Checked:
			signature = p.bad("WRONG: " + r.Wrong)
		}
		answered := strconv.Itoa(r.Status)
		if r.Status >= http.StatusMultipleChoices {
			answered = p.warn(answered)
		}
		fmt.Fprintf(env.Stdout, "%s  %s  attempt %s  signature %s  answered %s  %s\n", p.dim(r.At.Format("15:04:05.000")),
			p.bold(clean(r.Event)), clean(r.Attempt), signature, answered, p.dim(clean(r.ID)))
		if !f.body {
			return
		}
		if json.Valid([]byte(r.Body)) {
			_ = printPretty(env.Stdout, []byte(r.Body))
		} else {
			fmt.Fprintln(env.Stdout, clean(r.Body))
		}
	}
}

// receivedRequest is one request that a localReceiver got, and what it answered.
type receivedRequest struct {
	At       time.Time `json:"at"`
	Event    string    `json:"event"`
	ID       string    `json:"id"`       // webhook-id, the event's
	Delivery string    `json:"delivery"` // X-CyberVault-Delivery
	Attempt  string    `json:"attempt"`
	Checked  bool      `json:"signature_checked"` // whether a secret was known
	Wrong    string    `json:"signature_error"`   // what is wrong with the signatures, "" for nothing
	Status   int       `json:"answered"`
	Body     string    `json:"body"`
}

// A localReceiver receives webhooks on this machine.
type localReceiver struct {
	secrets  []string // any of them may have signed; none: nothing is checked
	statuses []int    // for one request after the other, the last for all that follow
	delay    time.Duration
	now      func() time.Time
	show     func(receivedRequest) // called for one request at a time

	mu   sync.Mutex
	seen int
}

// serve receives on address until ctx ends; over HTTPS with the certificate,
// over HTTP if that is nil. ready is told the receiver's URL first.
func (r *localReceiver) serve(ctx context.Context, address string, certificate *loopbackCertificate, ready func(url string)) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("%w: choose another port with --port", err)
	}
	scheme := "http"
	server := &http.Server{
		Handler: http.HandlerFunc(r.receive), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // a sender that hangs up is no news
	}
	if certificate != nil {
		scheme = "https"
		server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate.Server}, MinVersion: tls.VersionTLS12}
	}
	ended := make(chan error, 1)
	go func() {
		if certificate != nil {
			ended <- server.ServeTLS(listener, "", "")
		} else {
			ended <- server.Serve(listener)
		}
	}()
	ready(scheme + "://" + listener.Addr().String())
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := server.Shutdown(stop); err != nil {
		_ = server.Close() // answers that are still delayed are given up
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (r *localReceiver) receive(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxReceivedBytes))
	if err != nil {
		http.Error(w, "the body is too large or broke off", http.StatusRequestEntityTooLarge)
		return
	}
	got := receivedRequest{
		At: r.now(), Event: req.Header.Get("X-CyberVault-Event"), ID: req.Header.Get("webhook-id"),
		Delivery: req.Header.Get("X-CyberVault-Delivery"), Attempt: req.Header.Get("X-CyberVault-Attempt"), Body: string(body),
	}
	if len(r.secrets) > 0 {
		got.Checked, got.Wrong = true, checkRequest(r.secrets, req.Header, body, r.now())
	}
	r.mu.Lock()
	got.Status = r.statuses[min(r.seen, len(r.statuses)-1)]
	r.seen++
	r.show(got)
	r.mu.Unlock()

	if r.delay > 0 {
		wait := time.NewTimer(r.delay)
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-req.Context().Done():
			return // the sender did not wait
		}
	}
	w.WriteHeader(got.Status)
}
