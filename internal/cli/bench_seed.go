package cli

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/cybervault/cybervault/bench"
	"github.com/cybervault/cybervault/internal/app"
	"github.com/cybervault/cybervault/internal/store"
)

// newBenchSeed makes the past that the benchmarks of a full store need. It is a
// process of its own, as the server that has the store is; nobody should point
// it at a store that means something.
func newBenchSeed(env *Env) *cobra.Command {
	var data, databaseURL string
	var past store.Seeding
	cmd := &cobra.Command{
		Use: "seed", Args: cobra.NoArgs, Hidden: true,
		Short: "Make up a past in a scratch database, while no server has it open",
		RunE: func(cmd *cobra.Command, _ []string) error {
			// Nothing that is sealed is read or written.
			s, err := store.Open(cmd.Context(), store.Config{Path: filepath.Join(data, app.DatabaseFile), DatabaseURL: databaseURL, Key: make([]byte, store.KeySize)})
			if err != nil {
				return err
			}
			// The last weeks, as far back as an ordinary retention keeps them; what
			// waits comes up over a day, but not while somebody measures.
			now := time.Now()
			past.Since, past.Until = now.Add(-27*24*time.Hour), now.Add(-time.Hour)
			past.RetryAt, past.RetryEnd = now.Add(time.Hour), now.Add(25*time.Hour)
			past.Data = bench.SeedData()
			err = s.Seed(cmd.Context(), past, func(events int) { fmt.Fprintln(env.Stdout, bench.SeedMarker, events) })
			if shut := s.Close(); err == nil {
				err = shut
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&data, "data", "", "the data directory")
	flags.StringVar(&databaseURL, "database-url", "", "a PostgreSQL database instead")
	flags.IntVar(&past.Ended, "ended", 0, "deliveries that have ended")
	flags.IntVar(&past.Waiting, "waiting", 0, "deliveries that wait for a retry")
	return cmd
}
