package cli

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cybervault/cybervault/internal/detect/sigma"
	"github.com/cybervault/cybervault/rules"
)

func newRules(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use: "rules", GroupID: groupServer, Args: cobra.NoArgs, Short: "Check, list, explain, test, import and switch rules",
		Long: `All but enable and disable work on rule files, without a server: the rules that the program ships, those of
each --rules directory, and those that a command names. Of rules with one id the
last one counts.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	f := &ruleFlags{env: env}
	cmd.PersistentFlags().StringArrayVar(&f.dirs, "rules", nil, "directory of Sigma rules beside the shipped ones; repeatable")
	cmd.PersistentFlags().StringArrayVar(&f.pipelines, "pipeline", nil, "processing pipeline to send rules through: a file, or "+strings.Join(sigma.BuiltinPipelines(), ", ")+"; repeatable")
	cmd.PersistentFlags().BoolVar(&f.bare, "no-shipped", false, "leave the shipped rules out")
	cmd.AddCommand(newRulesCheck(f), newRulesList(f), newRulesExplain(f), newRulesTest(f), newRulesImport(f), newRulesSwitch(env, true), newRulesSwitch(env, false))
	return cmd
}

// ruleFlags say which rules there are.
type ruleFlags struct {
	env             *Env
	dirs, pipelines []string
	bare            bool
}

// shipped is the name of the source of the rules that the program brings.
const shipped = "shipped"

// maxPipelineBytes bounds a pipeline's file.
const maxPipelineBytes = 4 << 20

// load reads the shipped rules, those of the directories, and those of the paths.
func (f *ruleFlags) load(paths ...string) (*sigma.Set, error) {
	var sources []sigma.Source
	if !f.bare {
		sources = append(sources, sigma.Source{Name: shipped, Prefix: "rules", FS: rules.FS()})
	}
	for _, p := range slices.Concat(f.dirs, paths) {
		src, err := ruleSource(p)
		if err != nil {
			return nil, err
		}
		sources = append(sources, src)
	}
	var o sigma.SetOptions
	for _, name := range f.pipelines {
		p, err := f.pipeline(name)
		if err != nil {
			return nil, err
		}
		o.Pipelines = append(o.Pipelines, p)
	}
	return sigma.LoadSet(sources, o)
}

func (f *ruleFlags) pipeline(name string) (*sigma.Pipeline, error) {
	if p, ok := sigma.BuiltinPipeline(name); ok && !fileExists(name) {
		return p, nil
	}
	data, err := readInput(f.env, name, maxPipelineBytes)
	if err != nil {
		return nil, fmt.Errorf("--pipeline: %w", err)
	}
	return sigma.ParsePipeline(name, data)
}

// ruleSource is a directory of rules, or a single file of them.
func ruleSource(p string) (sigma.Source, error) {
	info, err := os.Stat(p)
	if err != nil {
		return sigma.Source{}, err
	}
	if info.IsDir() {
		return sigma.Source{Name: p, Prefix: filepath.ToSlash(p), FS: os.DirFS(p)}, nil
	}
	dir, name := filepath.Split(p)
	if !sigma.IsRuleFile(name) {
		return sigma.Source{}, usagef("%s is no rule file: its name has to end in .yml or .yaml", p)
	}
	return sigma.Source{Name: p, Prefix: filepath.ToSlash(dir), FS: oneFile{os.DirFS(filepath.Dir(p)), name}}, nil
}

// oneFile is a directory with nothing in it but one file.
type oneFile struct {
	fs.FS
	name string
}

// ReadDir implements fs.ReadDirFS.
func (o oneFile) ReadDir(name string) ([]fs.DirEntry, error) {
	all, err := fs.ReadDir(o.FS, name)
	return slices.DeleteFunc(all, func(e fs.DirEntry) bool { return e.Name() != o.name }), err
}

// problem is what is wrong with a rule, as JSON.
type problem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	ID      string `json:"id,omitempty"`
	Title   string `json:"title,omitempty"`
	Message string `json:"message"`
}

func problems(errs []*sigma.LoadError) []problem {
	out := make([]problem, 0, len(errs))
	for _, e := range errs {
		out = append(out, problem{e.Pos.File, e.Pos.Line, e.Pos.Column, e.ID, e.Title, e.Message})
	}
	return out
}

func newRulesCheck(f *ruleFlags) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "check FILE|DIRECTORY…", Args: cobra.MinimumNArgs(1), Short: "Say what is wrong with rules, by file and line",
		Long: `Reads and compiles rules, correlations and filters, and prints each problem with its
file, its line, and what would be right. What they refer to may be shipped or stand in
a --rules directory. The exit status is 1 if there is a problem.`,
		Example: `  cybervault rules check my-rules/
  cybervault rules check --json new_rule.yml | jq .problems`,
		RunE: func(_ *cobra.Command, args []string) error { return f.check(args, asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (f *ruleFlags) check(args []string, asJSON bool) error {
	set, err := f.load(args...)
	if err != nil {
		return err
	}
	mine := func(file string) bool { return slices.Contains(args, set.SourceOf(file)) }
	wrong := slices.DeleteFunc(slices.Clone(set.Errors), func(e *sigma.LoadError) bool { return !mine(e.Pos.File) })
	good := map[string]int{}
	for _, e := range set.Entries {
		if mine(e.Pos.File) && !e.Off {
			good[e.Kind]++
		}
	}
	if asJSON {
		raw, err := json.Marshal(map[string]any{
			"rules": good[sigma.KindRule], "correlations": good[sigma.KindCorrelation], "filters": good[sigma.KindFilter],
			"problems": problems(wrong), "notes": problems(set.Notes),
		})
		if err != nil {
			return err
		}
		if err := printLine(f.env.Stdout, raw); err != nil {
			return err
		}
	} else {
		for _, e := range wrong {
			fmt.Fprintln(f.env.Stdout, clean(e.Error()))
		}
		for _, n := range set.Notes {
			fmt.Fprintf(f.env.Stderr, "note: %s\n", clean(n.Error()))
		}
		fmt.Fprintf(f.env.Stderr, "%d rules, %d correlations and %d filters are sound, %d problems\n",
			good[sigma.KindRule], good[sigma.KindCorrelation], good[sigma.KindFilter], len(wrong))
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%d problems in the rules", len(wrong))
	}
	return nil
}

// listed is a rule in the list, as JSON.
type listed struct {
	ID         string   `json:"id"`
	Title      string   `json:"title"`
	Kind       string   `json:"kind"`
	Level      string   `json:"level"`
	LogSource  string   `json:"log_source"`
	Techniques []string `json:"techniques"`
	On         bool     `json:"on"`
	Why        string   `json:"why,omitempty"`    // it is off
	Silent     bool     `json:"silent,omitempty"` // only correlations use it
	Applies    int      `json:"applies,omitempty"`
	Author     string   `json:"author,omitempty"`
	License    string   `json:"license,omitempty"`
	Source     string   `json:"source"`
	File       string   `json:"file"`
	Line       int      `json:"line"`
}

func newRulesList(f *ruleFlags) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list", Args: cobra.NoArgs, Short: "List rules, and what became of each",
		RunE: func(*cobra.Command, []string) error { return f.list(asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	return cmd
}

func (f *ruleFlags) list(asJSON bool) error {
	set, err := f.load()
	if err != nil {
		return err
	}
	t := &table{heading: []string{"ID", "TITLE", "LEVEL", "LOG SOURCE", "ATT&CK", "STATE", "SOURCE"}}
	for _, e := range set.Entries {
		source := ""
		if e.Kind != sigma.KindCorrelation {
			source = e.LogSource.String()
		}
		if asJSON {
			raw, err := json.Marshal(listed{
				e.ID, e.Title, e.Kind, e.Level, source, e.Techniques, !e.Off, e.Why, e.Silent, e.Applies, e.Author, e.License, e.Source, e.Pos.File, e.Pos.Line,
			})
			if err != nil {
				return err
			}
			if err := printLine(f.env.Stdout, raw); err != nil {
				return err
			}
			continue
		}
		state := "on"
		switch {
		case e.Off:
			state = e.Why
		case e.Silent:
			state = "for correlations"
		case e.Kind == sigma.KindFilter:
			state = fmt.Sprintf("filters %d", e.Applies)
		}
		t.add(e.ID, short(e.Title, 60), e.Level, source, strings.Join(e.Techniques, " "), state, e.Source)
	}
	if len(set.Errors) > 0 {
		fmt.Fprintf(f.env.Stderr, "%d problems: 'cybervault rules check DIRECTORY' shows them\n", len(set.Errors))
	}
	if asJSON || len(t.rows) == 0 {
		return nil
	}
	return t.print(f.env.Stdout, colours(f.env, f.env.Stdout))
}
