package detect

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/detect/sigma"
)

// SetRules replaces the Sigma rules. Records that are judged from now on are judged
// by the new ones; nil turns Sigma off.
func (e *Engine) SetRules(rules *sigma.Engine) { e.sigma.Store(rules) }

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
		k.source, k.target = rec.Fields[cybervault.FieldClientIP], target(rec.Fields[cybervault.FieldWebHost], rec)
	}
	if k.source == "" && k.target == "" {
		k.user = rec.User
	}
	for i := range hits {
		h := &hits[i]
		s := signal{
			engine: "sigma", rule: h.ID, title: h.Title, level: h.Severity, name: sigmaVector(h.RuleInfo), rank: sigmaRanks[h.Severity],
			techniques: h.Techniques, first: at, add: boolInt(i == 0 && !told), same: i > 0 || told,
			explanation: h.Explanation(), user: rec.User, record: rec.Raw,
		}
		if s.techniques == nil {
			s.techniques = []string{}
		} else {
			s.technique = s.techniques[0]
		}
		b.fold(k, at, s)
	}
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

// techniqueTag tells t1059 and the numbers of groups and software from tactics.
func techniqueTag(name string) bool {
	return len(name) > 1 && strings.IndexByte("tgsc", name[0]) >= 0 && name[1] >= '0' && name[1] <= '9'
}

// RuleSource is where Sigma rules come from.
type RuleSource struct {
	Name string // stands before the files' names in what is said of them; "" for none
	FS   fs.FS
}

// LoadRules reads and compiles the rules of all sources. Of rules with one id, the
// one of the later source counts, so that an operator's file replaces a shipped one.
// What cannot be used is left out and told of; the error says that a source could
// not be read at all.
func LoadRules(sources ...RuleSource) (*sigma.Engine, []*sigma.LoadError, error) {
	var all []*sigma.Rule
	var wrong []*sigma.LoadError
	place := map[string]int{}
	for _, source := range sources {
		c, err := sigma.ParseFS(source.FS, ".")
		if err != nil {
			return nil, nil, fmt.Errorf("the Sigma rules in %s cannot be read: %w", source.Name, err)
		}
		for _, e := range c.Errors {
			e.Pos.File = path.Join(source.Name, e.Pos.File)
			wrong = append(wrong, e)
		}
		for _, r := range c.Rules {
			r.Pos.File = path.Join(source.Name, r.Pos.File)
			if i, known := place[r.ID]; known && r.ID != "" {
				all[i] = r
				continue
			}
			place[r.ID] = len(all)
			all = append(all, r)
		}
	}
	engine, errs := sigma.Compile(all, sigma.Options{})
	return engine, append(wrong, errs...), nil
}
