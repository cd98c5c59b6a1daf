package cli

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"runtime/pprof"

	"github.com/spf13/cobra"

	"github.com/cybervault/cybervault/internal/app"
	"github.com/cybervault/cybervault/internal/config"
)

func newServe(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use: "serve", GroupID: groupServer, Args: cobra.NoArgs,
		Short: "Run the server: API, dashboard, threat engine, deliveries",
		Long: `Runs the server until it is told to stop (Ctrl-C or SIGTERM); it then lets
running attempts end. Every flag has an environment variable, CYBERVAULT_ and its
name, and a line in cybervault.yaml: see docs/configuration.md.`,
		Example: `  CYBERVAULT_BOOTSTRAP_API_KEY=… cybervault serve --data /var/lib/cybervault`,
	}
	flags := config.Bind(cmd.Flags())
	// For bench deliver --cpu-profile; a setting of nobody's server.
	profile := cmd.Flags().String("cpu-profile", "", "")
	_ = cmd.Flags().MarkHidden("cpu-profile")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := flags.Load(env.LookupEnv)
		if err != nil {
			return usagef("%s", err)
		}
		tuneGC(env)
		log := newLogger(env.Stderr, cfg)
		// What libraries write to the standard log, such as net/http about a
		// receiver that misbehaves, is nobody's news unless they look for it.
		slog.SetLogLoggerLevel(slog.LevelDebug)
		slog.SetDefault(log)
		for _, warning := range cfg.Warnings() {
			log.WarnContext(cmd.Context(), warning) //nolint:sloglint // the message is the warning's own sentence
		}
		server, err := app.New(cmd.Context(), cfg, log, version(env.Version))
		if err != nil {
			return err
		}
		if *profile != "" {
			stop, err := startProfile(*profile)
			if err != nil {
				return err
			}
			defer stop()
		}
		// Not through the log, which is kept: the link holds a token.
		fmt.Fprintf(env.Stdout, "Dashboard: %s\n", server.DashboardURL())
		return server.Run(cmd.Context())
	}
	return cmd
}

// gcPercent lets garbage grow to three times what is alive before it is
// collected. What is alive is small (the store's cache is not Go's), so this
// costs tens of megabytes and saves a twentieth of the processor time.
const gcPercent = 300

// memoryLimit is where the garbage collector stops waiting for that: a soft limit
// on what Go holds. What is alive stays far below it, since everything that is
// held is bounded; three times that need not.
const memoryLimit = 1 << 30

// tuneGC sets the garbage collector, as far as the operator did not.
func tuneGC(env *Env) {
	if _, set := env.LookupEnv("GOGC"); !set {
		debug.SetGCPercent(gcPercent)
	}
	if _, set := env.LookupEnv("GOMEMLIMIT"); !set {
		debug.SetMemoryLimit(memoryLimit)
	}
}

// startProfile writes a profile of this process's processor time to a file,
// until stop is called.
func startProfile(path string) (stop func(), err error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close()
	}, nil
}

// newLogger makes the log of the form and level that the configuration asks for.
func newLogger(w io.Writer, cfg config.Config) *slog.Logger {
	options := &slog.HandlerOptions{Level: cfg.LogLevel}
	if cfg.LogFormat == config.LogJSON {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
