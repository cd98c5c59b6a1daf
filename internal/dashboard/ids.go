package dashboard

import (
	"encoding"
	"net/http"

	"github.com/cybervault/cybervault"
)

// textID is a pointer to an id that reads itself from its written form.
type textID[T any] interface {
	*T
	encoding.TextUnmarshaler
}

// pathID reads the id in the address. What is no id of that kind is not found.
func pathID[T any, P textID[T]](r *http.Request) (id T, err error) {
	if err := P(&id).UnmarshalText([]byte(r.PathValue("id"))); err != nil {
		return id, &cybervault.Error{Code: cybervault.CodeNotFound, Message: "There is nothing with this id.", Err: err}
	}
	return id, nil
}

// optionalID reads an id from a field that may be empty.
func optionalID[T any, P textID[T]](field, s string) (id T, err error) {
	if s == "" {
		return id, nil
	}
	if err := P(&id).UnmarshalText([]byte(s)); err != nil {
		return id, &cybervault.Error{Code: cybervault.CodeInvalid, Field: field, Message: "is not such an id", Err: err}
	}
	return id, nil
}

// plainError is the message of an error for the person at the page, without its cause.
func plainError(err error) string {
	p := problemOf(err)
	return p.Words
}
