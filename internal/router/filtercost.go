package router

import (
	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/cybervault/cybervault"
)

// CEL ends an evaluation that has had its share of steps, but looks only between
// calls. So that no single call can be long, an expression may not build values
// out of the event's: what it compares is never larger than the event.

// checkBounded refuses an expression whose calls are not bounded by the event's
// size: a regular expression made at run time, a list of lists or maps, and two
// lists or maps joined.
func checkBounded(checked *celast.AST) error {
	refuse := func(e celast.Expr, why string) error {
		at := checked.SourceInfo().GetStartLocation(e.ID())
		return filterError(at.Line(), at.Column(), "%s", why)
	}
	for _, e := range celast.MatchDescendants(celast.NavigateAST(checked), celast.AllMatcher()) {
		switch e.Kind() {
		case celast.ListKind:
			for _, element := range e.Children() {
				if !plain(element) && !accumulates(e) {
					return refuse(element, "a list can hold text, numbers and true or false only")
				}
			}
		case celast.MapKind:
			return refuse(e, "a filter cannot make maps: compare the fields one by one")
		case celast.CallKind:
			call := e.AsCall()
			operands := e.Children()
			switch call.FunctionName() {
			case "matches":
				if pattern := operands[len(operands)-1]; pattern.Kind() != celast.LiteralKind {
					return refuse(pattern, "a regular expression must be written out, as in data.path.matches(\"^/admin\")")
				}
			case operators.Add:
				if !plain(operands[0]) && !plain(operands[1]) && !isAccumulator(operands[0]) {
					return refuse(e, "what is added must be known to be numbers or text, as in double(data.a) + double(data.b)")
				}
			}
		default:
		}
	}
	return nil
}

// plain reports whether the type of an expression is known to have no parts.
func plain(e celast.NavigableExpr) bool {
	switch e.Type().Kind() { //nolint:exhaustive // all others may have parts
	case types.BoolKind, types.IntKind, types.UintKind, types.DoubleKind, types.StringKind, types.BytesKind,
		types.NullTypeKind, types.TimestampKind, types.DurationKind:
		return true
	}
	return false
}

// accumulates reports whether a list is the step of the filter macro, which
// appends an element that it found to those before. Nobody can write the
// accumulator's name.
func accumulates(list celast.NavigableExpr) bool {
	parent, ok := list.Parent()
	return ok && parent.Kind() == celast.CallKind && parent.AsCall().FunctionName() == operators.Add && isAccumulator(parent.Children()[0])
}

func isAccumulator(e celast.NavigableExpr) bool {
	return e.Kind() == celast.IdentKind && e.AsIdent() == "@result"
}

// callCost is what calls cost in CEL's units. CEL's own estimates do not know
// the sizes of values whose types show at run time only, as an event's do.
type callCost struct{}

// Prices of calls.
const (
	zoneCost   = 500 // a time zone is read from a file
	wholeCost  = filterCost
	bytesAUnit = 10
)

// CallCost implements cost.ActualCostEstimator.
func (callCost) CallCost(function, _ string, args []ref.Val, result ref.Val) *uint64 {
	size := 0
	for _, arg := range args {
		size += weight(arg, wholeCost*bytesAUnit-size)
	}
	price := uint64(1 + size/bytesAUnit)
	switch function {
	case "matches":
		if pattern, ok := args[len(args)-1].(types.String); ok {
			price *= uint64(1 + len(pattern)/bytesAUnit)
		}
	case "getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getHours", "getMinutes", "getSeconds", "getMilliseconds":
		if len(args) > 1 {
			price += zoneCost
		}
	case operators.Add, "string", "bytes":
		price += uint64(weight(result, wholeCost*bytesAUnit) / bytesAUnit)
	}
	return &price
}

// weight is about how many bytes a call looks at in a value, not counted beyond limit.
func weight(v any, limit int) int {
	const element = 8
	if limit <= 0 {
		return 0
	}
	switch v := v.(type) {
	case types.String:
		return len(v)
	case types.Bytes:
		return len(v)
	case string:
		return len(v)
	case map[string]any:
		size := 0
		for name, inner := range v {
			if size += element + len(name) + weight(inner, limit-size); size > limit {
				break
			}
		}
		return size
	case []any:
		size := 0
		for _, inner := range v {
			if size += element + weight(inner, limit-size); size > limit {
				break
			}
		}
		return size
	case []ref.Val:
		size := 0
		for _, inner := range v {
			if size += element + weight(inner, limit-size); size > limit {
				break
			}
		}
		return size
	case interface {
		ref.Val
		Size() ref.Val
	}:
		return weight(v.Value(), limit)
	}
	return 0
}

// filterError is about one place in a filter; a column is counted from 0 in CEL
// and from 1 by people.
func filterError(line, column int, format string, args ...any) error {
	e := cybervault.Invalid("filter", format, args...)
	if line > 0 {
		e = cybervault.Invalid("filter", "line %d, column %d: %s", line, column+1, e.Message)
	}
	return e
}
