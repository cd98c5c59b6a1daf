package bench

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cybervault/cybervault"
)

// pace is what one round came to.
type pace struct {
	rate float64 // deliveries a second
	cpu  float64 // processor time of one, in µs
}

// bare is a net/http client that signs and posts the same bodies as the server,
// over connections kept alive: it stores nothing, retries nothing, logs nothing.
type bare struct {
	url       string
	transport func(concurrency int) *http.Transport
	at        int // its best concurrency
}

func (b *bench) newBare() *bare {
	return &bare{url: b.hookURL(), transport: func(concurrency int) *http.Transport {
		return &http.Transport{MaxIdleConnsPerHost: concurrency, MaxIdleConns: concurrency, DisableCompression: true}
	}}
}

// tune finds the concurrency at which it is fastest.
func (c *bare) tune(ctx context.Context, span time.Duration) {
	best := 0.0
	for _, concurrency := range []int{16, 32, 64, 128} {
		if p := c.run(ctx, concurrency, span); p.rate > best {
			best, c.at = p.rate, concurrency
		}
	}
}

// run posts for a while.
func (c *bare) run(ctx context.Context, concurrency int, span time.Duration) pace {
	transport := c.transport(concurrency)
	client := &http.Client{Transport: transport}
	defer client.CloseIdleConnections()
	body := envelope()
	secret := cybervault.NewSecret(time.Now()).Value
	var done atomic.Int64
	var wg sync.WaitGroup
	started, before := time.Now(), ownCPU()
	for range concurrency {
		wg.Go(func() {
			for time.Since(started) < span && ctx.Err() == nil {
				if c.post(ctx, client, secret, body) == nil {
					done.Add(1)
				}
			}
		})
	}
	wg.Wait()
	n := float64(done.Load())
	return pace{n / time.Since(started).Seconds(), float64((ownCPU() - before).Microseconds()) / max(n, 1)}
}

func (c *bare) post(ctx context.Context, client *http.Client, secret string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	now := time.Now().Unix()
	id := "01947a2e-0000-7000-8000-000000000000"
	standard, err := cybervault.SignStandard(secret, "wh_"+id, now, body)
	if err != nil {
		return err
	}
	for name, value := range map[string]string{
		"Content-Type": "application/json", "User-Agent": "bare", "X-CyberVault-Event": "threat.detected", "X-CyberVault-Delivery": "dlv_" + id,
		"X-CyberVault-Attempt": "1", "X-CyberVault-Sequence": "1", "X-CyberVault-Signature": cybervault.SignHex(secret, body),
		"webhook-id": "wh_" + id, "webhook-timestamp": strconv.FormatInt(now, 10), "webhook-signature": standard,
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
