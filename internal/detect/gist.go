package detect

import (
	"cmp"
	"slices"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/detect/login"
)

// gist is what a finding about the attack says, for the grouping of findings.
func (a *attack) gist(confidence float64, severity cybervault.Severity) cybervault.Gist {
	name, _ := a.best()
	g := cybervault.Gist{
		Severity: severity, Confidence: confidence, Name: name, Names: a.namesByRank(), Count: a.count, FirstSeen: a.first, LastSeen: a.last,
		User: a.user, Asset: a.key.target, NoSuchUser: a.user != "" && a.unknown > 0 && name != login.SuccessAfterFailures,
		OnAsset: name == login.SuccessAfterFailures || a.local(),
	}
	if a.key.kind == cybervault.EventAuthSuspicious {
		g.Subject = cybervault.AuthID{UUID: a.id()}.String()
	} else {
		g.Subject = cybervault.ThreatID{UUID: a.id()}.String()
	}
	if address := ip(a.key.source); address != nil {
		g.SourceIP = *address
	}
	for _, d := range a.detections {
		g.Rules = append(g.Rules, d.Engine+":"+d.RuleID)
		for _, t := range d.MitreIDs {
			if !slices.Contains(g.Techniques, t) {
				g.Techniques = append(g.Techniques, t)
			}
		}
	}
	return g
}

// local reports whether the attack is what a host's own records tell of, with no
// address that it came from. Who asks a web server, or guesses at passwords, is
// outside, whether the log has the address or not.
func (a *attack) local() bool {
	return ip(a.key.source) == nil && slices.ContainsFunc(a.detections, func(d *cybervault.Detection) bool { return d.Engine == "sigma" })
}

// namesByRank lists what the attack showed, the one that would do most harm first.
func (a *attack) namesByRank() []string {
	names := make([]string, 0, len(a.names))
	for name := range a.names {
		names = append(names, name)
	}
	slices.SortFunc(names, func(x, y string) int {
		return cmp.Or(cmp.Compare(a.names[y].rank, a.names[x].rank), cmp.Compare(x, y))
	})
	return names
}
