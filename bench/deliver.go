package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cybervault/cybervault"
)

// DeliverOptions says how much to do.
type DeliverOptions struct {
	Events     int           // of each round
	Rounds     int           // reference and CyberVault in turn
	Batch      int           // events a publish call carries
	Publishers int           // connections that publish
	Light      time.Duration // how long the light load lasts
	ServeArgs  []string      // more arguments for the server, such as --database-url
	Progress   io.Writer     // a line for each step; nil for none
}

// DeliverReport is what Deliver found. Rates and times are medians of the rounds.
type DeliverReport struct {
	Scenario         string    `json:"scenario"`
	Machine          Machine   `json:"machine"`
	Store            string    `json:"store"`
	EventBytes       int       `json:"event_bytes"`
	Events           int       `json:"events"`
	Rounds           int       `json:"rounds"`
	Batch            int       `json:"batch"`
	Publishers       int       `json:"publishers"`
	ReferencePerS    float64   `json:"reference_per_s"`
	ReferenceAt      int       `json:"reference_concurrency"`
	DeliveredPerS    float64   `json:"delivered_per_s"`
	Ratio            float64   `json:"ratio"`
	Ratios           []float64 `json:"ratios"`
	CPUPerDelivery   float64   `json:"cpu_us_per_delivery"` // of the server process
	ReferenceCPU     float64   `json:"reference_cpu_us_per_delivery"`
	RSS              float64   `json:"rss_mb"`
	LightPerS        int       `json:"light_events_per_s"`
	PublishAck       Quantiles `json:"publish_ack_ms"`
	Latency          Quantiles `json:"latency_ms"` // from before the publish call to the receiver
	Lost             int       `json:"lost"`
	Duplicates       int       `json:"duplicates"`
	AttemptsRecorded bool      `json:"all_recorded"` // no delivery was pending at the end of a round
}

const (
	lightPerS    = 100
	benchKey     = "cvk_benchmark_key_for_loopback_only"
	padding      = 262 // brings an envelope to about 600 bytes
	warmUpEvents = 2000
)

// Deliver compares the rate at which CyberVault brings events to one receiver
// with that of a bare net/http client that signs and posts the same bodies.
func Deliver(ctx context.Context, o DeliverOptions) (*DeliverReport, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dir, err := os.MkdirTemp("", "cybervault-bench-*")
	if err != nil {
		return nil, fmt.Errorf("make a scratch directory: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	recv, err := start(ctx, ReceiverMarker, nil, "bench", "receiver")
	if err != nil {
		return nil, err
	}
	defer recv.stop()
	server, err := start(ctx, "address=", []string{"CYBERVAULT_BOOTSTRAP_API_KEY=" + benchKey},
		append([]string{"serve", "--dev", "--listen", "127.0.0.1:0", "--data", dir, "--log-format", "text"}, o.ServeArgs...)...)
	if err != nil {
		return nil, err
	}
	defer server.stop()

	b := &deliverBench{o: o, recv: recv, server: server, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256, MaxIdleConns: 256}},
		report: &DeliverReport{Scenario: "deliver", Machine: thisMachine(), Store: "sqlite", Events: o.Events, Rounds: o.Rounds,
			Batch: o.Batch, Publishers: o.Publishers, LightPerS: lightPerS, AttemptsRecorded: true}}
	if strings.Contains(strings.Join(o.ServeArgs, " "), "postgres") {
		b.report.Store = "postgres"
	}
	if err := b.run(ctx); err != nil {
		return nil, fmt.Errorf("%w\nserver:\n%s", err, server.log.String())
	}
	return b.report, nil
}

type deliverBench struct {
	o            DeliverOptions
	recv, server *child
	client       *http.Client
	report       *DeliverReport
	next         atomic.Int64
}

func (b *deliverBench) say(format string, args ...any) {
	if b.o.Progress != nil {
		_, _ = fmt.Fprintf(b.o.Progress, format+"\n", args...)
	}
}

func (b *deliverBench) run(ctx context.Context) error {
	hook, err := json.Marshal(map[string]any{"url": "http://" + b.recv.address + "/hook", "events": []string{"*"}})
	if err != nil {
		return fmt.Errorf("encode the webhook: %w", err)
	}
	if _, err := b.call(ctx, http.MethodPost, "/v1/webhooks", hook); err != nil {
		return err
	}
	b.say("warming up")
	body := b.envelope()
	b.report.EventBytes = len(body)
	if _, _, err := b.round(ctx, warmUpEvents); err != nil {
		return err
	}
	best := 0.0
	for _, c := range []int{16, 32, 64, 128} {
		if rate, _ := b.reference(ctx, c, time.Second); rate > best {
			best, b.report.ReferenceAt = rate, c
		}
	}
	var references, rates, cpus, referenceCPUs []float64
	for i := range b.o.Rounds {
		reference, referenceCPU := b.reference(ctx, b.report.ReferenceAt, 3*time.Second)
		rate, cpu, err := b.round(ctx, b.o.Events)
		if err != nil {
			return err
		}
		b.say("round %d: bare client %.0f/s, CyberVault %.0f/s, ratio %.2f", i+1, reference, rate, rate/reference)
		references, rates = append(references, reference), append(rates, rate)
		cpus, referenceCPUs = append(cpus, cpu), append(referenceCPUs, referenceCPU)
		b.report.Ratios = append(b.report.Ratios, rate/reference)
	}
	_, rss := b.server.usage()
	r := b.report
	r.ReferencePerS, r.DeliveredPerS, r.Ratio = median(references), median(rates), median(r.Ratios)
	r.CPUPerDelivery, r.ReferenceCPU, r.RSS = median(cpus), median(referenceCPUs), float64(rss)/(1<<20)
	return b.light(ctx)
}

// data is the event data of every publish; sent is the moment of publishing in
// Unix nanoseconds, or 0.
func data(n, sent int64) string {
	return `{"threat_id":"thr_` + strconv.FormatInt(n, 10) + `","severity":"critical","source_ip":"203.0.113.42","target_asset":"prod-db-01","vector":"sql_injection","confidence":0.98,"mitre_id":"T1190","sent_at":` +
		strconv.FormatInt(sent, 10) + `,"note":"` + strings.Repeat("x", padding-92) + `"}`
}

// envelope is a body of the same form and length as those of the server.
func (b *deliverBench) envelope() []byte {
	id := "01947a2e-0000-7000-8000-000000000000"
	return []byte(`{"id":"wh_` + id + `","event":"threat.detected","timestamp":"2026-01-15T14:32:00.123Z","data":` + data(1000000, 0) +
		`,"metadata":{"workspace_id":"ws_` + id + `","engine_version":"ai_v1.0","idempotency_key":"idm_` + id + `"}}`)
}

// reference posts signed bodies with a bare keep-alive client for a while and
// returns the rate, and the processor time of this process for one request in µs.
func (b *deliverBench) reference(ctx context.Context, concurrency int, span time.Duration) (rate, cpu float64) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: concurrency, MaxIdleConns: concurrency, DisableCompression: true}}
	defer client.CloseIdleConnections()
	body := b.envelope()
	secret := cybervault.NewSecret(time.Now()).Value
	var done atomic.Int64
	var wg sync.WaitGroup
	started, before := time.Now(), ownCPU()
	for range concurrency {
		wg.Go(func() {
			for time.Since(started) < span && ctx.Err() == nil {
				if b.post(ctx, client, secret, body) == nil {
					done.Add(1)
				}
			}
		})
	}
	wg.Wait()
	n := float64(done.Load())
	return n / time.Since(started).Seconds(), float64((ownCPU() - before).Microseconds()) / max(n, 1)
}

func (b *deliverBench) post(ctx context.Context, client *http.Client, secret string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+b.recv.address+"/hook", bytes.NewReader(body))
	if err != nil {
		return err
	}
	now := time.Now().Unix()
	id := "wh_01947a2e-0000-7000-8000-000000000000"
	standard, err := cybervault.SignStandard(secret, id, now, body)
	if err != nil {
		return err
	}
	for name, value := range map[string]string{
		"Content-Type": "application/json", "User-Agent": "bare", "X-CyberVault-Event": "threat.detected", "X-CyberVault-Delivery": id,
		"X-CyberVault-Attempt": "1", "X-CyberVault-Sequence": "1", "X-CyberVault-Signature": cybervault.SignHex(secret, body),
		"webhook-id": id, "webhook-timestamp": strconv.FormatInt(now, 10), "webhook-signature": standard,
	} {
		req.Header[name] = []string{value}
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return errors.Join(err, resp.Body.Close())
}

// round publishes n events in batches and waits until all have been received
// and recorded. It returns deliveries a second and the server's processor time
// for one in µs.
func (b *deliverBench) round(ctx context.Context, n int) (rate, cpu float64, err error) {
	if _, err := b.ask(ctx, http.MethodPost, "/reset"); err != nil {
		return 0, 0, err
	}
	before, _ := b.server.usage()
	started := time.Now()
	var left atomic.Int64
	left.Store(int64(n))
	errs := make(chan error, b.o.Publishers)
	var wg sync.WaitGroup
	for range b.o.Publishers {
		wg.Go(func() {
			for {
				size := min(int64(b.o.Batch), left.Add(-int64(b.o.Batch))+int64(b.o.Batch))
				if size <= 0 {
					return
				}
				if err := b.publish(ctx, int(size)); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return 0, 0, err
	default:
	}
	if err := b.drained(ctx, n); err != nil {
		return 0, 0, err
	}
	elapsed := time.Since(started)
	after, _ := b.server.usage()
	if err := b.count(ctx, n); err != nil {
		return 0, 0, err
	}
	return float64(n) / elapsed.Seconds(), float64((after - before).Microseconds()) / float64(n), nil
}

// count adds what the receiver got in a round to the ledger.
func (b *deliverBench) count(ctx context.Context, n int) error {
	raw, err := b.ask(ctx, http.MethodGet, "/stats")
	if err != nil {
		return err
	}
	var got received
	if err := json.Unmarshal(raw, &got); err != nil {
		return fmt.Errorf("read the receiver's count: %w", err)
	}
	b.report.Lost += n - got.Distinct
	b.report.Duplicates += got.Requests - got.Distinct
	return nil
}

// drained waits until the receiver has n distinct events and the server has no
// delivery left that is pending.
func (b *deliverBench) drained(ctx context.Context, n int) error {
	deadline := time.Now().Add(2*time.Minute + time.Duration(n)*10*time.Millisecond)
	for {
		raw, err := b.ask(ctx, http.MethodGet, "/count")
		if err != nil {
			return err
		}
		if have, _ := strconv.Atoi(string(raw)); have >= n {
			pending, err := b.call(ctx, http.MethodGet, "/v1/deliveries?status=pending&limit=1", nil)
			if err != nil {
				return err
			}
			var page struct {
				Data []json.RawMessage `json:"data"`
			}
			if err := json.Unmarshal(pending, &page); err != nil {
				return fmt.Errorf("read the pending deliveries: %w", err)
			}
			if len(page.Data) == 0 {
				return nil
			}
		}
		if time.Now().After(deadline) {
			b.report.AttemptsRecorded = false
			return nil // what is missing stands in the ledger as lost
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (b *deliverBench) publish(ctx context.Context, n int) error {
	var body bytes.Buffer
	body.WriteByte('[')
	for i := range n {
		if i > 0 {
			body.WriteByte(',')
		}
		body.WriteString(`{"event":"threat.detected","data":` + data(b.next.Add(1), 0) + `}`)
	}
	body.WriteByte(']')
	_, err := b.call(ctx, http.MethodPost, "/v1/events/batch", body.Bytes())
	return err
}

// light publishes single events at a steady rate and measures how long the
// publisher waits and when the receiver has them.
func (b *deliverBench) light(ctx context.Context) error {
	if _, err := b.ask(ctx, http.MethodPost, "/reset"); err != nil {
		return err
	}
	b.say("light load: %d events/s for %s", lightPerS, b.o.Light)
	var mu sync.Mutex
	var acks []time.Duration
	var failed error
	var wg sync.WaitGroup
	ticker := time.NewTicker(time.Second / lightPerS)
	defer ticker.Stop()
	n := int(b.o.Light.Seconds() * lightPerS)
	for range n {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		wg.Go(func() {
			began := time.Now()
			_, err := b.call(ctx, http.MethodPost, "/v1/events", []byte(`{"event":"threat.detected","data":`+data(b.next.Add(1), began.UnixNano())+`}`))
			mu.Lock()
			defer mu.Unlock()
			acks = append(acks, time.Since(began))
			failed = errors.Join(failed, err)
		})
	}
	wg.Wait()
	if failed != nil {
		return failed
	}
	if err := b.drained(ctx, n); err != nil {
		return err
	}
	raw, err := b.ask(ctx, http.MethodGet, "/stats")
	if err != nil {
		return err
	}
	var got received
	if err := json.Unmarshal(raw, &got); err != nil {
		return fmt.Errorf("read the receiver's count: %w", err)
	}
	b.report.PublishAck, b.report.Latency = quantiles(acks), quantiles(got.Latencies)
	return b.count(ctx, n)
}

// call asks the server; anything but a 2xx is an error.
func (b *deliverBench) call(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	return b.request(ctx, method, "http://"+b.server.address+path, body)
}

// ask asks the receiver.
func (b *deliverBench) ask(ctx context.Context, method, path string) ([]byte, error) {
	return b.request(ctx, method, "http://"+b.recv.address+path, nil)
}

func (b *deliverBench) request(ctx context.Context, method, url string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make a request: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+benchKey)
	req.Header.Set("Content-Type", "application/json")
	resp, err := b.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, url, err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, url, err)
	}
	if resp.StatusCode/100 != 2 {
		return nil, fmt.Errorf("%s %s: %s: %s", method, url, resp.Status, answer)
	}
	return answer, nil
}
