package browser

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/url"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/cybervault/cybervault/bench"
)

var report = flag.String("report", "", "file with the report of cybervault bench dashboard --open --json, whose server is still up")

// BenchmarkFirstPaint is how long it takes Chromium from the click to the first content on
// the screen, for each page of the report: scripts/first-paint makes one. The last page
// asks the store for nothing.
func BenchmarkFirstPaint(b *testing.B) {
	var r bench.DashboardReport
	raw, err := os.ReadFile(*report)
	if err == nil {
		err = json.Unmarshal(raw, &r)
	}
	if err != nil {
		b.Fatalf("%v: this needs -args -report FILE, as scripts/first-paint gives it", err)
	}
	link, err := url.Parse(r.Link)
	if err != nil || r.Link == "" {
		b.Fatalf("the report names no server that is up (%v): use cybervault bench dashboard --open", err)
	}
	root, err := browser.start()
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := chromedp.NewContext(root, chromedp.WithNewBrowserContext())
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(wide.width, wide.height)); err != nil {
		b.Fatal(err)
	}
	if _, err := firstPaint(ctx, r.Link); err != nil {
		b.Fatal(err)
	}
	for _, page := range append(r.Pages, r.Reference) {
		b.Run(page.Query, func(b *testing.B) {
			var all []float64
			for b.Loop() {
				took, err := firstPaint(ctx, link.Scheme+"://"+link.Host+page.Query)
				if err != nil {
					b.Fatal(err)
				}
				all = append(all, took)
			}
			slices.Sort(all)
			b.ReportMetric(all[len(all)/2], "median-paint-ms")
			b.ReportMetric(all[len(all)-1], "max-paint-ms")
			b.ReportMetric(0, "ns/op") // the whole navigation, of which a person sees nothing
		})
	}
}

// firstPaint opens a page and answers with what Chromium says of it, in milliseconds
// (first-contentful-paint of Paint Timing).
func firstPaint(ctx context.Context, page string) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.Navigate(page)); err != nil {
		return 0, fmt.Errorf("%s: %w", page, err)
	}
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		took, err := chromedp.Run(ctx, chromedp.Evaluate[float64](`performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? 0`))
		if err != nil || took > 0 {
			return took, err
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("%s is never painted: %w", page, ctx.Err())
		case <-again.C:
		}
	}
}
