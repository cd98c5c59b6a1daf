package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"
)

// pageRuns is how often each page of the log is asked for, and slowPage from
// which time on once is enough.
const (
	pageRuns = 20
	slowPage = 5 * time.Second
	maxPage  = time.Minute
)

// PageTimes is how long one page of the log took, over HTTP.
type PageTimes struct {
	Query  string  `json:"query"`
	Rows   int     `json:"rows"`
	Runs   int     `json:"runs"`
	Median float64 `json:"median_ms"`
	Max    float64 `json:"max_ms"`
}

// runHistory sets a server with a long log beside one with a short one, then
// reads pages of the long log.
func runHistory(ctx context.Context, b *bench) error {
	plain, full, l, err := b.pair(ctx, b.o.History, 0)
	if err != nil {
		return err
	}
	b.report.History = b.o.History
	if err := b.besides(ctx, l, plain, full, [2]string{"an empty store", "a long log"}); err != nil {
		return err
	}
	b.say("reading pages of the log")
	// A webhook that has had nothing: its page is empty, and has to be found so.
	const quietType = "bench.quiet"
	if err := full.addType(ctx, quietType); err != nil {
		return err
	}
	quiet, err := full.addWebhook(ctx, quietType, nil)
	if err != nil {
		return err
	}
	hooks, err := full.page(ctx, "/v1/webhooks?limit=2")
	if err != nil {
		return err
	}
	var hook struct {
		ID     string   `json:"id"`
		Events []string `json:"events"`
	}
	if len(hooks.Data) < 2 || json.Unmarshal(hooks.Data[1], &hook) != nil || len(hook.Events) == 0 {
		return errors.New("the server lists no webhook")
	}
	now := time.Now().UTC()
	span := "since=" + url.QueryEscape(now.Add(-11*24*time.Hour).Format(time.RFC3339)) + "&until=" + url.QueryEscape(now.Add(-10*24*time.Hour).Format(time.RFC3339))
	for _, query := range []string{
		"/v1/deliveries", "/v1/deliveries?webhook=" + hook.ID, "/v1/deliveries?event=" + hook.Events[0],
		"/v1/deliveries?status=delivered", "/v1/deliveries?status=dead_letter", "/v1/deliveries?status=pending",
		"/v1/deliveries?" + span, "/v1/deliveries?webhook=" + hook.ID + "&status=delivered", "/v1/deliveries?webhook=" + hook.ID + "&status=dead_letter",
		"/v1/deliveries?webhook=" + quiet, "/v1/deliveries?event=" + quietType,
		"/v1/events?event=" + hook.Events[0], "/v1/events?" + span, "/v1/events?event=" + quietType,
	} {
		times, err := full.timePage(ctx, query)
		if err != nil {
			return err
		}
		b.say("%s: %.1f ms, at most %.1f", query, times.Median, times.Max)
		b.report.Pages = append(b.report.Pages, times)
		b.report.SlowestPage = max(b.report.SlowestPage, times.Median)
	}
	return nil
}

func (s *site) timePage(ctx context.Context, path string) (PageTimes, error) {
	t := PageTimes{Query: path}
	var all []float64
	for range pageRuns {
		one, cancel := context.WithTimeout(ctx, maxPage)
		began := time.Now()
		p, err := s.page(one, path)
		took := time.Since(began)
		gaveUp := one.Err() != nil && ctx.Err() == nil
		cancel()
		if err != nil && !gaveUp {
			return t, fmt.Errorf("read a page: %w", err)
		}
		t.Rows = len(p.Data)
		all = append(all, float64(took.Microseconds())/1000)
		t.Max = max(t.Max, all[len(all)-1])
		if took > slowPage {
			break
		}
	}
	t.Runs, t.Median = len(all), median(all)
	return t, nil
}
