package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/cybervault/cybervault/bench"
)

func newBenchDetect(env *Env) *cobra.Command {
	var o bench.DetectOptions
	var asJSON bool
	cmd := &cobra.Command{
		Use: "detect", Args: cobra.NoArgs,
		Short: "Events a second through the Sigma engine, against a plain evaluator",
		Long: `Reads telemetry and matches it with Sigma rules on all cores, and says how long
that takes with the rules, with many times as many, and with an evaluator that
looks at every rule of the log source.

Without --rules and --events it takes SigmaHQ's rules and the Windows events
below the folder that EVAL_DATA names.`,
		Example: `  cybervault bench detect --rules sigma/rules --events events/ --json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := detectDefaults(&o, os.Getenv("EVAL_DATA")); err != nil {
				return err
			}
			o.Progress = env.Stderr
			r, err := bench.Detect(cmd.Context(), o)
			if err != nil {
				return err
			}
			if !asJSON {
				printBenchDetect(env, r)
				return nil
			}
			raw, err := json.Marshal(r)
			if err != nil {
				return fmt.Errorf("encode the report: %w", err)
			}
			return printLine(env.Stdout, raw)
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&o.Rules, "rules", nil, "directories of Sigma rules, with commas between them")
	flags.StringVar(&o.Events, "events", "", "directory of telemetry files, as serve takes them, gzip or not")
	flags.IntVar(&o.Rounds, "rounds", 5, "rounds; medians are reported")
	flags.IntVar(&o.Times, "times", 10, "compare with so many times as many rules; 1 leaves that out")
	flags.IntVar(&o.Stride, "stride", 50, "give the plain evaluator one event of so many")
	flags.StringVar(&o.CPUProfile, "cpu-profile", "", "write a profile of the processor time to this file, for go tool pprof")
	flags.BoolVar(&asJSON, "json", false, "print the report as JSON")
	return cmd
}

func detectDefaults(o *bench.DetectOptions, data string) error {
	for name, n := range map[string]int{"--rounds": o.Rounds, "--times": o.Times, "--stride": o.Stride} {
		if n < 1 || n > 1000 {
			return usagef("%s %d: give a number from 1 to 1000", name, n)
		}
	}
	if (len(o.Rules) == 0 || o.Events == "") && data == "" {
		return usagef("name directories with --rules and --events, or set EVAL_DATA to the folder of the public data sets")
	}
	if len(o.Rules) == 0 {
		dirs, err := filepath.Glob(filepath.Join(data, "sigma", "sigmahq", "rules*"))
		if err != nil {
			return err
		}
		if o.Rules = dirs; len(dirs) == 0 {
			return usagef("there are no rules under %s: name directories with --rules", filepath.Join(data, "sigma", "sigmahq"))
		}
	}
	if o.Events == "" {
		o.Events = filepath.Join(data, "windows", "security-datasets")
	}
	return nil
}

func printBenchDetect(env *Env, r *bench.DetectReport) {
	p := colours(env, env.Stdout)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(env.Stdout, "%-34s %s\n", name, fmt.Sprintf(format, args...))
	}
	row("machine", "%s, %d cores, %s, %s", r.Machine.CPU, r.Machine.Cores, r.Machine.Go, r.Machine.Date)
	row("rules", "%d loaded in %.1f s, %d not", r.Rules, r.LoadS, r.NotLoaded)
	row("events", "%d of %d bytes, %d unreadable, %d hits", r.Events, r.EventBytes, r.Unreadable, r.Hits)
	row("read and matched", "%s (%.0f MB)", p.bold(fmt.Sprintf("%.0f/s", r.PerS)), r.RSS)
	row("processor time for one event", "%.1f µs, of which reading takes %.1f µs", r.CPU, r.ParseCPU)
	row("plain evaluator", "%.0f/s: the engine is %s times as fast, and judges %d events differently", r.Reference, p.bold(fmt.Sprintf("%.0f", r.Ratio)), r.Differ)
	if r.TimesRules > 0 {
		row(fmt.Sprintf("%d times as many rules", r.Times), "%d rules, %.0f/s, %s times the time (%s; %.0f MB)", r.TimesRules, r.TimesPerS, p.bold(fmt.Sprintf("%.2f", r.Slower)), figures(r.Slowers), r.TimesRSS)
	}
}
