package dashboard

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

const (
	exceptionsPath = "/rules/exceptions"
	// exceptionFields is how many fields the form offers; the API takes more.
	exceptionFields = 4
	exceptionsPage  = 100
)

type exceptionsView struct {
	page
	Tabs []tab
	Rows []exceptionRow
	More string
	Form exceptionForm
}

type exceptionRow struct {
	ID      string
	Rule    ruleLink
	Any     bool // of any rule
	Where   []string
	Reason  string
	Created moment
	Until   moment
	Ended   bool
	May     bool   // be removed by who looks
	From    string // the page that it is shown on
}

// exceptionForm is what a person was about to add.
type exceptionForm struct {
	From    string // the rule whose page it stands on; "" for the list of all
	Rule    string
	Fields  []fieldValue
	Reason  string
	Until   string
	Problem string
	Preview *exceptionPreview
}

type fieldValue struct{ Number, Field, Value string }

// fill takes in what was typed into the rows of the form, and keeps some empty.
func (f *exceptionForm) fill(fields, values []string) {
	f.Fields = nil
	for i := range max(exceptionFields, min(len(fields), cybervault.MaxExceptionFields)) {
		row := fieldValue{Number: strconv.Itoa(i + 1)}
		if i < len(fields) {
			row.Field = cut(fields[i], cybervault.MaxRuleIDBytes)
		}
		if i < len(values) {
			row.Value = cut(values[i], cybervault.MaxExceptionText)
		}
		f.Fields = append(f.Fields, row)
	}
}

// exceptionPreview is what an exception would have hidden.
type exceptionPreview struct {
	Words    string
	Findings []hiddenView
	More     string
}

type hiddenView struct {
	Event, Type, Rules string
	When               moment
	Whole              bool
}

func (d *dashboard) exceptionRow(ctx context.Context, e *cybervault.Exception, from string) exceptionRow {
	row := exceptionRow{
		May: mayRespond(ctx),
		ID:  e.ID.String(), Rule: newRuleLink(e.Rule), Any: e.Rule == "*", Reason: cut(e.Reason, cybervault.MaxExceptionText),
		Created: d.moment(e.CreatedAt), Until: d.moment(e.Until), Ended: e.Ended(d.Now()), From: from,
	}
	for _, field := range slices.Sorted(maps.Keys(e.Where)) {
		values := e.Where[field]
		words := cut(field, 80) + ": " + strings.Join(firstOf(values, 3, func(s string) string { return cut(s, 80) }), ", ")
		if more := len(values) - 3; more > 0 {
			words += ", +" + count(more)
		}
		row.Where = append(row.Where, words)
	}
	return row
}

func (d *dashboard) listExceptions(w http.ResponseWriter, r *http.Request) error {
	var form exceptionForm
	form.fill(nil, nil)
	return d.renderExceptions(w, r, http.StatusOK, form)
}

func (d *dashboard) renderExceptions(w http.ResponseWriter, r *http.Request, status int, form exceptionForm) error {
	all, err := d.Rules.Exceptions(r.Context(), workspaceOf(r.Context()))
	if err != nil {
		return err
	}
	v := &exceptionsView{page: d.newPage(r, "rules", "Exceptions"), Tabs: ruleTabs(ruleFilter{}, true), Form: form}
	for i := range all[:min(len(all), exceptionsPage)] {
		v.Rows = append(v.Rows, d.exceptionRow(r.Context(), &all[i], ""))
	}
	if more := len(all) - len(v.Rows); more > 0 {
		v.More = plural(more, "older one is", "older ones are") + " not shown: GET /v1/exceptions lists all of them."
	}
	if r.Method != http.MethodGet {
		v.Replace = exceptionsPath
	}
	return d.render(w, status, "exceptions", v)
}

// readException reads the form, and what it asks for.
func (d *dashboard) readException(form url.Values) (f exceptionForm, e cybervault.Exception, err error) {
	f = exceptionForm{From: form.Get("from"), Rule: strings.TrimSpace(form.Get("rule")), Reason: strings.TrimSpace(normalLines(form.Get("reason"))), Until: strings.TrimSpace(form.Get("until"))}
	fields, values := form["field"], form["value"]
	f.fill(fields, values)
	e = cybervault.Exception{Rule: f.Rule, Reason: f.Reason, Where: map[string][]string{}}
	for i := range min(len(fields), len(values)) {
		field := strings.TrimSpace(fields[i])
		switch {
		case field == "" && values[i] == "":
		case field == "":
			return f, e, cybervault.Invalid("", "The value %q has no field: name one of the record's, or source_ip, user, host or source.", cut(values[i], 40))
		default: // of a field that is named twice one value must match
			e.Where[field] = append(e.Where[field], values[i])
		}
	}
	if e.Until, err = parseUntil(d.Now(), "until", f.Until); err != nil {
		return f, e, err
	}
	return f, e, nil
}

// parseUntil reads a moment to come: a span such as "7d" or "12h", or a time in UTC.
func parseUntil(now time.Time, field, s string) (time.Time, error) {
	then, err := parseMoment(now, field, s)
	if err != nil {
		return then, cybervault.Invalid(field, "%q is not a time: use a form such as 2027-01-31T14:30 (UTC), or 12h or 30d from now", cut(s, 40))
	}
	if s != "" && strings.ContainsRune("dhms", rune(s[len(s)-1])) {
		then = now.Add(now.Sub(then)) // it was read as a span back
	}
	return then, nil
}

func (d *dashboard) addException(w http.ResponseWriter, r *http.Request) error {
	if err := readForm(r); err != nil {
		return err
	}
	form, e, err := d.readException(r.PostForm)
	if err == nil {
		_, err = d.Rules.AddException(r.Context(), workspaceOf(r.Context()), e)
	}
	if code := cybervault.ErrorCode(err); code == cybervault.CodeInvalid || code == cybervault.CodeConflict {
		form.Problem = exceptionProblem(err)
		return d.renderFrom(w, r, problemOf(err).Status, form)
	} else if err != nil {
		return err
	}
	http.Redirect(w, r, backTo(form.From)+"?done=excepted", http.StatusSeeOther)
	return nil
}

// previewException says what the exception in the form would have hidden: htmx puts
// that below the form, without JavaScript the page comes back with it.
func (d *dashboard) previewException(w http.ResponseWriter, r *http.Request) error {
	if err := readForm(r); err != nil {
		return err
	}
	form, e, err := d.readException(r.PostForm)
	if e.Reason == "" {
		e.Reason = "a preview" // nobody has to say why to see what
	}
	var found *cybervault.ExceptionPreview
	if err == nil {
		found, err = d.Rules.PreviewException(r.Context(), workspaceOf(r.Context()), e)
	}
	switch code := cybervault.ErrorCode(err); {
	case code == cybervault.CodeInvalid:
		form.Problem = exceptionProblem(err)
	case err != nil:
		return err
	default:
		form.Preview = d.exceptionPreview(found)
	}
	if wantsPart(r) {
		return d.renderPart(w, "exceptions", "exception-preview", &exceptionsView{page: d.newPage(r, "rules", "Exceptions"), Form: form})
	}
	return d.renderFrom(w, r, http.StatusOK, form)
}

// exceptionProblem says what is wrong with the form, by the names that it has there.
func exceptionProblem(err error) string {
	words := plainError(err)
	if e := asError(err); e != nil {
		name, field, _ := strings.Cut(e.Field, ".")
		if label := map[string]string{"rule": "Rule: ", "where": "Field: ", "reason": "Reason: ", "until": "Until: "}[name]; label != "" {
			if words = label + e.Message; field != "" {
				words = label + cut(field, 80) + ": " + e.Message
			}
		}
	}
	return words
}

func (d *dashboard) exceptionPreview(p *cybervault.ExceptionPreview) *exceptionPreview {
	v := &exceptionPreview{Words: "Would have hidden " + count(p.Hidden) + " of the latest " + plural(p.Looked, "finding", "findings")}
	if p.Partly > 0 {
		v.Words += ", and a part of " + count(p.Partly) + " more"
	}
	v.Words += "."
	for i := range p.Findings {
		h := &p.Findings[i]
		v.Findings = append(v.Findings, hiddenView{
			Event: h.Event.String(), Type: cut(h.Type, 80), When: d.moment(h.Timestamp), Whole: h.Whole, Rules: strings.Join(firstOf(h.Rules, 5, func(s string) string { return cut(s, 60) }), ", "),
		})
	}
	if more := p.Hidden + p.Partly - len(p.Findings); more > 0 {
		v.More = "And " + count(more) + " more."
	}
	return v
}

// renderFrom shows the page again that a form stands on.
func (d *dashboard) renderFrom(w http.ResponseWriter, r *http.Request, status int, form exceptionForm) error {
	if form.From != "" {
		return d.renderRule(w, r, status, form, "")
	}
	return d.renderExceptions(w, r, status, form)
}

// backTo is the address of the page that a form stands on.
func backTo(from string) string {
	if from == "" || len(from) > cybervault.MaxRuleIDBytes {
		return exceptionsPath
	}
	return newRuleLink(from).URL
}

func (d *dashboard) removeException(w http.ResponseWriter, r *http.Request) error {
	var id cybervault.ExceptionID
	if err := id.UnmarshalText([]byte(r.PathValue("exception"))); err != nil {
		return &cybervault.Error{Code: cybervault.CodeNotFound, Message: "There is no exception with this id.", Err: err}
	}
	if err := readForm(r); err != nil {
		return err
	}
	if err := d.Rules.RemoveException(r.Context(), workspaceOf(r.Context()), id); err != nil {
		return err
	}
	http.Redirect(w, r, backTo(r.PostForm.Get("from"))+"?done=removed", http.StatusSeeOther)
	return nil
}
