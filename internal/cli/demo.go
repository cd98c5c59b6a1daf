package cli

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/app"
	"github.com/cybervault/cybervault/internal/config"
	"github.com/cybervault/cybervault/internal/detect/sample"
)

// demoPatience bounds how long the demonstration waits for its deliveries.
const demoPatience = time.Minute

func newDemo(env *Env) *cobra.Command {
	var listen string
	var once bool
	cmd := &cobra.Command{
		Use: "demo", GroupID: groupServer, Args: cobra.NoArgs,
		Short: "See all of it in one go: attacks in a log become verified deliveries",
		Long: `Starts a server on a scratch directory and an HTTPS receiver on this machine,
adds the receiver as a webhook, feeds a shipped sample of web server and sshd
logs through the threat engine, and prints each delivery as the receiver gets
it. The receiver refuses one at first, so that a retry is seen. Nothing is kept.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := &demo{env: env, once: once, p: colours(env, env.Stdout), accepted: map[string]bool{}, arrived: make(chan struct{}, 1)}
			return d.run(cmd.Context(), listen)
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "", "address of the server (default 127.0.0.1:8400, or a free port if that is taken)")
	cmd.Flags().BoolVar(&once, "once", false, "end after the last delivery, with status 0")
	return cmd
}

// demo is one run of the demonstration. It uses the server as its users do:
// through its API.
type demo struct {
	env  *Env
	once bool
	p    palette
	api  *client

	mu       sync.Mutex
	accepted map[string]bool // event ids that the receiver answered with success
	arrived  chan struct{}   // told after each request
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.env.Stdout, format+"\n", args...) }

func (d *demo) run(ctx context.Context, listen string) (err error) {
	dir, err := os.MkdirTemp("", "cybervault-demo-*")
	if err != nil {
		return fmt.Errorf("make a scratch directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	key := "cvk_demo_" + rand.Text()
	server, err := d.server(ctx, listen, dir, key)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	defer func() { stop(); err = errors.Join(err, <-ended) }()

	if d.api, err = (&clientFlags{server: "http://" + server.Address(), key: key}).connect(d.env); err != nil {
		return err
	}
	receiver, receiverURL, certificate, err := d.receive(ctx)
	if err != nil {
		return err
	}
	if err := d.show(ctx, receiver, receiverURL, certificate); err != nil {
		return err
	}
	if d.once {
		return nil
	}
	d.farewell(server, key)
	<-ctx.Done()
	return nil
}

// receive starts the receiver, which lives as long as ctx. It accepts the test
// payload, refuses the first event, and accepts the rest.
func (d *demo) receive(ctx context.Context) (*localReceiver, string, *loopbackCertificate, error) {
	certificate, err := newLoopbackCertificate(d.env.Now())
	if err != nil {
		return nil, "", nil, fmt.Errorf("make a certificate for the receiver: %w", err)
	}
	receiver := &localReceiver{statuses: []int{http.StatusOK, http.StatusServiceUnavailable, http.StatusOK}, now: d.env.Now, show: d.print}
	ready := make(chan string, 1)
	failed := make(chan error, 1)
	go func() { failed <- receiver.serve(ctx, "127.0.0.1:0", certificate, func(url string) { ready <- url }) }()
	select {
	case receiverURL := <-ready:
		return receiver, receiverURL, certificate, nil
	case err := <-failed:
		return nil, "", nil, err
	}
}

// server makes the server, on a free port when the usual one is taken.
func (d *demo) server(ctx context.Context, listen, dir, key string) (*app.App, error) {
	cfg := config.Default()
	cfg.DataDir, cfg.BootstrapAPIKey = dir, key
	cfg.AllowDestinations = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	cfg.RetrySchedule = []time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 15 * time.Second}
	if listen != "" {
		cfg.Listen = listen
	}
	cfg.LogLevel = slog.LevelWarn
	log := newLogger(d.env.Stderr, cfg)
	server, err := app.New(ctx, cfg, log, version(d.env.Version))
	if e, ok := errors.AsType[*cybervault.Error](err); ok && e.Field == "listen" && listen == "" {
		cfg.Listen = "127.0.0.1:0"
		server, err = app.New(ctx, cfg, log, version(d.env.Version))
	}
	return server, err
}

// show adds the receiver, feeds the samples and waits for every event.
func (d *demo) show(ctx context.Context, receiver *localReceiver, receiverURL string, certificate *loopbackCertificate) error {
	ctx, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	if err := d.addWebhook(ctx, receiver, receiverURL, certificate); err != nil {
		return err
	}
	ids, err := d.feed(ctx)
	if err != nil {
		return err
	}
	for !d.hasAll(ids) {
		select {
		case <-d.arrived:
		case <-ctx.Done():
			return fmt.Errorf("not every event was delivered within %s", demoPatience)
		}
	}
	d.say("\n%s %d events, each signed, verified and delivered over HTTPS; the refused one was tried again.", d.p.good("Done."), len(ids))
	return nil
}

func (d *demo) addWebhook(ctx context.Context, receiver *localReceiver, receiverURL string, certificate *loopbackCertificate) error {
	d.say("%s an HTTPS receiver of your own, %s", d.p.bold("1. Receiver"), receiverURL)
	w, _, err := send[struct {
		ID     string `json:"id"`
		Secret string `json:"secret"`
	}](ctx, d.api, http.MethodPost, "/v1/webhooks", nil, map[string]any{
		"url": receiverURL + "/webhooks", "events": []string{"*"}, "ca_certificate": string(certificate.CA), "description": "Demonstration receiver", "verification": false,
	})
	if err != nil {
		return err
	}
	receiver.mu.Lock()
	receiver.secrets = []string{w.Secret}
	receiver.mu.Unlock()
	d.say("%s   %s, for every event type; verified by a test payload:", d.p.bold("2. Webhook"), w.ID)
	_, _, err = send[json.RawMessage](ctx, d.api, http.MethodPost, "/v1/webhooks/"+w.ID+"/verify", nil, nil)
	return err
}

// feed hands the samples to the threat engine and returns the ids of the events
// they led to.
func (d *demo) feed(ctx context.Context) ([]string, error) {
	var ids []string
	d.say("%s web server and sshd logs, through the threat engine:", d.p.bold("3. Telemetry"))
	for _, s := range []struct {
		source string
		log    io.Reader
	}{{sample.AccessLogSource, sample.AccessLog()}, {sample.AuthLogSource, sample.AuthLog()}} {
		raw, err := d.api.post(ctx, http.MethodPost, "/v1/telemetry", url.Values{"source": {s.source}}, "text/plain", s.log)
		if err != nil {
			return nil, err
		}
		var receipt struct {
			Records int      `json:"records"`
			Events  []string `json:"events"`
		}
		if err := json.Unmarshal(raw, &receipt); err != nil {
			return nil, fmt.Errorf("the server's answer is not what this version expects: %w", err)
		}
		d.say("   %s: %d lines, %d events", s.source, receipt.Records, len(receipt.Events))
		ids = append(ids, receipt.Events...)
	}
	return ids, nil
}

func (d *demo) hasAll(ids []string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, id := range ids {
		if !d.accepted[id] {
			return false
		}
	}
	return true
}

// print shows one request that the receiver got.
func (d *demo) print(r receivedRequest) {
	var body struct {
		Data struct {
			Severity string  `json:"severity"`
			SourceIP string  `json:"source_ip"`
			Vector   string  `json:"vector"`
			Pattern  string  `json:"pattern"`
			Count    int     `json:"count"`
			Conf     float64 `json:"confidence"`
		} `json:"data"`
	}
	_ = json.Unmarshal([]byte(r.Body), &body) // what is unreadable shows as a wrong signature
	signature := d.p.good("signature valid")
	if r.Wrong != "" || !r.Checked {
		signature = d.p.bad("signature WRONG: " + r.Wrong)
	}
	latency := "?"
	if id, err := cybervault.ParseID[cybervault.EventID](r.ID); err == nil {
		latency = strconv.FormatInt(max(r.At.Sub(id.Time()).Milliseconds(), 0), 10) + " ms"
	}
	outcome := d.p.good("answered " + strconv.Itoa(r.Status))
	if r.Status >= http.StatusMultipleChoices {
		outcome = d.p.warn("refused with " + strconv.Itoa(r.Status) + ", on purpose: it will be tried again")
	}
	severity := body.Data.Severity
	if severity == "" {
		severity = "info"
	}
	d.say("   %s  %-16s %-8s  %s  attempt %s  %7s  %s", d.p.dim(r.At.Format("15:04:05.000")), d.p.bold(clean(r.Event)), severity, signature, clean(r.Attempt), latency, outcome)
	if what := body.Data.Vector + body.Data.Pattern; what != "" {
		d.say("      %s from %s, %d records, confidence %.2f", clean(what), clean(body.Data.SourceIP), body.Data.Count, body.Data.Conf)
	}
	d.mu.Lock()
	if r.Status < http.StatusMultipleChoices && r.Checked && r.Wrong == "" {
		d.accepted[r.ID] = true
	}
	d.mu.Unlock()
	select {
	case d.arrived <- struct{}{}:
	default:
	}
}

func (d *demo) farewell(server *app.App, key string) {
	d.say("\nThe dashboard: %s", d.p.bold(server.DashboardURL()))
	d.say(`
Publish one more, and see it arrive here and in the dashboard:

curl -X POST http://%s/v1/events \
  -H 'Authorization: Bearer %s' -H 'Content-Type: application/json' \
  -d '{"event":"threat.detected","data":{"threat_id":"thr_demo","severity":"critical","source_ip":"203.0.113.42","target_asset":"prod-db-01","vector":"sql_injection","confidence":0.98,"mitre_id":"T1190"}}'

Ctrl-C ends the demonstration and removes its data.`, server.Address(), key)
}
