package detect

import (
	"math"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/detect/model"
)

// modelVersion names the learned score and the tables of this file. Change the
// one with the others.
const modelVersion = model.Version

// EngineVersion names the model that gave an event its confidence, as it stands
// in the envelope's metadata.
func EngineVersion() string { return modelVersion }

// weights move the log-odds. All were chosen by judgement.
var weights = struct {
	rules      float64 // for each doubling of the number of different rules
	kinds      float64 // for each further vector or pattern
	count      float64 // for each doubling of the number of attempts at a login
	requests   float64 // for each doubling of the number of requests: a broken link repeats itself, too
	paths      float64 // for each doubling of the number of different paths
	refused    float64 // times the share of requests answered 4xx: a guess at what is not there
	answered   float64 // times the share answered below 400: an application that takes such input
	failed     float64 // some were answered 5xx: the attack may have hit
	unknown    float64 // times the share of attempts at accounts that do not exist
	users      float64 // for each doubling of the number of accounts tried
	scan       float64 // for each doubling of the number of paths in a scan
	addresses  float64 // for each doubling of the number of addresses beyond 8
	score      float64 // times the log-odds of the learned score, where it matched, or divided among the rules that it does not bear out
	scoreMost  float64 // log-odds of the learned score that count at most
	floor, top float64 // confidence is never below or above
}{
	rules: 0.6, kinds: 0.6, count: 0.25, requests: 0.1, paths: 0.15, refused: 0.3, answered: -0.4, failed: 0.3,
	unknown: 1.0, users: 0.2, scan: 0.3, addresses: 0.5, score: 0.5, scoreMost: 4.5, floor: 0.02, top: 0.99,
}

// confidence is the probability, as far as the model knows, that a person would
// agree that the attack is malicious: the prior of its strongest detection, moved
// by what people said before, and the evidence, added up as log-odds.
func (a *attack) confidence(said cybervault.DispositionCounts) float64 {
	odds := a.prior(said).logit() + a.learnedOdds()
	doublings := func(n int) float64 { return math.Log2(float64(max(n, 1))) }
	odds += weights.rules * doublings(len(a.detections)+a.further)
	odds += weights.kinds * float64(len(a.names)-1)
	odds += weights.paths * doublings(len(a.paths))
	if n := a.answered + a.refused + a.failed; n > 0 {
		odds += weights.refused*float64(a.refused)/float64(n) + weights.answered*float64(a.answered)/float64(n)
	}
	if a.failed > 0 {
		odds += weights.failed
	}
	if a.key.kind == cybervault.EventThreatDetected && a.answered+a.refused+a.failed > 0 {
		odds += weights.requests * math.Min(doublings(a.count), 12)
	}
	if a.behaviour > 0 {
		odds += weights.scan * doublings(a.behaviour)
	}
	if a.key.kind == cybervault.EventAuthSuspicious {
		if a.count > 0 {
			odds += weights.unknown * math.Min(1, float64(a.unknown)/math.Min(float64(a.count), 64))
		}
		odds += weights.count * math.Min(doublings(a.count), 12)
		odds += weights.users * doublings(a.users)
		if a.sources > 8 {
			odds += weights.addresses * math.Log2(float64(a.sources)/8)
		}
	}
	p := 1 / (1 + math.Exp(-odds))
	return math.Round(1000*math.Min(weights.top, math.Max(weights.floor, p))) / 1000
}

// taught are the vectors that the learned score was taught to see. Of the others
// its silence says nothing.
var taught = map[string]bool{
	"path_traversal": true, "remote_code_execution": true, "php_injection": true, "code_injection": true, "xss": true, "sql_injection": true, "ldap_injection": true,
}

// learnedOdds is what the learned score says for the attack, or against it: a
// single rule that matched a word, in values that look harmless as a whole, is
// mostly wrong. Several rules are less so.
func (a *attack) learnedOdds() float64 {
	if !a.scored {
		return 0
	}
	p := math.Min(math.Max(a.score, 1e-6), 1-1e-6)
	logit := math.Log(p / (1 - p))
	if a.learned {
		return weights.score * math.Min(math.Max(logit, 0), weights.scoreMost)
	}
	name, _ := a.best()
	if !taught[name] || logit > 0 {
		return 0
	}
	return weights.score * math.Max(logit, -weights.scoreMost) / float64(len(a.detections)+a.further)
}

// severities of web attacks that met a server which gave them something to do.
var vectorSeverity = map[string]cybervault.Severity{
	"remote_code_execution": cybervault.SeverityCritical,
	"java_attack":           cybervault.SeverityCritical,
	"php_injection":         cybervault.SeverityCritical,
	"sql_injection":         cybervault.SeverityHigh,
	"remote_file_inclusion": cybervault.SeverityHigh,
	"ssrf":                  cybervault.SeverityHigh,
	"code_injection":        cybervault.SeverityHigh,
	"path_traversal":        cybervault.SeverityHigh,
	"ldap_injection":        cybervault.SeverityHigh,
	"xss":                   cybervault.SeverityMedium,
	"session_fixation":      cybervault.SeverityMedium,
	"protocol_attack":       cybervault.SeverityMedium,
	"scanner":               cybervault.SeverityMedium,
	"reconnaissance":        cybervault.SeverityMedium,
}

// severity is that of the strongest vector or pattern; a web attack of which
// every request was refused (4xx) is one step less.
func (a *attack) severity() cybervault.Severity {
	name, by := a.best()
	if a.key.kind == cybervault.EventAuthSuspicious {
		return by.level
	}
	s, ok := vectorSeverity[name]
	if !ok {
		s = by.level // of a Sigma rule
	}
	if a.refused > 0 && a.answered+a.failed == 0 {
		switch s {
		case cybervault.SeverityCritical:
			return cybervault.SeverityHigh
		case cybervault.SeverityHigh:
			return cybervault.SeverityMedium
		case cybervault.SeverityMedium:
			return cybervault.SeverityLow
		case cybervault.SeverityLow, cybervault.SeverityInfo:
		}
	}
	return s
}
