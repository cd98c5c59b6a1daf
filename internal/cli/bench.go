package cli

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/cybervault/cybervault/bench"
)

func newBench(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use: "bench", GroupID: groupServer,
		Short: "Measure this machine: the benchmarks of docs/performance.md",
		Long: `Runs a benchmark with server, receiver and load as separate processes on this
machine. Every figure stands beside a reference taken in the same run: compare
ratios, since absolute figures are those of the machine and the moment.`,
	}
	cmd.AddCommand(newBenchDeliver(env), newBenchReceiver(env))
	return cmd
}

func newBenchDeliver(env *Env) *cobra.Command {
	var o bench.DeliverOptions
	var asJSON bool
	var databaseURL, profile string
	cmd := &cobra.Command{
		Use: "deliver", Args: cobra.NoArgs,
		Short: "Deliveries a second to one receiver, against a bare net/http client",
		RunE: func(cmd *cobra.Command, _ []string) error {
			for name, n := range map[string]int{"--events": o.Events, "--rounds": o.Rounds, "--batch": o.Batch, "--publishers": o.Publishers} {
				if n < 1 || n > 10_000_000 {
					return usagef("%s %d: give a number from 1 to 10000000", name, n)
				}
			}
			if o.Batch > 1000 {
				return usagef("--batch %d: a publish call carries at most 1000 events", o.Batch)
			}
			if o.Light < time.Second || o.Light > time.Hour {
				return usagef("--light %s: give a time from 1s to 1h", o.Light)
			}
			if databaseURL != "" {
				o.ServeArgs = []string{"--database-url", databaseURL}
			}
			if profile != "" {
				o.ServeArgs = append(o.ServeArgs, "--cpu-profile", profile)
			}
			o.Progress = env.Stderr
			report, err := bench.Deliver(cmd.Context(), o)
			if err != nil {
				return err
			}
			if asJSON {
				raw, err := json.Marshal(report)
				if err != nil {
					return fmt.Errorf("encode the report: %w", err)
				}
				return printLine(env.Stdout, raw)
			}
			printDeliver(env, report)
			return nil
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&o.Events, "events", 30_000, "events to publish in each round")
	flags.IntVar(&o.Rounds, "rounds", 5, "rounds, each with its own reference; medians are reported")
	flags.IntVar(&o.Batch, "batch", 100, "events that one publish call carries")
	flags.IntVar(&o.Publishers, "publishers", 4, "connections that publish")
	flags.DurationVar(&o.Light, "light", 10*time.Second, "how long the light load of 100 events/s lasts")
	flags.StringVar(&databaseURL, "database-url", "", "measure on this PostgreSQL instead of SQLite")
	flags.StringVar(&profile, "cpu-profile", "", "write a profile of the server's processor time to this file, for go tool pprof")
	flags.BoolVar(&asJSON, "json", false, "print the report as JSON")
	return cmd
}

func printDeliver(env *Env, r *bench.DeliverReport) {
	p := colours(env, env.Stdout)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(env.Stdout, "%-34s %s\n", name, fmt.Sprintf(format, args...))
	}
	row("machine", "%s, %d cores, %s, %s", r.Machine.CPU, r.Machine.Cores, r.Machine.Go, r.Machine.Date)
	row("store, event size", "%s, %d bytes", r.Store, r.EventBytes)
	row("bare net/http client", "%.0f/s at concurrency %d", r.ReferencePerS, r.ReferenceAt)
	row("delivered and logged", "%.0f/s", r.DeliveredPerS)
	row("ratio", "%s", p.bold(fmt.Sprintf("%.2f", r.Ratio)))
	row("processor time for one delivery", "%.0f µs (bare client: %.0f µs)", r.CPUPerDelivery, r.ReferenceCPU)
	row("memory of the server", "%.0f MB", r.RSS)
	row("publish answered", "p50 %.1f ms, p99 %.1f ms at %d events/s", r.PublishAck.P50, r.PublishAck.P99, r.LightPerS)
	row("publish to receiver", "p50 %.1f ms, p99 %.1f ms at %d events/s", r.Latency.P50, r.Latency.P99, r.LightPerS)
	row("lost, duplicates", "%d, %d", r.Lost, r.Duplicates)
}

func newBenchReceiver(env *Env) *cobra.Command {
	return &cobra.Command{
		Use: "receiver", Args: cobra.NoArgs, Hidden: true,
		Short: "The receiver of the benchmarks, as a process of its own",
		RunE:  func(cmd *cobra.Command, _ []string) error { return bench.Receiver(cmd.Context(), env.Stdout) },
	}
}
