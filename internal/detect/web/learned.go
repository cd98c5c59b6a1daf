package web

import (
	"slices"
	"strconv"
	"strings"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/detect/decode"
	"github.com/cybervault/cybervault/internal/detect/model"
)

// Matches of the learned score have numbers below any of CRS: learnedRule and
// the class. Their id, as people see it, is "model.sqli" and the like.
const learnedRule = 1000

// learned is what each class of the model is called.
var learned = map[model.Class]struct {
	title  string
	vector vector
}{
	model.SQLInjection:     {"Learned score: SQL injection", vectors[942]},
	model.XSS:              {"Learned score: cross-site scripting", vectors[941]},
	model.PathTraversal:    {"Learned score: path traversal", vectors[930]},
	model.CommandInjection: {"Learned score: command injection", vectors[932]},
	model.CodeInjection:    {"Learned score: code or template injection", vectors[934]},
	model.LDAPInjection:    {"Learned score: LDAP injection", ruleVectors[921200]},
	model.SSRF:             {"Learned score: request to an inside address", ruleVectors[934110]},
	model.HeaderInjection:  {"Learned score: header or mail injection", vectors[921]},
}

// ID is the rule's id as detections show it.
func (m *Match) ID() string {
	if class := m.RuleID - learnedRule; class > 0 && class < 100 {
		return "model." + model.Class(class).String()
	}
	return strconv.Itoa(m.RuleID)
}

// Learned reports whether the match is the learned score's, not a rule's.
func (m *Match) Learned() bool { return m.RuleID < 2*learnedRule }

// headerThreshold is for headers, which programs fill with what looks odd in a
// parameter.
const headerThreshold = 0.97

// score asks the model about each value that is worth it. It returns a match for
// each class that a value was found to be, and the highest score of all.
func (in *Inspector) score(vs []value) (out []Match, top float64) {
	for _, v := range vs {
		if !v.suspect {
			continue
		}
		s := in.model.Score(v.text)
		limit := in.model.Info.Threshold
		if v.header {
			limit = headerThreshold
		}
		if top = max(top, s.Attack); s.Attack < limit {
			continue
		}
		id := learnedRule + int(s.Class)
		if slices.ContainsFunc(out, func(m Match) bool { return m.RuleID == id }) {
			continue
		}
		kind := learned[s.Class]
		out = append(out, Match{
			RuleID: id, Title: kind.title, Level: cybervault.SeverityHigh, Vector: kind.vector.name, Techniques: kind.vector.techniques, Where: v.where,
			Data: printable(s.Text, 120), Encoding: decode.Join(s.Undone), Why: strings.Join(in.model.Reasons(s, 4), ", "),
		})
	}
	return out, top
}
