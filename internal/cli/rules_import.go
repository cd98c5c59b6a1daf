package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cybervault/cybervault/internal/detect/sigma"
)

// maxShownImport bounds how many rules that cannot be used an import shows.
const maxShownImport = 20

// ruleSection is what a rule file has and another YAML file has not.
var ruleSection = regexp.MustCompile(`(?m)^(detection|correlation|filter)\s*:`)

func newRulesImport(f *ruleFlags) *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use: "import DIRECTORY --data DIRECTORY", Args: cobra.ExactArgs(1), Short: "Take over the rules of SigmaHQ, or any others",
		Long: `Copies rule files, as they are, with their authors and licences, into rules/imported of
the data directory, in place of what was imported before. Files without a rule that can be
used, deprecated and unsupported rules are left out, and what is wrong is said.
Licence files beside the rules are copied too: keep to them.`,
		Example: `  git clone --depth 1 https://github.com/SigmaHQ/sigma
  cybervault rules import sigma/rules --data /var/lib/cybervault
  cybervault serve --rules /var/lib/cybervault/rules/imported`,
		RunE: func(_ *cobra.Command, args []string) error { return f.importRules(args[0], data) },
	}
	cmd.Flags().StringVar(&data, "data", "", "the server's data directory")
	_ = cmd.MarkFlagRequired("data") // it exists: see above
	return cmd
}

// importable is what an import has found.
type importable struct {
	files    []string // below the root
	licences []string
	retired  int
}

func (f *ruleFlags) importRules(from, data string) error {
	if info, err := os.Stat(data); err != nil || !info.IsDir() {
		return usagef("--data: %s is not a directory", data)
	}
	found, err := findRules(from)
	if err != nil {
		return err
	}
	set, err := f.load(from)
	if err != nil {
		return err
	}
	usable, count := map[string]bool{}, 0
	for _, e := range set.Entries {
		if set.SourceOf(e.Pos.File) == from && !e.Off && slices.Contains(found.files, rel(from, e.Pos.File)) {
			usable[rel(from, e.Pos.File)] = true
			count++
		}
	}
	wrong := slices.DeleteFunc(slices.Clone(set.Errors), func(e *sigma.LoadError) bool { return !slices.Contains(found.files, rel(from, e.Pos.File)) })
	files := slices.DeleteFunc(slices.Clone(found.files), func(name string) bool { return !usable[name] })
	if len(files) == 0 {
		return fmt.Errorf("%s holds no rule that can be used", from)
	}
	to := filepath.Join(data, "rules", "imported")
	if err := replaceDir(from, to, slices.Concat(files, found.licences)); err != nil {
		return fmt.Errorf("the rules cannot be copied: %w", err)
	}
	for _, e := range wrong[:min(len(wrong), maxShownImport)] {
		fmt.Fprintf(f.env.Stderr, "cannot be used: %s\n", clean(e.Error()))
	}
	if more := len(wrong) - maxShownImport; more > 0 {
		fmt.Fprintf(f.env.Stderr, "and %d more: 'cybervault rules check %s' shows all\n", more, from)
	}
	fmt.Fprintf(f.env.Stdout, "%d rules in %d files imported into %s; %d cannot be used, %d are deprecated or unsupported\n", count, len(files), to, len(wrong), found.retired)
	fmt.Fprintf(f.env.Stderr, "use them with: cybervault serve --rules %s\n", to)
	return nil
}

func rel(root, file string) string {
	r, err := filepath.Rel(root, filepath.FromSlash(file))
	if err != nil {
		return file
	}
	return filepath.ToSlash(r)
}

func findRules(root string) (*importable, error) {
	out := &importable{}
	fsys := os.DirFS(root)
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name != "." && strings.HasPrefix(entry.Name(), "."):
			return fs.SkipDir
		case !entry.Type().IsRegular():
			return nil
		case strings.HasPrefix(strings.ToUpper(entry.Name()), "LICENSE"):
			out.licences = append(out.licences, name)
			return nil
		case !sigma.IsRuleFile(name):
			return nil
		}
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		if !ruleSection.Match(data) {
			return nil
		}
		c := sigma.Parse(name, data)
		if len(c.Rules) > 0 && !slices.ContainsFunc(c.Rules, func(r *sigma.Rule) bool { return r.Status != "deprecated" && r.Status != "unsupported" }) {
			out.retired++
			return nil
		}
		out.files = append(out.files, name)
		return nil
	})
	return out, err
}

// replaceDir puts copies of the files in the place of a directory, all of them or
// none.
func replaceDir(from, to string, files []string) error {
	fresh, old := to+".new", to+".old"
	if err := errors.Join(os.RemoveAll(fresh), os.RemoveAll(old)); err != nil {
		return err
	}
	for _, name := range files {
		data, err := os.ReadFile(filepath.Join(from, filepath.FromSlash(name)))
		if err != nil {
			return err
		}
		target := filepath.Join(fresh, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(target), 0o750); err != nil {
			return err
		}
		if err := os.WriteFile(target, data, 0o600); err != nil { //nolint:gosec // a name that the walk found, below a directory of ours
			return err
		}
	}
	if err := os.Rename(to, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(fresh, to); err != nil {
		return err
	}
	return os.RemoveAll(old)
}
