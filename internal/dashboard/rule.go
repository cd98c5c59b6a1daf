package dashboard

import (
	"cmp"
	"net/http"
	"net/url"
	"strings"

	"github.com/cybervault/cybervault"
)

type ruleView struct {
	page
	Link    ruleLink
	Name    string
	Level   badge
	State   badge
	On      bool
	Reason  string
	Since   moment
	Known   bool // Sigma's: there is something to read
	Silent  bool
	Problem string // with turning it on or off

	Description    string
	Text           string
	FalsePositives []string
	Lately         string
	Recent         []recentView
	Facts          []fact
	Techniques     []techniqueView
	References     []string
	Exceptions     []exceptionRow
	Form           exceptionForm
}

// fact is a line of a page's margin.
type fact struct{ Name, Value string }

// techniqueView is an ATT&CK technique, and where it is described: as text, for the
// dashboard leads to no other host.
type techniqueView struct{ ID, At string }

type recentView struct {
	Event  string
	When   moment
	Who    string
	Finds  detectionView
	Except string // address of the form that leaves such out
}

func (d *dashboard) showRule(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	form := exceptionForm{Rule: r.PathValue("id"), From: r.PathValue("id")}
	form.fill(q["field"], q["value"])
	return d.renderRule(w, r, http.StatusOK, form, "")
}

// renderRule shows the rule that a form is about.
func (d *dashboard) renderRule(w http.ResponseWriter, r *http.Request, status int, form exceptionForm, problem string) error {
	ctx, id := r.Context(), form.From
	if id == "" || len(id) > cybervault.MaxRuleIDBytes {
		return cybervault.Errorf(cybervault.CodeNotFound, "There is no rule with this id.")
	}
	rule, err := d.Rules.Rule(ctx, workspaceOf(ctx), id)
	if err != nil {
		return err
	}
	fired, looked, err := d.firings(ctx)
	if err != nil {
		return err
	}
	all, err := d.Rules.Exceptions(ctx, workspaceOf(ctx))
	if err != nil {
		return err
	}
	v := d.ruleView(r, rule, fired[id])
	v.Problem, v.Form = problem, form
	v.Lately += " in the latest " + plural(looked, "finding", "findings") + " that are stored"
	for i := range all {
		if e := &all[i]; e.Rule == id || e.Rule == "*" || e.Rule == rule.Vector && rule.Vector != "" {
			v.Exceptions = append(v.Exceptions, d.exceptionRow(ctx, e, id))
		}
	}
	if r.Method != http.MethodGet {
		v.Replace = v.Link.URL
	}
	return d.render(w, status, "rule", v)
}

func (d *dashboard) ruleView(r *http.Request, rule *cybervault.RuleDetail, f *firing) *ruleView {
	v := &ruleView{
		Link: newRuleLink(rule.ID), Name: cut(rule.Title, 200), Level: severityBadge(rule.Level), On: rule.Off == nil, State: badge{"ok", "On"}, Known: rule.Kind != "", Silent: rule.Silent,
		Description: cut(strings.TrimSpace(rule.Description), shownInDetail), Text: cut(rule.Text, shownPayload),
		FalsePositives: firstOf(rule.FalsePositives, 20, func(s string) string { return cut(s, shownInDetail) }), Lately: cmp.Or(f.words(), "Nothing"),
		References: firstOf(rule.References, 20, func(s string) string { return cut(s, 300) }),
	}
	if !v.Known {
		v.Name, v.Level = cut(rule.ID, 80), badge{}
		if f != nil && f.Title != "" {
			v.Name, v.Level = cut(f.Title, 200), severityBadge(f.Level)
		}
	}
	v.page = d.newPage(r, "rules", cut(v.Name, 60))
	if rule.Off != nil {
		v.State, v.Reason, v.Since = badge{"mute", "Off"}, cut(rule.Off.Reason, cybervault.MaxExceptionText), d.moment(rule.Off.At)
	}
	for _, fa := range []fact{
		{"Kind", spaced(rule.Kind)}, {"Log source", rule.LogSource}, {"Told of as", strings.ReplaceAll(rule.Vector, "_", " ")}, {"Counts", strings.Join(rule.Counts, ", ")},
		{"Status", rule.Status}, {"Author", rule.Author}, {"Licence", rule.License}, {"File", rule.File},
	} {
		if fa.Value = cut(fa.Value, 300); fa.Value != "" {
			v.Facts = append(v.Facts, fa)
		}
	}
	v.Techniques = firstOfTechniques(rule.Techniques)
	if f == nil {
		return v
	}
	if len(rule.Techniques) == 0 && len(f.Recent) > 0 {
		v.Techniques = firstOfTechniques(f.Recent[0].Detection.MitreIDs)
	}
	for _, one := range f.Recent {
		v.Recent = append(v.Recent, d.recentView(rule.ID, one))
	}
	return v
}

func firstOfTechniques(ids []string) []techniqueView {
	var list []techniqueView
	for _, id := range ids[:min(len(ids), 20)] {
		id = cut(id, 40)
		list = append(list, techniqueView{id, "attack.mitre.org/techniques/" + strings.ReplaceAll(id, ".", "/")})
	}
	return list
}

func (d *dashboard) recentView(rule string, one recentDetection) recentView {
	id := one.Event.ID.String()
	return recentView{
		Event: id, When: d.moment(one.Event.Timestamp), Who: one.Who, Finds: newDetectionView("recent-"+id, &one.Detection),
		Except: exceptURL(rule, one.source, one.user),
	}
}

// exceptURL is the address of the form that leaves out what a rule finds from a
// source or of a user; "" where neither is known.
func exceptURL(rule, source, user string) string {
	field, value := "source_ip", source
	if value == "" {
		field, value = "user", user
	}
	if value == "" || len(value) > 300 {
		return ""
	}
	return newRuleLink(rule).URL + "?" + url.Values{"field": {field}, "value": {value}}.Encode() + "#except"
}

// setRule turns a rule on, or off for a reason.
func (d *dashboard) setRule(w http.ResponseWriter, r *http.Request) error {
	if err := readForm(r); err != nil {
		return err
	}
	id, done := r.PathValue("id"), r.PostForm.Get("status")
	if done != "on" && done != "off" {
		return cybervault.Invalid("status", "choose on or off")
	}
	err := d.Rules.SetRule(r.Context(), workspaceOf(r.Context()), id, done == "on", strings.TrimSpace(normalLines(r.PostForm.Get("reason"))))
	if code := cybervault.ErrorCode(err); code == cybervault.CodeInvalid || code == cybervault.CodeConflict {
		return d.renderRule(w, r, problemOf(err).Status, exceptionForm{Rule: id, From: id}, plainError(err))
	} else if err != nil {
		return err
	}
	http.Redirect(w, r, newRuleLink(id).URL+"?done="+done, http.StatusSeeOther)
	return nil
}
