package sigma

import (
	"fmt"
	"time"
)

// Position is a place in a rule file. Line and Column count from 1; a Line of 0
// means the file as a whole.
type Position struct {
	File         string
	Line, Column int
}

// String is file:line, or the file alone.
func (p Position) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// LoadError says why one document of a rule file cannot be used. The other
// documents are not affected by it.
type LoadError struct {
	Pos     Position
	ID      string // of the rule, where it was read so far
	Title   string // likewise
	Message string // what is wrong, and what would be right
}

// Error implements error.
func (e *LoadError) Error() string { return e.Pos.String() + ": " + e.Message }

// Meta is what rules, correlations and filters have in common.
type Meta struct {
	ID             string
	Name           string // stands for the ID in correlations
	Title          string
	Status         string
	Description    string
	License        string // SPDX id
	Author         string
	References     []string
	Date           string
	Modified       string
	Taxonomy       string // "" is "sigma"
	Level          string // informational, low, medium, high or critical; "" where none is given
	Tags           []string
	FalsePositives []string
	Fields         []string // worth showing to an analyst
	Scope          []string
	Related        []Related
	Pos            Position
}

// Related names another rule and what it is to this one.
type Related struct {
	ID   string
	Type string // derived, obsolete, merged, renamed or similar
}

// LogSource says which records a rule is for. An empty part takes all.
type LogSource struct {
	Category, Product, Service string
	Definition                 string // for people
}

// String is the parts that are given, such as "windows/process_creation".
func (s LogSource) String() string {
	out := ""
	for _, part := range []string{s.Product, s.Category, s.Service} {
		if part == "" {
			continue
		}
		if out != "" {
			out += "/"
		}
		out += part
	}
	if out == "" {
		return "any"
	}
	return out
}

// Rule is a detection rule as it was written. It matches when one of its
// Conditions holds.
type Rule struct {
	Meta
	LogSource  LogSource
	Detections []*Detection // in the order of the file
	Conditions []*Condition // at least one, linked with OR
}

// Detection is a search identifier and what it stands for: it holds when one of
// its Groups does.
type Detection struct {
	Name   string
	Groups []Group
	Pos    Position
}

// Group is one map of a detection, or its keywords: it holds when all Items do.
type Group struct {
	Items []*Item
}

// Item compares one field of the record with values.
type Item struct {
	Field     string   // "" for keywords, which are sought in the whole record
	Modifiers []string // in the order written, in lower case
	Values    []Value  // linked with OR, or with AND by the modifier all
	Pos       Position
}

// ValueKind is the type that a value has in the rule file.
type ValueKind uint8

// The kinds of Value.
const (
	StringValue ValueKind = iota
	NumberValue
	BoolValue
	NullValue
)

// Value is one value of an Item.
type Value struct {
	Kind ValueKind
	Text string // the string; the number in decimal; true or false; "" for null
	Pos  Position
}

// Condition is one condition and the tree that it was read into.
type Condition struct {
	Text string
	Expr *Expr
	Pos  Position
}

// Correlation is a rule about how often, or in which order, other rules match.
type Correlation struct {
	Meta
	Type      string   // one of the seven Correlation constants
	Rules     []string // ids or names of rules or correlations
	GroupBy   []string
	Timespan  time.Duration
	Aliases   []Alias
	Condition CorrelationCondition
	Generate  bool // the rules referred to are reported on their own too
	rulePos   []Position
}

// The types of correlation.
const (
	CorrelationEventCount      = "event_count"
	CorrelationValueCount      = "value_count"
	CorrelationTemporal        = "temporal"
	CorrelationTemporalOrdered = "temporal_ordered"
	CorrelationValueSum        = "value_sum"
	CorrelationValueAvg        = "value_avg"
	CorrelationValuePercentile = "value_percentile"
)

// Alias is a name in GroupBy that stands for another field in each rule.
type Alias struct {
	Name   string
	Fields []AliasField // in the order of the file
}

// AliasField says which field an alias stands for in the records of one rule.
type AliasField struct {
	Rule, Field string
}

// CorrelationCondition is what the count, sum, average or percentile must be:
// all Terms hold. A temporal correlation may have none, or an Expr over the names of its
// rules instead.
type CorrelationCondition struct {
	Fields     []string // whose values are counted or summed
	Percentile float64  // of value_percentile, where given; 50 otherwise
	Terms      []Comparison
	Expr       *Expr
	Pos        Position
}

// Comparison is one term, such as gte: 100.
type Comparison struct {
	Op     string // gt, gte, lt, lte, eq or neq
	Number float64
}

// Filter excludes records from rules: its condition is joined to theirs with
// AND, which is why it usually begins with not.
type Filter struct {
	Meta
	LogSource  LogSource
	Rules      []string // ids or names; empty where Any
	Any        bool     // for every rule of the log source
	Detections []*Detection
	Conditions []*Condition
}

// Collection is what was read from one file or many.
type Collection struct {
	Rules        []*Rule
	Correlations []*Correlation
	Filters      []*Filter
	Errors       []*LoadError // of documents that are in none of the above
}

func (c *Collection) add(o *Collection) {
	c.Rules = append(c.Rules, o.Rules...)
	c.Correlations = append(c.Correlations, o.Correlations...)
	c.Filters = append(c.Filters, o.Filters...)
	c.Errors = append(c.Errors, o.Errors...)
}
