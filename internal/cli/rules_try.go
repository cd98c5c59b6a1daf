package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/detect/sigma"
)

func newRulesTest(f *ruleFlags) *cobra.Command {
	return &cobra.Command{
		Use: "test DIRECTORY|FILE", Args: cobra.ExactArgs(1), Short: "Try rules on the telemetry that lies beside them",
		Long: `Beside NAME.yml, each rule or correlation of it must match something in NAME.hit.*
and nothing in NAME.miss.*, which must hold at least one record of the rule's log
source, or it would prove nothing. The telemetry may be of any format that is read.
The exit status is 1 if a rule fails or cannot be used.`,
		RunE: func(cmd *cobra.Command, args []string) error { return f.test(cmd.Context(), args[0]) },
	}
}

func (f *ruleFlags) test(ctx context.Context, where string) error {
	set, err := f.load(where)
	if err != nil {
		return err
	}
	byFile := map[string][]*sigma.Entry{}
	var order []string
	for _, e := range set.Entries {
		if set.SourceOf(e.Pos.File) != where || e.Kind == sigma.KindFilter {
			continue
		}
		if byFile[e.Pos.File] == nil {
			order = append(order, e.Pos.File)
		}
		byFile[e.Pos.File] = append(byFile[e.Pos.File], e)
	}
	slices.Sort(order)
	failed, tried, untried := 0, 0, 0
	for _, e := range set.Errors {
		if set.SourceOf(e.Pos.File) == where {
			failed++
			fmt.Fprintf(f.env.Stdout, "FAIL %s\n", clean(e.Error()))
		}
	}
	for _, file := range order {
		faults, found, err := f.tryFile(ctx, set, file, byFile[file])
		if err != nil {
			return err
		}
		switch {
		case !found:
			untried++
			fmt.Fprintf(f.env.Stdout, "none %s\n", clean(file))
		case len(faults) == 0:
			tried++
			fmt.Fprintf(f.env.Stdout, "ok   %s\n", clean(file))
		default:
			tried++
			failed++
			for _, fault := range faults {
				fmt.Fprintf(f.env.Stdout, "FAIL %s: %s\n", clean(file), clean(fault))
			}
		}
	}
	fmt.Fprintf(f.env.Stderr, "%d files tried, %d failures, %d without telemetry beside them\n", tried, failed, untried)
	if failed > 0 {
		return errors.New("rules do not do what they should")
	}
	return nil
}

// tryFile tries the rules of one file and returns what is wrong; found is false
// where there is no telemetry to try them on.
func (f *ruleFlags) tryFile(ctx context.Context, set *sigma.Set, file string, entries []*sigma.Entry) (faults []string, found bool, err error) {
	hits, misses, err := telemetryBeside(file)
	if err != nil || len(hits)+len(misses) == 0 {
		return nil, false, err
	}
	// The rules that a file's own correlations count are tried by those.
	tried := slices.DeleteFunc(slices.Clone(entries), func(e *sigma.Entry) bool { return e.Off || e.Kind != sigma.KindCorrelation || e.Silent })
	if len(tried) == 0 {
		tried = slices.DeleteFunc(slices.Clone(entries), func(e *sigma.Entry) bool { return e.Off })
	}
	if len(hits) == 0 {
		faults = append(faults, "there is no .hit. telemetry beside it")
	}
	matched, _, err := f.try(ctx, set, hits, entries)
	if err != nil {
		return nil, true, err
	}
	for _, e := range tried {
		if matched[e.Pos] == "" && len(hits) > 0 {
			faults = append(faults, fmt.Sprintf("%q matches nothing in %s", e.Title, strings.Join(bases(hits), ", ")))
		}
	}
	wrongly, of, err := f.try(ctx, set, misses, entries)
	if err != nil {
		return nil, true, err
	}
	for _, e := range tried {
		if where := wrongly[e.Pos]; where != "" {
			faults = append(faults, fmt.Sprintf("%q matches %s", e.Title, where))
		}
	}
	if len(misses) > 0 && !of {
		faults = append(faults, fmt.Sprintf("no record in %s is of the rule's log source", strings.Join(bases(misses), ", ")))
	}
	return faults, true, nil
}

// try returns where each rule matched first, and whether a record was of the log source of
// one of them.
func (f *ruleFlags) try(ctx context.Context, set *sigma.Set, logs []string, entries []*sigma.Entry) (matched map[sigma.Position]string, of bool, err error) {
	matched = map[sigma.Position]string{}
	// A file with correlations alone counts the rules of other files.
	rules := slices.DeleteFunc(slices.Clone(entries), func(e *sigma.Entry) bool { return e.Kind != sigma.KindRule })
	of = len(rules) == 0
	for _, name := range logs {
		files, err := logFiles([]string{name}, f.env)
		if err != nil {
			return nil, false, err
		}
		trial := set.Trial()
		sum, err := readLog(ctx, f.env, files[0], func(rec *cybervault.Record) error {
			of = of || slices.ContainsFunc(rules, func(e *sigma.Entry) bool { return e.LogSource.Takes(rec) })
			for _, h := range trial.Add(rec) {
				if matched[h.Pos] == "" {
					matched[h.Pos] = fmt.Sprintf("%s:%d: %s", filepath.Base(name), rec.Line, h.Explanation)
				}
			}
			return nil
		})
		if err != nil {
			return nil, false, fmt.Errorf("%s: %w", name, err)
		}
		if sum.Unreadable > 0 {
			return nil, false, fmt.Errorf("%s:%d: %s", name, sum.Samples[0].Line, sum.Samples[0].Reason)
		}
	}
	return matched, of, nil
}

// telemetryBeside lists the telemetry that lies beside a rule file.
func telemetryBeside(file string) (hits, misses []string, err error) {
	dir, base := filepath.Split(filepath.FromSlash(file))
	base = strings.TrimSuffix(base, filepath.Ext(base))
	entries, err := os.ReadDir(filepath.Clean(dir))
	for _, e := range entries {
		switch name := e.Name(); {
		case strings.HasPrefix(name, base+".hit."):
			hits = append(hits, filepath.Join(dir, name))
		case strings.HasPrefix(name, base+".miss."):
			misses = append(misses, filepath.Join(dir, name))
		}
	}
	return hits, misses, err
}

func bases(names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = filepath.Base(n)
	}
	return out
}
