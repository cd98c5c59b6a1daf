package dashboard

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/cybervault/cybervault"
)

// problem is what an error page says.
type problem struct {
	Status int
	Title  string
	Words  string
	Remedy string
}

type problemView struct {
	page
	Problem problem
}

var problemCrossOrigin = problem{
	Status: http.StatusForbidden, Title: "Refused",
	Words:  "This request was started by a page of another site.",
	Remedy: "If it was you, go back, reload the page and try again.",
}

// fail shows an error as a page, and logs it where it is ours.
func (d *dashboard) fail(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		return // the browser went away: nobody is left to tell
	}
	p := problemOf(err)
	if p.Status >= http.StatusInternalServerError {
		d.Logger.LogAttrs(r.Context(), slog.LevelError, "dashboard: request failed",
			slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.Int("status", p.Status), slog.Any("error", err))
	}
	d.renderProblem(w, r, p)
}

func problemOf(err error) problem {
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok && tooLarge != nil {
		err = cybervault.Errorf(cybervault.CodeTooLarge, "The form is larger than 1 MiB.")
	}
	words := ""
	if e, ok := errors.AsType[*cybervault.Error](err); ok {
		words = e.Message
		if e.Field != "" {
			words = e.Field + " " + e.Message
		}
	}
	switch cybervault.ErrorCode(err) {
	case cybervault.CodeNotFound:
		return problem{http.StatusNotFound, "Not found", words, "It may have been deleted, or the address is not complete."}
	case cybervault.CodeInvalid:
		return problem{http.StatusUnprocessableEntity, "That cannot be taken", words, "Go back and change it."}
	case cybervault.CodeConflict:
		return problem{http.StatusConflict, "Not possible now", words, "Go back and reload the page to see how things stand."}
	case cybervault.CodeTooLarge:
		return problem{http.StatusRequestEntityTooLarge, "Too large", words, "Go back and shorten it."}
	case cybervault.CodeUnauthorized, cybervault.CodeForbidden:
		return problem{http.StatusForbidden, "Not allowed", words, "Ask an owner or an admin of the workspace."}
	case cybervault.CodeUnavailable:
		return problem{http.StatusServiceUnavailable, "The store is not available", "CyberVault could not read or write its database just now. Nothing was changed.",
			"Try again in a moment. If it stays like this, look at the server's log and at the space left on its disk."}
	default:
		return problem{http.StatusInternalServerError, "Something went wrong", "CyberVault failed to make this page. The reason is in the server's log.",
			"Try again. If it happens again, please report it with that line of the log."}
	}
}

func (d *dashboard) renderProblem(w http.ResponseWriter, r *http.Request, p problem) {
	v := &problemView{page: d.newPage(r, "", p.Title), Problem: p}
	v.Inside = sessionOf(r.Context()) != nil
	v.Here = "/"
	v.Notice = ""
	if p.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "5")
	}
	if err := d.render(w, p.Status, "problem", v); err != nil {
		d.Logger.LogAttrs(r.Context(), slog.LevelError, "dashboard: the error page itself failed", slog.Any("error", err))
		http.Error(w, p.Title, p.Status)
	}
}

// asError returns the dictionary's error in err's chain, or nil.
func asError(err error) *cybervault.Error {
	e, _ := errors.AsType[*cybervault.Error](err)
	return e
}

// readForm reads a posted form.
func readForm(r *http.Request) error {
	err := r.ParseForm()
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return err
	}
	return &cybervault.Error{Code: cybervault.CodeInvalid, Message: "The form could not be read.", Err: err}
}
