package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/cybervault/cybervault/bench"
)

func newBenchAgents(env *Env) *cobra.Command {
	var asJSON bool
	var databaseURL string
	fleet := bench.AgentsOptions{}
	cmd := &cobra.Command{
		Use: "agents", Args: cobra.NoArgs,
		Short: "What a fleet of agents costs, and how soon one that is lost is noticed",
		Long: `Enrols agents with a server, sends their heartbeats for a while, and then has a few
stop. The reference is as many calls that do nothing.`,
		Example: `  cybervault bench agents --agents 10000 --json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case fleet.Agents < 10 || fleet.Agents > 100_000:
				return usagef("--agents %d: give a number from 10 to 100000", fleet.Agents)
			case fleet.Lost < 1 || fleet.Lost > fleet.Agents/20 && fleet.Lost > 4:
				return usagef("--lost %d: give a number from 1 to a twentieth of the agents, or else it is many at once", fleet.Lost)
			case fleet.Interval < time.Second || fleet.Beating < time.Second:
				return usagef("--interval and --for: give a second at least")
			}
			o := bench.Options{Store: "sqlite", Progress: env.Stderr, Batch: 1, Publishers: 1, Events: 1, Rounds: 1}
			if databaseURL != "" {
				o.Store, o.Scratch = "postgres", scratch(databaseURL)
			}
			r, err := bench.Agents(cmd.Context(), fleet, o)
			if err != nil {
				return err
			}
			if asJSON {
				raw, err := r.JSON()
				if err != nil {
					return fmt.Errorf("encode the report: %w", err)
				}
				return printLine(env.Stdout, raw)
			}
			_, err = fmt.Fprintf(env.Stdout, "%d agents every %gs: %.1f %% of a core for 1,000, %.1f times a call that does nothing; a heartbeat %.1f ms, p99 %.1f; %d told of wrongly; %d of %d noticed, after %.1f intervals\n",
				r.Agents, r.Interval, 100*r.PerThousand, r.Ratio, r.Median, r.P99, r.False, r.Noticed, r.Lost, r.NoticedIn)
			return err
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&fleet.Agents, "agents", 10_000, "agents")
	flags.DurationVar(&fleet.Interval, "interval", 30*time.Second, "between two heartbeats of one")
	flags.DurationVar(&fleet.Beating, "for", time.Minute, "how long heartbeats are measured")
	flags.IntVar(&fleet.Lost, "lost", 10, "agents that stop")
	flags.StringVar(&databaseURL, "database-url", "", "PostgreSQL to use instead of the embedded store, on which it makes databases of its own")
	flags.BoolVar(&asJSON, "json", false, "print the report as JSON")
	return cmd
}
