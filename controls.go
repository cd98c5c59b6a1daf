package cybervault

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Bounds of what people tell the threat engine to leave out.
const (
	MaxExceptions       = 500  // of a workspace
	MaxExceptionFields  = 16   // of one exception
	MaxExceptionValues  = 200  // of one field
	MaxExceptionText    = 1000 // bytes of a value, and of a reason
	MaxRulesOff         = 5000 // of a workspace
	MaxRuleIDBytes      = 200
	MaxExceptionPreview = 1000 // events that a preview looks at
)

// Exception says what the threat engine is not to tell of: what a rule finds in
// records that hold all of Where.
type Exception struct {
	ID ExceptionID `json:"id"`
	// Rule is the id of a rule as a [Detection] has it, or the vector or pattern that
	// it stands for; "*" is any.
	Rule string `json:"rule"`
	// Where holds, by field, the values of which one must match. A field may carry
	// modifiers as in Sigma ("CommandLine|contains", "source_ip|cidr"). Beside the
	// record's own fields there are source_ip, user, host and source.
	Where     map[string][]string `json:"where"`
	Reason    string              `json:"reason"`
	CreatedAt time.Time           `json:"created_at"`
	Until     time.Time           `json:"until,omitzero"` // zero: for ever
}

// Ended reports whether the exception is over.
func (e *Exception) Ended(now time.Time) bool { return !e.Until.IsZero() && !now.Before(e.Until) }

// RuleOff is a rule that people have turned off.
type RuleOff struct {
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// Controls are what people of one workspace told the threat engine.
type Controls struct {
	Revision   int64              `json:"-"` // counts their changes; 0: there was none
	Off        map[string]RuleOff `json:"off,omitempty"`
	Exceptions []Exception        `json:"exceptions,omitempty"` // oldest first
}

// Clone returns controls that share nothing that changes.
func (c *Controls) Clone() *Controls {
	out := &Controls{Revision: c.Revision, Off: make(map[string]RuleOff, len(c.Off)), Exceptions: slices.Clone(c.Exceptions)}
	maps.Copy(out.Off, c.Off)
	return out
}

// Check says what is wrong with an exception, by field, before it is tried.
func (e *Exception) Check(now time.Time) error {
	switch {
	case e.Rule == "" || len(e.Rule) > MaxRuleIDBytes:
		return Invalid("rule", "name the rule's id, a vector or a login pattern as a detection has it, or * for any; at most %d bytes", MaxRuleIDBytes)
	case strings.TrimSpace(e.Reason) == "" || len(e.Reason) > MaxExceptionText:
		return Invalid("reason", "say why, for whoever reads this in a year; at most %d bytes", MaxExceptionText)
	case e.Rule == "*" && len(e.Where) == 0:
		return Invalid("where", "an exception for any rule needs fields, or it would hide everything")
	case len(e.Where) > MaxExceptionFields:
		return Invalid("where", "has %d fields, more than %d: make several exceptions", len(e.Where), MaxExceptionFields)
	case !e.Until.IsZero() && !now.Before(e.Until):
		return Invalid("until", "%s is past: name a time to come, or leave it out", e.Until.Format(time.RFC3339))
	}
	for field, values := range e.Where {
		if name, _, _ := strings.Cut(field, "|"); name == "" || len(field) > MaxRuleIDBytes {
			return Invalid("where", "%q is no field: name one of the record's, or source_ip, user, host or source", field)
		}
		if len(values) == 0 || len(values) > MaxExceptionValues {
			return Invalid("where."+field, "give 1 to %d values", MaxExceptionValues)
		}
		for _, v := range values {
			if len(v) > MaxExceptionText {
				return Invalid("where."+field, "a value is longer than %d bytes", MaxExceptionText)
			}
		}
	}
	return nil
}

// HiddenFinding is a published event that an exception would have hidden, or a part of.
type HiddenFinding struct {
	Event     EventID   `json:"event_id"`
	Type      string    `json:"event"`
	Timestamp time.Time `json:"timestamp"`
	Rules     []string  `json:"rules"` // whose detections it would have hidden
	Whole     bool      `json:"whole"` // nothing of the event would have been left
}

// ExceptionPreview is what an exception would have hidden of what is stored.
type ExceptionPreview struct {
	Looked   int             `json:"looked"`   // events looked at, the latest first
	Hidden   int             `json:"hidden"`   // of which nothing would have been left
	Partly   int             `json:"partly"`   // of which some detections would have gone
	Findings []HiddenFinding `json:"findings"` // the latest, at most 20
}

// RuleInfo is a Sigma rule as people see it.
type RuleInfo struct {
	ID         string
	Title      string
	Level      Severity
	LogSource  string
	Techniques []string
	File       string
	Kind       string // "rule" or "correlation"
	Off        *RuleOff
}

// RuleDetail is all that there is to read about a rule. Of one that is not Sigma's
// there is no Kind, and little else.
type RuleDetail struct {
	RuleInfo
	Description    string
	Status         string
	Author         string
	License        string
	References     []string
	FalsePositives []string
	Tags           []string
	Vector         string   // what it is told of as; an exception may name it, too
	Text           string   // as it was written, in YAML; "" where its file is gone
	Silent         bool     // a correlation counts it, and it is not told of by itself
	Counts         []string // the rules that a correlation is about
}
