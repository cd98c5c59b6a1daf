package router

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/ext"
	"cel.dev/cel-go/interpreter"

	"github.com/cybervault/cybervault"
)

// A filter is a CEL expression (https://cel.dev) over the envelope. It is code
// that a customer writes and every publish runs, so all that it may use is
// bounded: its length, its depth, the steps of one evaluation, and the size of
// a regular expression. Functions that make long text out of short (replace,
// join, format) are left out, since their price is known only once it is paid.

const (
	// filterCost bounds one evaluation, in CEL's own units: about one for each
	// step, and for each ten bytes of text that are looked through. It counts
	// steps and not time, so that a filter says the same on a busy machine.
	filterCost = 100_000
	// filterDepth bounds how deep an expression may be nested.
	filterDepth = 50
	// filterRegexSize bounds the program of a regular expression.
	filterRegexSize = 1000
	// filterInterrupt is after how many turns of a loop its publisher is looked after.
	filterInterrupt = 100
)

// filters compiles filters. Safe for concurrent use.
type filters struct{ env *cel.Env }

func newFilters() (*filters, error) {
	env, err := cel.NewEnv(
		cel.Variable("id", cel.StringType),
		cel.Variable("event", cel.StringType),
		cel.Variable("timestamp", cel.TimestampType),
		cel.Variable("data", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("metadata", cel.MapType(cel.StringType, cel.StringType)),
		cel.CrossTypeNumericComparisons(true),
		cel.DefaultUTCTimeZone(true),
		// map, bind and the like, which make values, are not among the macros.
		cel.ClearMacros(), cel.Macros(cel.HasMacro, cel.AllMacro, cel.ExistsMacro, cel.ExistsOneMacro, cel.FilterMacro),
		cel.EnableHiddenAccumulatorName(true),
		cel.EnableIdentifierEscapeSyntax(), // data.`strange name`
		ext.Network(),                      // cidr("10.0.0.0/8").containsIP(data.source_ip)
		cel.ParserExpressionSizeLimit(cybervault.MaxFilterBytes),
		cel.ParserRecursionLimit(filterDepth),
		cel.RegexProgramSizeLimit(filterRegexSize),
		cel.ASTValidators(cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals(), cel.ValidateRegexLiterals()),
	)
	if err != nil {
		return nil, fmt.Errorf("the filter language: %w", err)
	}
	return &filters{env}, nil
}

// filter is a compiled one. Safe for concurrent use.
type filter struct{ program cel.Program }

// compile refuses, with CodeInvalid about the field "filter", what is not an
// expression that says true or false about an envelope.
func (f *filters) compile(expression string) (*filter, error) {
	ast, issues := f.env.Compile(expression)
	if err := issues.Err(); err != nil {
		return nil, filterProblem(issues)
	}
	if kind := ast.OutputType(); !kind.IsExactType(cel.BoolType) {
		if kind.IsExactType(cel.DynType) {
			return nil, cybervault.Invalid("filter", "may give anything, and must give true or false: compare it, as in %q", truncated(expression)+" == true")
		}
		return nil, cybervault.Invalid("filter", "gives %s, and must give true or false: compare it with something, as in data.severity == \"critical\"", kind)
	}
	if err := checkBounded(ast.NativeRep()); err != nil {
		return nil, err
	}
	program, err := f.env.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.CostTracking(callCost{}), cel.CostLimit(filterCost), cel.InterruptCheckFrequency(filterInterrupt))
	if err != nil {
		return nil, cybervault.Invalid("filter", "cannot be evaluated: %s", printable(err.Error()))
	}
	return &filter{program}, nil
}

// filterProblem says where an expression is wrong, and what with it.
func filterProblem(issues *cel.Issues) error {
	e := issues.Errors()[0]
	text, _, _ := strings.Cut(e.Message, " (in container")
	remedy := ""
	switch {
	case strings.HasPrefix(e.Message, "undeclared reference"):
		remedy = ": an expression knows id, event, timestamp, data and metadata, and the functions of CEL"
	case strings.HasPrefix(e.Message, "found no matching overload"):
		remedy = ": the two sides are of different types"
	}
	return filterError(e.Location.Line(), e.Location.Column(), "%s%s", printable(text), remedy)
}

// printable bounds a foreign text and keeps it on one line.
func printable(s string) string { return truncated(strings.Join(strings.Fields(s), " ")) }

func truncated(s string) string {
	const limit = 200
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}

// matches reports whether the filter lets an event through. The error is one of
// the evaluation (a field is missing, of another type, or it took too many
// steps), or ctx's own.
func (f *filter) matches(ctx context.Context, v *filterView) (bool, error) {
	if err := v.decode(); err != nil {
		return false, err
	}
	out, _, err := f.program.ContextEval(ctx, v.variables)
	if err != nil {
		if stopped := ctx.Err(); stopped != nil {
			return false, stopped
		}
		return false, err
	}
	matched, ok := out.Value().(bool)
	if !ok {
		return false, fmt.Errorf("gave %s, not true or false", out.Type().TypeName())
	}
	return matched, nil
}

// filterView is an event as filters see it: decoded when the first one looks,
// and once.
type filterView struct {
	event     *cybervault.Event
	engine    string          // metadata.engine_version
	data      json.RawMessage // as published
	variables map[string]any
	err       error
}

// newStoredView is a view of an event as it was stored.
func newStoredView(e *cybervault.Event) *filterView {
	var envelope struct {
		Data     json.RawMessage     `json:"data"`
		Metadata cybervault.Metadata `json:"metadata"`
	}
	err := json.Unmarshal(e.Body, &envelope)
	return &filterView{event: e, engine: envelope.Metadata.EngineVersion, data: envelope.Data, err: err}
}

func (v *filterView) decode() error {
	if v.variables != nil || v.err != nil { // once
		return v.err
	}
	var data map[string]any
	decoder := json.NewDecoder(bytes.NewReader(v.data))
	decoder.UseNumber()
	if v.err = decoder.Decode(&data); v.err != nil {
		return v.err
	}
	for name, value := range data {
		data[name] = number(value)
	}
	v.variables = map[string]any{
		"id": v.event.ID.String(), "event": v.event.Type, "timestamp": v.event.Timestamp, "data": data,
		"metadata": map[string]string{
			"workspace_id": v.event.Workspace.String(), "engine_version": v.engine, "idempotency_key": v.event.IdempotencyKey,
		},
	}
	return nil
}

// number makes every number within a value an int where it is written as one
// and fits, and a double otherwise.
func number(v any) any {
	switch v := v.(type) {
	case json.Number:
		if i, err := strconv.ParseInt(string(v), 10, 64); err == nil {
			return i
		}
		f, _ := strconv.ParseFloat(string(v), 64) // beyond its range: infinite, as it should compare
		return f
	case map[string]any:
		for name, inner := range v {
			v[name] = number(inner)
		}
	case []any:
		for i, inner := range v {
			v[i] = number(inner)
		}
	}
	return v
}

// explainFilterError says in words what hindered an evaluation.
func explainFilterError(err error) string {
	if e, ok := errors.AsType[interpreter.EvalCancelledError](err); ok && e.Cause == interpreter.CostLimitExceeded {
		return "it took more than " + strconv.Itoa(filterCost) + " steps"
	}
	text := printable(err.Error())
	if key, ok := strings.CutPrefix(text, "no such key: "); ok {
		return "the event has no field " + key + ": ask has(…) for it first"
	}
	return text
}

// ownFilter is the filter of one webhook as it was saved, compiled when the
// first event asks for it.
type ownFilter struct {
	webhook *cybervault.Webhook
	once    sync.Once
	filter  *filter // nil if it cannot be compiled
}

func (r *Router) filterOf(own *ownFilter) *filter {
	own.once.Do(func() {
		var err error
		if own.filter, err = r.filters.compile(own.webhook.Filter); err != nil {
			// It was checked when it was saved, by another version of CyberVault.
			r.cfg.Logger.Warn("a webhook's filter cannot be compiled: all of its events are skipped",
				slog.String("webhook", own.webhook.ID.String()), slog.Any("error", err))
		}
	})
	return own.filter
}

// skips reports why a webhook's filter keeps an event from it, "" if it does
// not. The error is ctx's: then nothing is known.
func (r *Router) skips(ctx context.Context, own *ownFilter, v *filterView) (reason string, err error) {
	f := r.filterOf(own)
	if f == nil {
		return cybervault.ReasonFilterError, nil
	}
	matched, err := f.matches(ctx, v)
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err != nil:
		return cybervault.ReasonFilterError, nil //nolint:nilerr // an outcome: the log shows it
	case !matched:
		return cybervault.ReasonFilter, nil
	}
	return "", nil
}
