package dashboard

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/cybervault/cybervault"
)

// author is whom a change is recorded as made by.
func author(r *http.Request) string { return sessionOf(r.Context()).Actor().Name }

// changeIncident makes the changes whose fields the form has, all or none of them.
func (d *dashboard) changeIncident(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID[cybervault.IncidentID](r)
	if err != nil {
		return err
	}
	if err := readForm(r); err != nil {
		return err
	}
	change, done := readIncidentChange(r.PostForm)
	if done == "" {
		return d.refuseIncident(w, r, id, cybervault.Invalid("", "Choose or write something first."))
	}
	change.By = author(r)
	if _, err := d.Incidents.UpdateIncident(r.Context(), workspaceOf(r.Context()), id, change); err != nil {
		return d.refuseIncident(w, r, id, err)
	}
	http.Redirect(w, r, "/incidents/"+id.String()+"?done="+done, http.StatusSeeOther)
	return nil
}

// readIncidentChange turns a posted form into a change, and says what is done by it:
// "" is nothing.
func readIncidentChange(form url.Values) (c cybervault.IncidentChange, done string) {
	if note := strings.TrimSpace(normalLines(form.Get("note"))); note != "" {
		c.Note, done = &note, "noted"
	}
	if form.Has("status") {
		c.Status, done = new(cybervault.IncidentStatus(form.Get("status"))), "changed"
	}
	if form.Has("disposition") {
		c.Disposition, done = new(cybervault.IncidentDisposition(form.Get("disposition"))), "changed"
	}
	if form.Has("assignee") {
		c.Assignee, done = new(strings.TrimSpace(form.Get("assignee"))), "changed"
	}
	return c, done
}

func (d *dashboard) mergeIncident(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID[cybervault.IncidentID](r)
	if err != nil {
		return err
	}
	if err := readForm(r); err != nil {
		return err
	}
	typed := strings.TrimSpace(r.PostForm.Get("into"))
	into, err := cybervault.ParseID[cybervault.IncidentID](typed[strings.LastIndexByte(typed, '/')+1:]) // an address will do
	if err != nil {
		return d.refuseIncident(w, r, id, cybervault.Invalid("", "The incident to merge into is not named: give its id, or the address of its page."))
	}
	if _, err := d.Incidents.UpdateIncident(r.Context(), workspaceOf(r.Context()), id, cybervault.IncidentChange{By: author(r), MergeInto: &into}); err != nil {
		return d.refuseIncident(w, r, id, err)
	}
	http.Redirect(w, r, "/incidents/"+into.String()+"?done=merged", http.StatusSeeOther)
	return nil
}

// refuseIncident shows the page again with what is wrong and what was typed, where
// that is the person's to mend.
func (d *dashboard) refuseIncident(w http.ResponseWriter, r *http.Request, id cybervault.IncidentID, err error) error {
	code := cybervault.ErrorCode(err)
	if code != cybervault.CodeInvalid && code != cybervault.CodeConflict {
		return err
	}
	form := r.PostForm
	return d.renderIncident(w, r, id, problemOf(err).Status, incidentForm{
		Problem: plainError(err), Note: form.Get("note"), Assignee: form.Get("assignee"), Into: form.Get("into"), Resolve: form.Get("status") == string(cybervault.IncidentResolved),
	})
}
