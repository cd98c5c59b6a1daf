package sigma

import (
	"cmp"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/cybervault/cybervault"
)

// Source is where rules come from: the program itself, or a directory.
type Source struct {
	Name   string // for people, such as "shipped"
	Prefix string // stands before the files' names in what is said of them
	FS     fs.FS
}

// SetOptions are an operator's wishes about rules.
type SetOptions struct {
	Options
	Off []string // ids, or titles of those without one, that are not to be reported
}

// Kinds of an Entry.
const (
	KindRule        = "rule"
	KindCorrelation = "correlation"
	KindFilter      = "filter"
)

// Entry is a rule, correlation or filter that was read, and what became of it.
type Entry struct {
	*Meta
	Kind       string
	LogSource  LogSource // of no correlation
	Techniques []string
	Source     string
	Off        bool   // nothing is reported by it
	Why        string // it is off
	Silent     bool   // only correlations are told of what it matches
	Applies    int    // rules, of a filter
}

// Set is all rules that there are, wherever they come from, and the engine that was
// made of them.
type Set struct {
	Engine  *Engine
	Entries []*Entry     // in the order they were read, without those that were replaced
	Errors  []*LoadError // of what cannot be used, by file and line
	Notes   []*LoadError // of rules that replace others

	sources map[string]string // by file
	order   map[string]int    // in which the files were read
}

// LoadSet reads the sources, of which the later replace rules of the earlier by their
// ids, and makes an engine of what is left. The error says that a source cannot be
// read at all; what is wrong with a rule stands in the set.
func LoadSet(sources []Source, o SetOptions) (*Set, error) {
	s := &Set{sources: map[string]string{}, order: map[string]int{}}
	all := &Collection{}
	for _, src := range sources {
		if err := s.read(src, all); err != nil {
			return nil, err
		}
	}
	s.replace(all)
	used := s.enlist(all, o.Off)
	engine, errs := CompileAll(used, o.Options)
	s.Engine, s.Errors = engine, slices.Concat(all.Errors, errs)
	slices.SortStableFunc(s.Errors, func(x, y *LoadError) int {
		return cmp.Or(cmp.Compare(x.Pos.File, y.Pos.File), cmp.Compare(x.Pos.Line, y.Pos.Line))
	})
	s.settle()
	return s, nil
}

// SourceOf names the source that a file came from.
func (s *Set) SourceOf(file string) string { return s.sources[file] }

// IsRuleFile tells rules from what lies beside them: telemetry that a rule is tested
// with has .hit. or .miss. in its name.
func IsRuleFile(name string) bool {
	base := strings.ToLower(path.Base(name))
	ext := path.Ext(base)
	return (ext == ".yml" || ext == ".yaml") && !strings.Contains(base, ".hit.") && !strings.Contains(base, ".miss.")
}

func (s *Set) read(src Source, all *Collection) error {
	err := fs.WalkDir(src.FS, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !IsRuleFile(name) {
			return err
		}
		file := path.Join(src.Prefix, name)
		s.sources[file], s.order[file] = src.Name, len(s.order)
		data, err := fs.ReadFile(src.FS, name)
		if err != nil {
			all.Errors = append(all.Errors, loadError(file, nil, fmt.Errorf("the file cannot be read: %w", err)))
			return nil
		}
		all.add(Parse(file, data))
		return nil
	})
	if err != nil {
		return fmt.Errorf("the rules in %s cannot be read: %w", src.Name, err)
	}
	return nil
}

// replace leaves out what a later document has the id of.
func (s *Set) replace(all *Collection) {
	last := map[string]*Meta{}
	each := func(take func(m *Meta)) {
		for _, r := range all.Rules {
			take(&r.Meta)
		}
		for _, c := range all.Correlations {
			take(&c.Meta)
		}
		for _, f := range all.Filters {
			take(&f.Meta)
		}
	}
	each(func(m *Meta) {
		id := strings.ToLower(m.ID)
		if was := last[id]; was == nil || s.order[m.Pos.File] > s.order[was.Pos.File] || m.Pos.File == was.Pos.File && m.Pos.Line > was.Pos.Line {
			last[id] = m
		}
	})
	replaced := func(m *Meta) bool {
		by := last[strings.ToLower(m.ID)]
		if m.ID == "" || by == m {
			return false
		}
		s.Notes = append(s.Notes, &LoadError{Pos: m.Pos, ID: m.ID, Title: m.Title, Message: fmt.Sprintf("%q is replaced by the one with the same id at %s", shorten(m.Title), by.Pos)})
		return true
	}
	all.Rules = slices.DeleteFunc(all.Rules, func(r *Rule) bool { return replaced(&r.Meta) })
	all.Correlations = slices.DeleteFunc(all.Correlations, func(c *Correlation) bool { return replaced(&c.Meta) })
	all.Filters = slices.DeleteFunc(all.Filters, func(f *Filter) bool { return replaced(&f.Meta) })
}

// enlist makes the entries and returns what is to be compiled: of what is off only the rules
// that correlations need.
func (s *Set) enlist(all *Collection, off []string) *Collection {
	isOff := func(m *Meta) bool {
		return slices.ContainsFunc(off, func(o string) bool { return m.ID != "" && strings.EqualFold(o, m.ID) || m.ID == "" && o == m.Title })
	}
	enter := func(m *Meta, kind string, source LogSource) bool {
		e := &Entry{Meta: m, Kind: kind, LogSource: source, Source: s.sources[m.Pos.File], Techniques: techniquesOf(m.Tags)}
		if isOff(m) {
			e.Off, e.Why = true, "switched off"
		}
		s.Entries = append(s.Entries, e)
		return e.Off
	}
	out := &Collection{Errors: all.Errors}
	needed := map[string]bool{}
	for _, c := range all.Correlations {
		if !enter(&c.Meta, KindCorrelation, LogSource{}) {
			out.Correlations = append(out.Correlations, c)
			for _, ref := range c.Rules {
				needed[strings.ToLower(ref)] = true
			}
		}
	}
	for _, r := range all.Rules {
		if !enter(&r.Meta, KindRule, r.LogSource) || needed[strings.ToLower(r.ID)] && r.ID != "" || needed[strings.ToLower(r.Name)] && r.Name != "" {
			out.Rules = append(out.Rules, r)
		}
	}
	for _, f := range all.Filters {
		if !enter(&f.Meta, KindFilter, f.LogSource) {
			out.Filters = append(out.Filters, f)
		}
	}
	return out
}

func techniquesOf(tags []string) []string {
	return newRuleInfo(&Rule{Meta: Meta{Tags: tags}}).Techniques
}

// settle says in the entries what became of them, and keeps the engine from reporting by
// rules that are off.
func (s *Set) settle() {
	at := map[Position]*Entry{}
	for _, e := range s.Entries {
		at[e.Pos] = e
	}
	loaded := map[Position]bool{}
	for _, info := range slices.Concat(s.Engine.Rules(), s.Engine.Correlations()) {
		m := info.meta()
		loaded[m.Pos] = true
		if e := at[m.Pos]; e != nil {
			info.Silent = info.Silent || e.Off
			e.Silent, e.Techniques = info.Silent, info.Techniques
		}
	}
	for _, use := range s.Engine.Filters() {
		loaded[use.Filter.Pos] = true
		if e := at[use.Filter.Pos]; e != nil {
			e.Applies = use.Rules
		}
	}
	for _, e := range s.Entries {
		if !e.Off && !loaded[e.Pos] {
			e.Off, e.Why = true, "cannot be used"
		}
	}
}

func (i *RuleInfo) meta() *Meta {
	if i.Correlation != nil {
		return &i.Correlation.Meta
	}
	return &i.Rule.Meta
}

// Position is where a rule or correlation stands.
func (i *RuleInfo) Position() Position { return i.meta().Pos }

// Find returns the entry with an id, a name, or a title, in this order.
func (s *Set) Find(ref string) (*Entry, bool) {
	for _, is := range []func(e *Entry) bool{
		func(e *Entry) bool { return strings.EqualFold(e.ID, ref) },
		func(e *Entry) bool { return e.Name == ref },
		func(e *Entry) bool { return strings.EqualFold(e.Title, ref) },
	} {
		if i := slices.IndexFunc(s.Entries, is); i >= 0 && ref != "" {
			return s.Entries[i], true
		}
	}
	return nil, false
}

// Takes reports whether a record is of a log source.
func (s LogSource) Takes(rec *cybervault.Record) bool { return sourceTakes(s, rec) }
