package detect

import (
	"cmp"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/detect/sigma"
)

// SetRules replaces the Sigma rules. Records that are judged from now on are judged
// by the new ones; nil turns Sigma off. What correlations remember stays, of those
// that are the same in both.
func (e *Engine) SetRules(rules *sigma.Engine) {
	e.sigmaMu.Lock()
	defer e.sigmaMu.Unlock()
	switch {
	case rules == nil:
		e.correlator = nil
	case e.correlator == nil:
		e.correlator = rules.NewCorrelator()
	default:
		e.correlator = rules.Continue(e.correlator)
	}
	e.sigma = rules
}

// sigmaRanks says which of several rules names an attack, the most severe, and where
// it stands beside the rule set of the web: that knows its vectors better.
var sigmaRanks = map[cybervault.Severity]int{
	cybervault.SeverityInfo: 1, cybervault.SeverityLow: 5, cybervault.SeverityMedium: 15, cybervault.SeverityHigh: 35, cybervault.SeverityCritical: 55,
}

// sigma folds the rules that a record matches. told says that the record is
// counted in its attack already.
func (b *Batch) sigma(rec *cybervault.Record, at time.Time, hits []sigma.Hit, told bool) {
	k := attackKey{ws: b.ws, kind: cybervault.EventThreatDetected, source: rec.SourceIP, target: target(rec.Host, rec)}
	if rec.Category == "webserver" {
		// As for the rule set, so that both speak of one attack.
		k.source, k.target = rec.Fields[cybervault.FieldClientIP], target(cmp.Or(rec.Fields[cybervault.FieldWebHost], rec.Host), rec)
	}
	if k.source == "" && k.target == "" {
		k.user = rec.User
	}
	if len(hits) == 0 {
		return
	}
	v := b.veil(rec)
	hits = slices.DeleteFunc(hits, func(h sigma.Hit) bool { return v.hides(h.ID, sigmaVector(h.RuleInfo)) })
	for i := range hits {
		h := &hits[i]
		if h.Silent {
			continue // only what refers to it counts
		}
		s := sigmaSignal(h.RuleInfo, rec)
		s.first, s.add, s.same, s.explanation = at, boolInt(!told), told, h.Explanation()
		b.fold(k, at, s)
		told = true
	}
	if len(hits) == 0 || b.e.correlator == nil {
		return
	}
	for _, c := range b.e.correlator.Add(hits, rec, at, b.ws.String()) {
		if v.hides(c.ID, sigmaVector(c.RuleInfo)) {
			continue
		}
		k := k
		if !groupedBy(c.Group, k.source) {
			k.source = "" // the records are of many
		}
		s := sigmaSignal(c.RuleInfo, rec)
		s.first, s.add, s.ruleAdd, s.explanation, s.quiet = c.First, c.Count, c.Count, c.Explanation(), c.Correlation.Timespan
		b.fold(k, at, s)
	}
}

// sigmaSignal is what a rule or correlation says, whatever the record.
func sigmaSignal(r *sigma.RuleInfo, rec *cybervault.Record) signal {
	s := signal{
		engine: "sigma", rule: r.ID, title: r.Title, level: r.Severity, name: sigmaVector(r), rank: sigmaRanks[r.Severity],
		techniques: r.Techniques, user: rec.User, record: rec.Raw,
	}
	if s.techniques == nil {
		s.techniques = []string{}
	} else {
		s.technique = s.techniques[0]
	}
	return s
}

// groupedBy reports whether the records of a group have an address in common; those
// of a correlation without groups are taken to be the record's.
func groupedBy(group []sigma.GroupValue, source string) bool {
	for _, g := range group {
		if g.Value == source {
			return true
		}
	}
	return len(group) == 0
}

// sigmaVector names an attack by the tactic that a rule is about, the first that it
// is tagged with; rules without one are about policy.
func sigmaVector(r *sigma.RuleInfo) string {
	for _, tag := range r.Tags {
		name, ok := strings.CutPrefix(tag, "attack.")
		if !ok || name == "" || techniqueTag(name) {
			continue
		}
		return strings.ReplaceAll(name, "-", "_")
	}
	return "policy_violation"
}

// VectorOf is what a rule is told of as.
func VectorOf(r *sigma.RuleInfo) string { return sigmaVector(r) }

// techniqueTag tells t1059 and the numbers of groups and software from tactics.
func techniqueTag(name string) bool {
	return len(name) > 1 && strings.IndexByte("tgsc", name[0]) >= 0 && name[1] >= '0' && name[1] <= '9'
}

// RuleSource is where Sigma rules come from.
type RuleSource struct {
	Name string // stands before the files' names in what is said of them; "" for none
	FS   fs.FS
}

// LoadRules reads and compiles the rules, correlations and filters of all sources.
// Of documents with one id, the one of the later source counts, so that an
// operator's file replaces a shipped one. What cannot be used is left out and told
// of; the error says that a source could not be read at all.
func LoadRules(sources ...RuleSource) (*sigma.Engine, []*sigma.LoadError, error) {
	from := make([]sigma.Source, len(sources))
	for i, s := range sources {
		from[i] = sigma.Source{Name: s.Name, Prefix: s.Name, FS: s.FS}
	}
	set, err := sigma.LoadSet(from, sigma.SetOptions{})
	if err != nil {
		return nil, nil, err
	}
	return set.Engine, set.Errors, nil
}
