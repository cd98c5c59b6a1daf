package cli

import (
	"fmt"
	"strings"

	"github.com/cybervault/cybervault/bench"
)

// printBench shows a report to a person.
func printBench(env *Env, r *bench.Report) {
	p := colours(env, env.Stdout)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(env.Stdout, "%-34s %s\n", name, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(env.Stdout, "%s: %s\n", p.bold(r.Scenario), r.About)
	row("machine", "%s, %d cores, %s, %s", r.Machine.CPU, r.Machine.Cores, r.Machine.Go, r.Machine.Date)
	row("store, webhooks, event size", "%s, %d, %d bytes", r.Store, r.Webhooks, r.EventBytes)
	if r.ReferencePerS > 0 {
		row("bare net/http client", "%.0f/s at concurrency %d", r.ReferencePerS, r.ReferenceAt)
	}
	row("delivered and logged", "%.0f/s", r.DeliveredPerS)
	if r.Ratio > 0 {
		row("ratio", "%s (%s)", p.bold(fmt.Sprintf("%.2f", r.Ratio)), figures(r.Ratios))
	}
	row("processor time for one delivery", "%.0f µs (bare client: %.0f µs)", r.CPUPerDelivery, r.ReferenceCPU)
	row("memory of the server", "%.0f MB", r.RSS)
	if r.PublishAck != nil && r.Latency != nil {
		row("publish answered", "p50 %.1f ms, p99 %.1f ms at %d events/s", r.PublishAck.P50, r.PublishAck.P99, r.LightPerS)
		row("publish to receiver", "p50 %.1f ms, p99 %.1f ms at %d events/s", r.Latency.P50, r.Latency.P99, r.LightPerS)
	}
	for _, part := range r.Parts {
		row(part.Name, "%.0f/s, ratio %.2f, %.0f µs, %.0f MB", part.DeliveredPerS, part.Ratio, part.CPUPerDelivery, part.RSS)
	}
	if r.Kept > 0 {
		row("kept of the rate", "%s (%s)", p.bold(fmt.Sprintf("%.2f", r.Kept)), figures(r.Keeps))
	}
	if r.MostTo100 > 0 {
		row("rate with the most to that with 100", "%s", p.bold(fmt.Sprintf("%.2f", r.MostTo100)))
	}
	for _, page := range r.Pages {
		row(fmt.Sprintf("%.1f ms, at most %.1f", page.Median, page.Max), "%s", page.Query)
	}
	if r.ReadyS > 0 {
		row("ready after kill -9", "%.2f s, the first event delivered after %.2f s", r.ReadyS, r.FirstDeliveryS)
	}
	row("lost, duplicates", "%d, %d", r.Lost, r.Duplicates)
	if !r.AllRecorded {
		row("log", "incomplete: attempts were missing at the end of a round")
	}
	fmt.Fprintln(env.Stdout)
}

func figures(all []float64) string {
	texts := make([]string, len(all))
	for i, f := range all {
		texts[i] = fmt.Sprintf("%.2f", f)
	}
	return strings.Join(texts, ", ")
}
