package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/bench"
	"github.com/cybervault/cybervault/internal/store"
)

func newBench(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use: "bench", GroupID: groupServer,
		Short: "Measure this machine: the benchmarks of docs/performance.md",
		Long: `Runs a benchmark with server, receiver and load as separate processes on this
machine. Every figure stands beside a reference taken in the same run: compare
ratios, since absolute figures are those of the machine and the moment.`,
	}
	cmd.AddCommand(newBenchAgents(env), newBenchDeliver(env), newBenchDashboard(env), newBenchDetect(env), newBenchReceiver(env), newBenchSeed(env))
	return cmd
}

func newBenchDeliver(env *Env) *cobra.Command {
	var o bench.Options
	var asJSON bool
	var names, databaseURL string
	cmd := &cobra.Command{
		Use: "deliver", Args: cobra.NoArgs,
		Short: "Deliveries a second, against a bare net/http client",
		Long:  "Runs scenarios, one after the other, each on a server and a database of its own:\n\n" + listScenarios() + "\nWith --json each report is one line.",
		Example: `  cybervault bench deliver
  cybervault bench deliver --scenario batch,light --json
  cybervault bench deliver --scenario all --database-url postgres://…`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			scenarios, err := bench.Named(names)
			if err != nil {
				return usagef("--scenario: %s", err)
			}
			if err := checkBench(&o); err != nil {
				return err
			}
			o.Store, o.Progress = "sqlite", env.Stderr
			if databaseURL != "" {
				o.Store, o.Scratch = "postgres", scratch(databaseURL)
			}
			for _, s := range scenarios {
				report, err := bench.Deliver(cmd.Context(), s, o)
				if err != nil {
					return err
				}
				if !asJSON {
					printBench(env, report)
					continue
				}
				raw, err := json.Marshal(report)
				if err != nil {
					return fmt.Errorf("encode the report: %w", err)
				}
				if err := printLine(env.Stdout, raw); err != nil {
					return err
				}
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&names, "scenario", "batch", "scenarios to run, with commas between them, or all")
	flags.IntVar(&o.Events, "events", 30_000, "events to publish in each round")
	flags.IntVar(&o.Rounds, "rounds", 5, "rounds, each with its own reference; medians are reported")
	flags.IntVar(&o.Batch, "batch", 100, "events that one publish call carries, where they are not published alone")
	flags.IntVar(&o.Publishers, "publishers", 4, "connections that publish, where events are not published alone")
	flags.DurationVar(&o.Light, "light", 10*time.Second, "how long the light load of 100 events/s lasts")
	flags.DurationVar(&o.Reference, "reference", 3*time.Second, "how long the bare client runs in each round")
	flags.IntVar(&o.Webhooks, "webhooks", 10_000, "the most webhooks that the scenario of that name makes")
	flags.IntVar(&o.History, "history", 10_000_000, "deliveries in the log that the scenario of that name makes up; a million takes about 1.7 GB of disk")
	flags.IntVar(&o.Backlog, "backlog", 1_000_000, "deliveries that wait in the scenario of that name")
	flags.StringVar(&databaseURL, "database-url", "", "measure on this PostgreSQL instead of SQLite, in a schema that is removed afterwards")
	flags.StringVar(&o.Restart, "restart-database", "", "a shell command that restarts the PostgreSQL, which the scenario nodes runs in the middle of a round")
	flags.StringVar(&o.CPUProfile, "cpu-profile", "", "write a profile of the server's processor time to this file, for go tool pprof; further servers of a scenario add .2, .3 … to its name")
	flags.BoolVar(&asJSON, "json", false, "print the reports as JSON, a line each")
	return cmd
}

func listScenarios() string {
	var b strings.Builder
	for _, s := range bench.Scenarios() {
		fmt.Fprintf(&b, "  %-10s %s\n", s.Name, s.About)
	}
	return b.String()
}

func checkBench(o *bench.Options) error {
	for name, n := range map[string]int{"--events": o.Events, "--rounds": o.Rounds, "--batch": o.Batch, "--publishers": o.Publishers,
		"--history": o.History, "--backlog": o.Backlog} {
		if n < 1 || n > 100_000_000 {
			return usagef("%s %d: give a number from 1 to 100000000", name, n)
		}
	}
	if o.Batch > 1000 {
		return usagef("--batch %d: a publish call carries at most 1000 events", o.Batch)
	}
	if o.Webhooks < 2 || o.Webhooks > cybervault.MaxEventTypesPerWorkspace {
		return usagef("--webhooks %d: give a number from 2 to %d", o.Webhooks, cybervault.MaxEventTypesPerWorkspace)
	}
	if o.Light < time.Second || o.Light > time.Hour {
		return usagef("--light %s: give a time from 1s to 1h", o.Light)
	}
	if o.Reference < 30*time.Millisecond || o.Reference > time.Hour {
		return usagef("--reference %s: give a time from 30ms to 1h", o.Reference)
	}
	return nil
}

// scratch makes schemas of their own for the servers of a benchmark.
func scratch(databaseURL string) func(context.Context) ([]string, func(), error) {
	return func(ctx context.Context) ([]string, func(), error) {
		own, remove, err := store.Scratch(ctx, databaseURL)
		if err != nil {
			return nil, nil, err
		}
		// The run may be over because it was broken off.
		return []string{"--database-url", own}, func() { _ = remove(context.WithoutCancel(ctx)) }, nil
	}
}

func newBenchReceiver(env *Env) *cobra.Command {
	var protocol string
	cmd := &cobra.Command{
		Use: "receiver", Args: cobra.NoArgs, Hidden: true,
		Short: "The receiver of the benchmarks, as a process of its own",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var secure *bench.ReceiverTLS
			if protocol != "" {
				c, err := newLoopbackCertificate(time.Now())
				if err != nil {
					return err
				}
				secure = &bench.ReceiverTLS{Protocol: protocol, Certificate: c.Server, CA: c.CA}
			}
			return bench.Receiver(cmd.Context(), env.Stdout, secure)
		},
	}
	cmd.Flags().StringVar(&protocol, "tls", "", "take deliveries over TLS too, and speak http/1.1 or h2 there")
	return cmd
}
