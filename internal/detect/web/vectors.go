package web

import "github.com/cybervault/cybervault/internal/detect/model"

// vector is a family of rules: what an event calls the attack, and which
// technique of MITRE ATT&CK it is.
type vector struct {
	name       string
	techniques []string
	rank       int // the stronger of two vectors names the event
}

// exploit is ATT&CK's "Exploit Public-Facing Application", which covers sending
// an attack to a web application whatever its kind.
const exploit = "T1190"

// The vectors, by the CRS family (the first three digits of a rule's number).
// An attack that is several takes the name of the one with the highest rank.
var vectors = map[int]vector{
	913: {"scanner", []string{"T1595.002"}, 20},
	921: {"protocol_attack", []string{exploit}, 40},
	922: {"protocol_attack", []string{exploit}, 40},
	930: {"path_traversal", []string{exploit}, 60},
	931: {"remote_file_inclusion", []string{exploit}, 75},
	932: {"remote_code_execution", []string{exploit, "T1059"}, 90},
	933: {"php_injection", []string{exploit, "T1059"}, 85},
	934: {"code_injection", []string{exploit, "T1059"}, 70},
	941: {"xss", []string{exploit, "T1059.007"}, 50},
	942: {"sql_injection", []string{exploit}, 80},
	943: {"session_fixation", []string{exploit}, 45},
	944: {"java_attack", []string{exploit, "T1059"}, 88},
}

// The rules that are something else than the family they are in.
var ruleVectors = map[int]vector{
	921200: {"ldap_injection", []string{exploit}, 65},
	930130: {"reconnaissance", []string{"T1595.003"}, 30}, // asks for a file that should not be served
	930140: {"reconnaissance", []string{"T1595.003"}, 30},
	934110: {"ssrf", []string{exploit}, 72},
	934120: {"ssrf", []string{exploit}, 72},
	934190: {"ssrf", []string{exploit}, 72},
}

// Rules that know one attack by its own words, beside which general ones match
// by the way: their vote counts twice.
var specific = map[int]bool{934110: true, 934120: true, 934190: true, 944100: true, 944110: true, 944120: true, 944130: true, 944150: true, 944151: true, 944152: true}

// What is not CRS's.
var scanVector = vector{"reconnaissance", []string{"T1595.003"}, 30}

func vectorOf(rule int) (vector, bool) {
	if l, ok := learned[model.Class(rule-learnedRule)]; ok && rule > learnedRule {
		return l.vector, true
	}
	if v, ok := ruleVectors[rule]; ok {
		return v, true
	}
	v, ok := vectors[rule/1000]
	return v, ok
}

// techniquesOf adds what is known of a single rule to its family's technique.
func techniquesOf(rule int, v vector) []string {
	switch rule {
	case 932120, 932125: // PowerShell
		return []string{exploit, "T1059.001"}
	case 932100, 932105, 932130, 932150, 932160, 932230, 932235, 932250, 932260: // Unix shells
		return []string{exploit, "T1059.004"}
	case 932110, 932115, 932140, 932370, 932380: // Windows command shell
		return []string{exploit, "T1059.003"}
	}
	return v.techniques
}

// Verdict names what a request that matched is: the vector that most of its
// rules speak for, or of several such the one that would do most harm. A single
// rule is often not to the point: a path traversal to /etc/passwd also matches a
// rule of the Unix shell's files.
func Verdict(matches []Match) (name string, rank int, technique string) {
	votes := map[string]int{}
	for _, m := range matches {
		votes[m.Vector]++
		if specific[m.RuleID] {
			votes[m.Vector]++
		}
	}
	most := 0
	for _, m := range matches {
		v, _ := vectorOf(m.RuleID)
		if n := votes[m.Vector]; n > most || n == most && v.rank > rank {
			most, name, rank, technique = n, v.name, v.rank, v.techniques[0]
		}
	}
	return name, rank, technique
}
