package incident

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/cybervault/cybervault"
)

// What opens an incident. What is below joins one that there is.
const (
	openSeverity   = cybervault.SeverityMedium
	openConfidence = 0.5
)

// opens reports whether a finding is worth an incident by itself.
func opens(g *cybervault.Gist) bool {
	return g.Severity.Rank() >= openSeverity.Rank() && g.Confidence >= openConfidence
}

// How many tactics raise an incident above its worst member, by one step and by
// two. One member's own evidence is in its own severity already.
const (
	oneStep  = 3
	twoSteps = 5
)

// severityOf is that of the worst member, more where several show that an attack
// goes from one tactic to the next.
func severityOf(e *cybervault.IncidentEvidence) cybervault.Severity {
	rank := e.Worst.Rank()
	if e.Members > 1 && len(e.Tactics) >= oneStep {
		rank++
	}
	if e.Members > 1 && len(e.Tactics) >= twoSteps {
		rank++
	}
	all := cybervault.Severities()
	return all[max(0, min(rank, len(all)-1))]
}

// kinds are the vectors and patterns in words, the one that matters most first.
var kinds = []struct{ name, words string }{
	{"success_after_failures", "login after guessed passwords"},
	{"mfa_fatigue", "login after many pushes"},
	{"mfa_bypass", "bypass of multi-factor authentication"},
	{"mfa_removed", "removal of a second factor"},
	{"impossible_travel", "impossible travel"},
	{"remote_code_execution", "remote code execution"},
	{"java_attack", "attack on Java"},
	{"php_injection", "PHP injection"},
	{"code_injection", "code injection"},
	{"sql_injection", "SQL injection"},
	{"remote_file_inclusion", "remote file inclusion"},
	{"ssrf", "server-side request forgery"},
	{"ldap_injection", "LDAP injection"},
	{"path_traversal", "path traversal"},
	{"xss", "cross-site scripting"},
	{"session_fixation", "session fixation"},
	{"distributed_guessing", "distributed password guessing"},
	{"password_spray", "password spraying"},
	{"brute_force", "password guessing"},
	{"slow_brute_force", "slow password guessing"},
	{"new_country", "login from a new country"},
	{"protocol_attack", "protocol attack"},
	{"scanner", "vulnerability scan"},
	{"reconnaissance", "reconnaissance"},
}

// unlisted is the place of a name that kinds does not have, such as a rule's.
const unlisted = 7

func placeOf(name string) int {
	if i := slices.IndexFunc(kinds, func(k struct{ name, words string }) bool { return k.name == name }); i >= 0 {
		return 2 * i
	}
	return 2*unlisted - 1
}

// maxNames bounds the vectors and patterns kept of an incident.
const maxNames = 32

// addNames adds vectors and patterns, those that matter most in front.
func addNames(have, names []string) []string {
	for _, name := range names {
		if name = bound(name); name != "" && !slices.Contains(have, name) {
			have = append(have, name)
		}
	}
	slices.SortFunc(have, func(a, b string) int { return cmp.Or(cmp.Compare(placeOf(a), placeOf(b)), cmp.Compare(a, b)) })
	return have[:min(len(have), maxNames)]
}

func wordsOf(name string) string {
	for _, k := range kinds {
		if k.name == name {
			return k.words
		}
	}
	return strings.ReplaceAll(name, "_", " ")
}

// Bounds on what a title spells out.
const (
	titleKinds = 2
	titleValue = 60
)

// titleOf says what happens, in one line.
func titleOf(i *cybervault.Incident) string {
	names := i.Evidence.Names
	words := make([]string, 0, titleKinds+1)
	for _, name := range names[:min(len(names), titleKinds)] {
		words = append(words, short(wordsOf(name)))
	}
	if more := len(names) - titleKinds; more > 0 {
		words = append(words, fmt.Sprintf("%d more", more))
	}
	title := listed(words)
	if title == "" {
		title = "suspicious activity"
	}
	e := &i.Entities
	guessed := !slices.ContainsFunc(names, func(name string) bool { return !strings.HasSuffix(name, "_guessing") })
	switch {
	case len(e.SourceIPs) > 0:
		title += " from " + oneOrMany(e.SourceIPs, "addresses")
		title += where(" against ", e.Assets)
	case len(e.Users) > 0 && guessed:
		title += " against " + oneOrMany(e.Users, "accounts") + where(" on ", e.Assets)
	case len(e.Users) > 0:
		title += " by " + oneOrMany(e.Users, "accounts") + where(" on ", e.Assets)
	default:
		title += where(" on ", e.Assets)
	}
	return strings.ToUpper(title[:1]) + title[1:]
}

func where(word string, assets []string) string {
	if len(assets) == 0 {
		return ""
	}
	return word + oneOrMany(assets, "assets")
}

func oneOrMany(values []string, many string) string {
	switch {
	case len(values) == 1:
		return short(values[0])
	case len(values) >= cybervault.MaxIncidentEntities:
		return fmt.Sprintf("%d or more %s", len(values), many)
	}
	return fmt.Sprintf("%d %s", len(values), many)
}

// listed joins words as in a sentence.
func listed(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " and " + words[last]
}

func short(s string) string {
	if len(s) <= titleValue {
		return s
	}
	return strings.ToValidUTF8(s[:titleValue], "") + "…"
}
