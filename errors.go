package cybervault

import (
	"errors"
	"fmt"
)

// Code says what kind of failure an Error is, so that each edge (HTTP, command
// line, dashboard) can answer in its own way.
type Code string

// The codes, and the HTTP status the API answers them with.
const (
	CodeInvalid      Code = "invalid"      // 422 (400 where the request could not be read at all): the caller must change it
	CodeNotFound     Code = "not_found"    // 404
	CodeConflict     Code = "conflict"     // 409
	CodeUnauthorized Code = "unauthorized" // 401: who are you?
	CodeForbidden    Code = "forbidden"    // 403: you may not
	CodeGone         Code = "gone"         // 410: a position that is not kept any more, or never was; begin anew
	CodeTooLarge     Code = "too_large"    // 413
	CodeUnavailable  Code = "unavailable"  // 503: nothing was kept; the same call may succeed later
	CodeInternal     Code = "internal"     // 500
)

// Error is a failure with a kind, the field it is about, and what to do.
// It is logged once, at the edge.
type Error struct {
	Code    Code
	Field   string // the input it is about, as the caller wrote it ("data.confidence", "url"); empty if none
	Message string // what is wrong, and what would be right
	Err     error  // the cause, for logs; never shown to a caller
}

// Errorf makes an Error of the given code.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Invalid makes an Error of CodeInvalid about one field.
func Invalid(field, format string, args ...any) *Error {
	return &Error{Code: CodeInvalid, Field: field, Message: fmt.Sprintf(format, args...)}
}

// Error implements error.
func (e *Error) Error() string {
	s := e.Message
	if e.Field != "" {
		s = e.Field + ": " + s
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ErrorCode returns the code of the first Error in err's chain, CodeInternal
// for any other error, and "" for nil.
func ErrorCode(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}
