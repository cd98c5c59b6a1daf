package api

import (
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/cybervault/cybervault"
)

// Codes of problems that only HTTP knows; the others are cybervault's.
const (
	codeMethodNotAllowed = "method_not_allowed"
	codeUnsupportedMedia = "unsupported_media_type"
)

// problemBase is where each code is explained; the code follows as the anchor.
const problemBase = "https://github.com/cybervault/cybervault/blob/main/docs/api.md#"

const internalMessage = "something went wrong inside CyberVault: the server's log names the cause beside this request_id"

// retryAfter is how many seconds a caller is asked to wait after a 503.
const retryAfter = 1

// problemJSON is a problem document (RFC 9457) with our own members behind the
// standard's.
type problemJSON struct {
	Type      string           `json:"type" format:"uri" doc:"Where the code is explained."`
	Title     string           `json:"title" doc:"The HTTP status in words."`
	Status    int              `json:"status" doc:"The HTTP status."`
	Detail    string           `json:"detail" doc:"What is wrong, and what would be right."`
	Code      string           `json:"code" doc:"What kind of failure it is, for programs."`
	Field     string           `json:"field,omitempty" doc:"The input it is about, as the caller wrote it."`
	Errors    []fieldErrorJSON `json:"errors,omitempty" doc:"Every input that is wrong."`
	RequestID string           `json:"request_id,omitempty" doc:"Also in the header X-Request-Id and in the server's log."`
}

type fieldErrorJSON struct {
	Field  string `json:"field"`
	Detail string `json:"detail"`
}

// problem is an error whose HTTP status is not the one of its code.
type problem struct {
	status  int
	code    string
	message string
	field   string
	errors  []*cybervault.Error
	// retryAfter is how many seconds the caller is to wait; 0: the usual time.
	retryAfter int
}

func (p *problem) Error() string {
	if p.field != "" {
		return p.field + ": " + p.message
	}
	return p.message
}

// unreadable is the problem of a request that could not be read at all.
func unreadable(message string) error {
	return &problem{status: http.StatusBadRequest, code: string(cybervault.CodeInvalid), message: message}
}

// fieldErrors is every input of one request that is wrong; at least one.
type fieldErrors []*cybervault.Error

func (e fieldErrors) Error() string {
	words := make([]string, len(e))
	for i, err := range e {
		words[i] = err.Error()
	}
	return strings.Join(words, "; ")
}

// with adds an error about a field; err keeps its own field if it has one.
func (e fieldErrors) with(field string, err error) fieldErrors {
	if err == nil {
		return e
	}
	if several, ok := errors.AsType[fieldErrors](err); ok { // of an object within the body
		return append(e, several...)
	}
	known, ok := errors.AsType[*cybervault.Error](err)
	if !ok {
		known = cybervault.Invalid(field, "%s", err)
	}
	if known.Field == "" {
		known = cybervault.Invalid(field, "%s", known.Message)
	}
	return append(e, known)
}

// err returns nil where nothing is wrong.
func (e fieldErrors) err() error {
	if len(e) == 0 {
		return nil
	}
	return e
}

// asProblem says how an error is answered.
func asProblem(err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	if list, ok := errors.AsType[fieldErrors](err); ok {
		return &problem{
			status: http.StatusUnprocessableEntity, code: string(cybervault.CodeInvalid),
			field: list[0].Field, message: list[0].Message, errors: list,
		}
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return bodyTooLarge(tooLarge.Limit)
	}
	known, ok := errors.AsType[*cybervault.Error](err)
	if !ok || known.Code == cybervault.CodeInternal || statusOf(known.Code) == http.StatusInternalServerError {
		return &problem{status: http.StatusInternalServerError, code: string(cybervault.CodeInternal), message: internalMessage}
	}
	p := &problem{status: statusOf(known.Code), code: string(known.Code), field: known.Field, message: known.Message}
	if known.Code == cybervault.CodeInvalid && known.Field != "" {
		p.errors = []*cybervault.Error{known}
	}
	return p
}

func bodyTooLarge(limit int64) *problem {
	return &problem{
		status: http.StatusRequestEntityTooLarge, code: string(cybervault.CodeTooLarge),
		message: "the body is larger than the " + byteSize(limit) + " that this call takes",
	}
}

func byteSize(n int64) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return strconv.FormatInt(n>>20, 10) + " MiB"
	case n >= 1<<10 && n%(1<<10) == 0:
		return strconv.FormatInt(n>>10, 10) + " KiB"
	}
	return strconv.FormatInt(n, 10) + " bytes"
}

func statusOf(code cybervault.Code) int {
	switch code {
	case cybervault.CodeInvalid:
		return http.StatusUnprocessableEntity
	case cybervault.CodeNotFound:
		return http.StatusNotFound
	case cybervault.CodeConflict:
		return http.StatusConflict
	case cybervault.CodeUnauthorized:
		return http.StatusUnauthorized
	case cybervault.CodeForbidden:
		return http.StatusForbidden
	case cybervault.CodeGone:
		return http.StatusGone
	case cybervault.CodeTooLarge:
		return http.StatusRequestEntityTooLarge
	case cybervault.CodeUnavailable:
		return http.StatusServiceUnavailable
	case cybervault.CodeInternal:
	}
	return http.StatusInternalServerError
}

// document makes the problem document.
func (p *problem) document(requestID string) problemJSON {
	doc := problemJSON{
		Type: problemBase + p.code, Title: http.StatusText(p.status), Status: p.status,
		Detail: p.Error(), Code: p.code, Field: p.field, RequestID: requestID,
	}
	for _, e := range p.errors {
		doc.Errors = append(doc.Errors, fieldErrorJSON{Field: e.Field, Detail: e.Message})
	}
	return doc
}

// fail answers with the error and logs it if it is the server's own.
func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := asProblem(err)
	id := w.Header().Get("X-Request-Id")
	switch {
	case r.Context().Err() != nil:
		// The caller has gone, and whatever failed most likely failed for that.
		s.Logger.DebugContext(r.Context(), "a request was given up by its caller", "method", r.Method, "path", r.URL.Path, "request_id", id)
	case p.status == http.StatusServiceUnavailable:
		level := slog.LevelDebug
		if now := s.Now().Unix(); s.warned.Swap(now) != now { // once a second: an overload is no reason to fill the log too
			level = slog.LevelWarn
		}
		s.Logger.Log(r.Context(), level, "a request could not be served now", "method", r.Method, "path", r.URL.Path, "request_id", id, "error", err)
	case p.status >= http.StatusInternalServerError:
		s.Logger.ErrorContext(r.Context(), "a request failed", "method", r.Method, "path", r.URL.Path, "request_id", id, "error", err)
	}
	writeProblem(w, p)
}

func writeProblem(w http.ResponseWriter, p *problem) {
	h := w.Header()
	if p.status == http.StatusServiceUnavailable {
		h.Set("Retry-After", strconv.Itoa(max(p.retryAfter, retryAfter)))
	}
	body, err := encode(p.document(h.Get("X-Request-Id")))
	if err != nil { // strings and numbers only: cannot fail
		panic(err)
	}
	h.Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.status)
	_, _ = w.Write(body) // with its own media type and nosniff, no browser takes it for HTML
}
