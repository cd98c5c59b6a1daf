package detect

import (
	"maps"
	"math"

	"github.com/cybervault/cybervault"
)

// beta is a Beta distribution's two counts: of such attacks that a person was
// asked about, so many were malicious and so many were not.
type beta struct{ bad, good float64 }

func (b beta) mean() float64  { return b.bad / (b.bad + b.good) }
func (b beta) logit() float64 { return math.Log(b.bad / b.good) }

// priors are what one detection is worth before anything else is known. They
// were chosen by judgement and are moved by people's dispositions.
var priors = map[string]beta{
	"scanner":               {9, 1},
	"protocol_attack":       {5, 5},
	"path_traversal":        {8, 2},
	"remote_file_inclusion": {6, 4},
	"remote_code_execution": {6, 4},
	"php_injection":         {6, 4},
	"code_injection":        {6, 4},
	"ssrf":                  {6, 4},
	"ldap_injection":        {6, 4},
	"xss":                   {7, 3},
	"sql_injection":         {7, 3},
	"session_fixation":      {5, 5},
	"java_attack":           {8, 2},
	"reconnaissance":        {4, 6}, // one request for an odd file is mostly a stale link

	"brute_force":            {8, 2},
	"slow_brute_force":       {6, 4},
	"password_spray":         {8, 2},
	"distributed_guessing":   {7, 3},
	"success_after_failures": {8, 2},
	"new_country":            {5, 5}, // people travel
	"impossible_travel":      {6, 4}, // and use other networks than they think
	"mfa_fatigue":            {8, 2},
	"mfa_bypass":             {7, 3},
	"mfa_removed":            {5, 5}, // people lose telephones
}

// levelPriors are the same for a detection of Sigma, by the level that the
// rule's author gave it: the specification calls low and below no alert, and
// high and above worth a person's time.
var levelPriors = map[cybervault.Severity]beta{
	cybervault.SeverityInfo:     {1, 9},
	cybervault.SeverityLow:      {3, 7},
	cybervault.SeverityMedium:   {5, 5},
	cybervault.SeverityHigh:     {7, 3},
	cybervault.SeverityCritical: {9, 1},
}

// How far dispositions reach. A rule's own count in full: ten false alarms
// outweigh a prior of ten. A vector's count a fifth, and never more than half its prior: one noisy
// rule must not silence the others that look for the same kind of attack.
const (
	vectorShare = 0.2
	vectorMost  = 5
	ruleMost    = 1000 // of a rule's own: beyond it a change of times would never show
)

// moved adds what people said, at most so many of them, each worth a share.
func (b beta) moved(d cybervault.DispositionCount, share, most float64) beta {
	bad, good := share*float64(max(d.TruePositives, 0)), share*float64(max(d.FalsePositives, 0))
	if n := bad + good; n > most {
		bad, good = bad*most/n, good*most/n
	}
	return beta{b.bad + bad, b.good + good}
}

// prior is the Beta distribution that an attack's evidence is added to: that of
// its vector or pattern and, below it, that of the rule which people trust most.
// Another rule that is known for false alarms does not speak for the attack's
// being one.
func (a *attack) prior(said cybervault.DispositionCounts) beta {
	name, _ := a.best()
	vector, known := priors[name]
	if !known {
		vector = beta{5, 5}
	}
	vector = vector.moved(said[name], vectorShare, vectorMost)
	best := beta{}
	for _, d := range a.detections {
		b := vector
		if d.Engine == "sigma" {
			if level, ok := levelPriors[d.Level]; ok {
				b = level
			}
		}
		b = b.moved(said[d.RuleID], 1, ruleMost)
		if best.bad == 0 || b.mean() > best.mean() {
			best = b
		}
	}
	if best.bad == 0 {
		return vector
	}
	return best
}

// SetDispositions replaces what people of a workspace said of past findings. It
// moves the confidence of what is concluded from now on, open attacks included;
// nil forgets all. The map is copied; negative counts are taken as none.
func (e *Engine) SetDispositions(ws cybervault.WorkspaceID, d cybervault.DispositionCounts) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(d) == 0 {
		delete(e.attacks.said, ws)
		return
	}
	e.attacks.said[ws] = maps.Clone(d)
}
