package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/detect/sigma"
	"github.com/cybervault/cybervault/internal/telemetry"
)

// maxExplained bounds how many matches are shown.
const maxExplained = 20

func newRulesExplain(f *ruleFlags) *cobra.Command {
	return &cobra.Command{
		Use: "explain RULE [LOG…]", Args: cobra.MinimumNArgs(1), Short: "Say how a rule is decided, and which records of a log match it, and why",
		Long: `RULE is an id, a name, a title, or a file. Without a log it says which records are
looked at, what is looked for in them first, and what is decided then; with logs also
which of their records match, and what of them does.`,
		Example: `  cybervault rules explain passwd_uid0
  cybervault rules explain my_rule.yml /var/log/auth.log`,
		RunE: func(cmd *cobra.Command, args []string) error { return f.explain(cmd.Context(), args[0], args[1:]) },
	}
}

func (f *ruleFlags) explain(ctx context.Context, ref string, logs []string) error {
	var paths []string
	if fileExists(ref) {
		paths = []string{ref}
	}
	set, err := f.load(paths...)
	if err != nil {
		return err
	}
	var chosen []*sigma.Entry
	for _, e := range set.Entries {
		if paths != nil && set.SourceOf(e.Pos.File) == ref {
			chosen = append(chosen, e)
		}
	}
	if paths == nil {
		if e, ok := set.Find(ref); ok {
			chosen = append(chosen, e)
		}
	}
	for _, e := range set.Errors {
		if paths != nil && set.SourceOf(e.Pos.File) == ref {
			fmt.Fprintln(f.env.Stderr, clean(e.Error()))
		}
	}
	if len(chosen) == 0 {
		return fmt.Errorf("there is no rule %q: 'cybervault rules list' shows those there are", ref)
	}
	for _, e := range chosen {
		fmt.Fprintln(f.env.Stdout, clean(strings.TrimRight(set.Describe(e), "\n")))
		if len(logs) > 0 && !e.Off && e.Kind != sigma.KindFilter {
			if err := f.explainRecords(ctx, set, e, logs); err != nil {
				return err
			}
		}
	}
	return nil
}

// explainRecords shows which records match.
func (f *ruleFlags) explainRecords(ctx context.Context, set *sigma.Set, e *sigma.Entry, logs []string) error {
	files, err := logFiles(logs, f.env)
	if err != nil {
		return err
	}
	trial := set.Trial()
	total, of, matched := 0, 0, 0
	for _, file := range files {
		_, err := readLog(ctx, f.env, file, func(rec *cybervault.Record) error {
			total++
			if e.Kind == sigma.KindRule && e.LogSource.Takes(rec) {
				of++
			}
			for _, hit := range trial.Add(rec) {
				if hit.Pos != e.Pos {
					continue
				}
				if matched++; matched <= maxExplained {
					fmt.Fprintf(f.env.Stdout, "%s:%d: %s\n", inputName(file.name), rec.Line, clean(hit.Explanation))
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("%s: %w", inputName(file.name), err)
		}
	}
	if matched > maxExplained {
		fmt.Fprintf(f.env.Stdout, "and %d more\n", matched-maxExplained)
	}
	if e.Kind == sigma.KindRule {
		fmt.Fprintf(f.env.Stderr, "%d records, %d of them of the rule's log source, %d match\n", total, of, matched)
	} else {
		fmt.Fprintf(f.env.Stderr, "%d records, %d times it held anew\n", total, matched)
	}
	return nil
}

// readLog hands on the records of a file, in its order.
func readLog(ctx context.Context, env *Env, file *logFile, yield func(*cybervault.Record) error) (telemetry.Summary, error) {
	r, err := file.open()
	if err != nil {
		return telemetry.Summary{}, err
	}
	defer func() { _ = r.Close() }() // it was only read
	now := env.Now
	if file.stdin == nil {
		now = inputs([]*logFile{file})[0].Now
	}
	return telemetry.Parse(ctx, r, telemetry.Options{Now: now}, yield)
}
