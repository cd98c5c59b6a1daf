package cli

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/cybervault/cybervault/bench"
)

func newBenchDashboard(env *Env) *cobra.Command {
	var asJSON, leaveOpen bool
	var deliveries int
	var databaseURL string
	cmd := &cobra.Command{
		Use: "dashboard", Args: cobra.NoArgs,
		Short: "How long each page takes on a full store",
		Long: `Makes up a past of many deliveries, and asks for every page of the dashboard as a
browser does. The reference is a page that asks the store for nothing. With --open the
server is left up afterwards, and the report says under which link, so that a browser
can have a look at it.`,
		Example: `  cybervault bench dashboard --deliveries 1000000 --json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if deliveries < 1 || deliveries > 100_000_000 {
				return usagef("--deliveries %d: give a number from 1 to 100000000", deliveries)
			}
			o := bench.Options{Store: "sqlite", Progress: env.Stderr, Batch: 100, Publishers: 4, Events: 1000, Rounds: 1}
			if databaseURL != "" {
				o.Store, o.Scratch = "postgres", scratch(databaseURL)
			}
			show := func(r *bench.DashboardReport) error { return printDashboardReport(env, r, asJSON) }
			if leaveOpen {
				_, err := bench.Dashboard(cmd.Context(), deliveries, func(r *bench.DashboardReport) error {
					if err := show(r); err != nil {
						return err
					}
					if _, err := fmt.Fprintf(env.Stderr, "open until interrupted: %s\n", r.Link); err != nil {
						return err
					}
					<-cmd.Context().Done()
					return nil
				}, o)
				return err
			}
			r, err := bench.Dashboard(cmd.Context(), deliveries, nil, o)
			if err != nil {
				return err
			}
			return show(r)
		},
	}
	cmd.Flags().IntVar(&deliveries, "deliveries", 1_000_000, "deliveries in the store")
	cmd.Flags().StringVar(&databaseURL, "database-url", "", "PostgreSQL to use instead of the embedded store, on which it makes databases of its own")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON")
	cmd.Flags().BoolVar(&leaveOpen, "open", false, "leave the server up until interrupted")
	return cmd
}

// printDashboardReport writes a report to standard output.
func printDashboardReport(env *Env, r *bench.DashboardReport, asJSON bool) error {
	if asJSON {
		raw, err := r.JSON()
		if err != nil {
			return fmt.Errorf("encode the report: %w", err)
		}
		return printLine(env.Stdout, raw)
	}
	t := &table{heading: []string{"PAGE", "ROWS", "MEDIAN", "AT MOST"}}
	for _, p := range slices.Concat(r.Pages, r.Searches, []bench.PageTimes{r.Reference}) {
		t.add(p.Query, fmt.Sprint(p.Rows), fmt.Sprintf("%.1f ms", p.Median), fmt.Sprintf("%.1f ms", p.Max))
	}
	if err := t.print(env.Stdout, colours(env, env.Stdout)); err != nil {
		return err
	}
	_, err := fmt.Fprintf(env.Stdout, "%d deliveries; the slowest page takes %.1f ms, %.1f times a page without the store; scripts %.1f kB compressed, styles %.1f kB\n",
		r.Deliveries, r.Slowest, r.Ratio, float64(r.Scripts)/1000, float64(r.Styles)/1000)
	return err
}
