package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

const benchKey = "cvk_benchmark_key_for_loopback_only"

// site is a server with a database of its own.
type site struct {
	b        *bench
	data     string   // its data directory
	database []string // arguments that name another database
	server   *child
	client   *http.Client
}

// newSite starts a server on an empty database.
func (b *bench) newSite(ctx context.Context) (*site, error) {
	b.made++
	s := &site{b: b, data: filepath.Join(b.dir, "data"+strconv.Itoa(b.made)),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}}}
	if err := os.Mkdir(s.data, 0o700); err != nil {
		return nil, fmt.Errorf("make a data directory: %w", err)
	}
	if b.o.Scratch != nil {
		args, remove, err := b.o.Scratch(ctx)
		if err != nil {
			return nil, err
		}
		s.database = args
		b.undo = append(b.undo, remove)
	}
	b.undo = append(b.undo, func() {
		if s.server != nil {
			s.server.stop()
		}
	})
	return s, s.start(ctx)
}

func (s *site) start(ctx context.Context) (err error) {
	args := []string{"serve", "--dev", "--listen", "127.0.0.1:0", "--data", s.data, "--log-format", "text"}
	args = append(args, s.database...)
	if profile := s.b.o.CPUProfile; profile != "" {
		if s.b.starts++; s.b.starts > 1 {
			profile += "." + strconv.Itoa(s.b.starts)
		}
		s.b.say("profile of %s in %s", filepath.Base(s.data), profile)
		args = append(args, "--cpu-profile", profile)
	}
	s.server, err = start(ctx, "address=", []string{"CYBERVAULT_BOOTSTRAP_API_KEY=" + benchKey}, args...)
	return err
}

// stop stops the server; start starts it again on the same database.
func (s *site) stop() {
	s.server.stop()
	s.server = nil
	s.client.CloseIdleConnections()
}

// typeSchema is about as much work as the fields of threat.detected.
const typeSchema = `{"type":"object","required":["threat_id"],"properties":{"threat_id":{"type":"string"},` +
	`"severity":{"enum":["info","low","medium","high","critical"]},"source_ip":{"type":["string","null"]},` +
	`"confidence":{"type":"number","minimum":0,"maximum":1},"mitre_id":{"type":["string","null"]}}}`

// setUp makes event types bench.t0, bench.t1 … and for each of them as many
// webhooks as perType, and returns the names of the types.
func (s *site) setUp(ctx context.Context, types, perType int, change func(webhook map[string]any)) ([]string, error) {
	names := make([]string, types)
	for i := range names {
		names[i] = "bench.t" + strconv.Itoa(i)
	}
	const makers = 16
	var next atomic.Int64
	errs := make(chan error, makers)
	var wg sync.WaitGroup
	for range makers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < types; i = int(next.Add(1)) - 1 {
				if err := s.addType(ctx, names[i]); err != nil {
					errs <- err
					return
				}
				for range perType {
					if _, err := s.addWebhook(ctx, names[i], change); err != nil {
						errs <- err
						return
					}
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	return names, <-errs
}

func (s *site) addType(ctx context.Context, name string) error {
	_, err := s.call(ctx, http.MethodPut, "/v1/event-types/"+name,
		[]byte(`{"severity":"info","description":"Made by a benchmark.","schema":`+typeSchema+`,"example":{"threat_id":"x"}}`))
	return err
}

// addWebhook makes a webhook that chose one event type, and returns its id.
func (s *site) addWebhook(ctx context.Context, eventType string, change func(map[string]any)) (id string, err error) {
	webhook := map[string]any{"url": s.b.hookURL(), "events": []string{eventType}}
	if change != nil {
		change(webhook)
	}
	body, err := json.Marshal(webhook)
	if err != nil {
		return "", fmt.Errorf("encode the webhook: %w", err)
	}
	answer, err := s.call(ctx, http.MethodPost, "/v1/webhooks", body)
	if err != nil {
		return "", err
	}
	var made struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(answer, &made); err != nil {
		return "", fmt.Errorf("read the webhook: %w", err)
	}
	return made.ID, nil
}

// ended reads how many deliveries the server has recorded as delivered since it
// was started.
func (s *site) ended(ctx context.Context) (int, error) {
	metrics, err := s.call(ctx, http.MethodGet, "/metrics", nil)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(metrics)) {
		if value, ok := strings.CutPrefix(line, `cybervault_deliveries_ended_total{status="delivered"} `); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				return 0, fmt.Errorf("read the metrics: %w", err)
			}
			return int(n), nil
		}
	}
	return 0, nil
}

// call asks the server; anything but a 2xx is an error.
func (s *site) call(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	answer, err := request(ctx, s.client, method, "http://"+s.server.address+path, body)
	return answer, errLog(err, s.server)
}

// page is one page of a list.
type page struct {
	Data []json.RawMessage `json:"data"`
}

func (s *site) page(ctx context.Context, path string) (page, error) {
	var p page
	raw, err := s.call(ctx, http.MethodGet, path, nil)
	if err == nil {
		err = json.Unmarshal(raw, &p)
	}
	return p, err
}

func request(ctx context.Context, client *http.Client, method, url string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make a request: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+benchKey)
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
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
