package dashboard

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/cybervault/cybervault"
)

const auditLogPath = "/settings/audit-log"

// maxChanges bounds how many fields of one change are shown.
const maxChanges = 40

// actionKinds are what a person may ask the log for: the beginnings of actions.
var actionKinds = []choice{
	{Value: "session", Label: "Log-ins"}, {Value: "webhook", Label: "Webhooks"}, {Value: "key", Label: "API keys"}, {Value: "member", Label: "Members"},
	{Value: "invitation", Label: "Invitations"}, {Value: "user", Label: "Accounts"}, {Value: "passkey", Label: "Passkeys"}, {Value: "agent", Label: "Agents"}, {Value: "agent_token", Label: "Enrolment tokens"}, {Value: "incident", Label: "Incidents"},
	{Value: "rule", Label: "Rules"}, {Value: "exception", Label: "Exceptions"}, {Value: "delivery", Label: "Deliveries"}, {Value: "replay", Label: "Replays"},
	{Value: "event_type", Label: "Event types"}, {Value: "workspace", Label: "Workspaces"},
}

// actionWords say what was done, in the words of the pages where it is done.
var actionWords = map[string]string{ //nolint:gosec // words, no credentials
	"session.create": "logged in", "session.end": "ended a session", "session.end_all": "ended all other sessions", "session.refuse": "was refused at the log-in",
	"webhook.create": "added a webhook", "webhook.update": "changed a webhook", "webhook.delete": "deleted a webhook", "webhook.enable": "enabled a webhook",
	"webhook.disable": "disabled a webhook", "webhook.replay": "started a replay", "webhook.rotate_secret": "rotated a secret", "webhook.verify": "verified a webhook",
	"key.create": "made an API key", "key.revoke": "revoked an API key",
	"member.create": "became a member", "member.update": "changed a role", "member.remove": "removed a member", "member.let_choose_password": "let somebody choose a new password",
	"invitation.create": "invited somebody", "invitation.withdraw": "withdrew an invitation",
	"user.add_authenticator": "added an authenticator", "user.remove_authenticator": "removed the authenticator", "user.change_password": "changed their password",
	"user.choose_password": "chose a new password", "user.new_recovery_codes": "made new recovery codes", "user.remove_recovery_codes": "gave up their recovery codes", "user.rename": "changed their name", "user.use_recovery_code": "used a recovery code",
	"agent.create": "enrolled an agent", "agent.delete": "removed an agent", "agent_token.create": "made an enrolment token", "agent_token.delete": "ended an enrolment token",
	"passkey.create": "added a passkey", "passkey.delete": "removed a passkey",
	"incident.update": "changed an incident", "incident.merge": "merged an incident",
	"rule.on": "turned a rule on", "rule.off": "turned a rule off", "exception.add": "added an exception", "exception.remove": "removed an exception",
	"delivery.replay": "replayed a delivery", "delivery.cancel": "cancelled a delivery", "replay.cancel": "cancelled a replay",
	"event_type.save": "saved an event type", "event_type.delete": "deleted an event type", "workspace.create": "made a workspace",
}

type auditLogView struct {
	page
	Filter actionFilter
	Kinds  []choice
	List   actionList
}

// actionFilter is the filter as it was typed.
type actionFilter struct {
	Actor, Action, Target, Since, Until, Before string
	Problem                                     string
}

type actionList struct {
	Rows    []actionRow
	Older   string
	First   string
	Any     bool
	Problem string
	Live    liveView
}

type actionRow struct {
	Number       int64
	When         moment
	Who, Kind    string
	Address      string
	Words, Name  string // what was done in words, and by its name
	Target, Link string
	Changes      []fieldChange
	More         bool // than are shown
	Hash         string
}

// fieldChange is one field of what was changed.
type fieldChange struct {
	Field, Before, After string
	New, Gone            bool
}

func readActionFilter(q url.Values) actionFilter {
	return actionFilter{Actor: strings.TrimSpace(q.Get("actor")), Action: q.Get("action"), Target: strings.TrimSpace(q.Get("target")), Since: q.Get("since"), Until: q.Get("until"), Before: q.Get("before")}
}

func (f actionFilter) url(before string) string {
	q := url.Values{}
	for key, value := range map[string]string{"actor": f.Actor, "action": f.Action, "target": f.Target, "since": f.Since, "until": f.Until, "before": before} {
		if value != "" {
			q.Set(key, value)
		}
	}
	if len(q) == 0 {
		return auditLogPath
	}
	return auditLogPath + "?" + q.Encode()
}

func (d *dashboard) actionQuery(ws cybervault.WorkspaceID, f actionFilter) (q cybervault.ActionQuery, err error) {
	q = cybervault.ActionQuery{Workspace: ws, Actor: f.Actor, Action: f.Action, Target: f.Target, Limit: cybervault.DefaultPageSize}
	for field, text := range map[string]string{"actor": f.Actor, "action": f.Action, "target": f.Target} {
		if len(text) > 254 {
			return q, cybervault.Invalid(field, "is too long")
		}
	}
	if f.Before != "" {
		if q.Before, err = strconv.ParseInt(f.Before, 10, 64); err != nil || q.Before < 1 {
			return q, cybervault.Invalid("before", "is no number of a line")
		}
	}
	if q.Since, err = parseMoment(d.Now(), "since", f.Since); err != nil {
		return q, err
	}
	q.Until, err = parseMoment(d.Now(), "until", f.Until)
	return q, err
}

// listActions shows who did what.
func (d *dashboard) listActions(w http.ResponseWriter, r *http.Request) error {
	v := &auditLogView{page: d.newPage(r, "audit-log", "Audit log"), Filter: readActionFilter(r.URL.Query())}
	f := v.Filter
	query, err := d.actionQuery(workspaceOf(r.Context()), f)
	var found cybervault.Page[*cybervault.Action]
	if err == nil {
		found, err = d.Actions.Actions(r.Context(), query)
	}
	status := http.StatusOK
	if cybervault.ErrorCode(err) == cybervault.CodeInvalid {
		v.Filter.Problem, status = plainError(err), http.StatusUnprocessableEntity
	} else if err != nil {
		return err
	}
	v.List = actionList{Any: f != actionFilter{Before: f.Before}, Problem: v.Filter.Problem}
	for _, a := range found.Rows {
		v.List.Rows = append(v.List.Rows, d.actionRow(a))
	}
	if n := len(found.Rows); found.More && n > 0 {
		v.List.Older = f.url(strconv.FormatInt(found.Rows[n-1].Number, 10))
	}
	if f.Before != "" {
		v.List.First = f.url("")
	}
	if wantsPart(r) {
		if r.Header.Get("HX-Trigger") == "filters" {
			w.Header().Set("HX-Push-Url", f.url(""))
		}
		return d.renderPart(w, "auditlog", "actions-list", v)
	}
	for _, k := range actionKinds {
		v.Kinds = append(v.Kinds, choice{Value: k.Value, Label: k.Label, Chosen: k.Value == f.Action})
	}
	return d.render(w, status, "auditlog", v)
}

func (d *dashboard) actionRow(a *cybervault.Action) actionRow {
	row := actionRow{
		Number: a.Number, When: d.moment(a.At), Who: cut(a.Actor.Name, shownInList), Kind: string(a.Actor.Kind), Address: cut(a.Actor.Address, 64),
		Name: cut(a.Action, shownInList), Words: actionWords[a.Action], Target: cut(a.Target, shownInList), Link: linkTo(a.Target), Hash: a.Line().Hash,
	}
	if row.Words == "" {
		row.Words = row.Name
	}
	row.Changes, row.More = changesOf(a.Before, a.After)
	return row
}

// linkTo is the page of what an id names, "" where there is none.
func linkTo(target string) string {
	for prefix, path := range map[string]string{"whk_": "/settings/integrations/webhooks/", "dlv_": "/deliveries/", "inc_": "/incidents/"} {
		if strings.HasPrefix(target, prefix) {
			return path + url.PathEscape(target)
		}
	}
	return ""
}

// changesOf compares two objects field by field; more says that there are more than
// are shown.
func changesOf(before, after json.RawMessage) (changes []fieldChange, more bool) {
	was, is := fieldsOf(before), fieldsOf(after)
	names := maps.Clone(was)
	maps.Copy(names, is)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		old, had := was[name]
		now, has := is[name]
		if had && has && bytes.Equal(old, now) {
			continue
		}
		if len(changes) == maxChanges {
			return changes, true
		}
		changes = append(changes, fieldChange{Field: cut(name, shownInList), Before: valueText(old), After: valueText(now), New: !had, Gone: !has})
	}
	return changes, false
}

func fieldsOf(doc json.RawMessage) map[string]json.RawMessage {
	fields := map[string]json.RawMessage{}
	if len(doc) > 0 && json.Unmarshal(doc, &fields) != nil {
		return map[string]json.RawMessage{"": doc} // no object: shown as it is
	}
	return fields
}

// valueText writes a text as it is, and anything else as JSON.
func valueText(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return cut(text, 500)
	}
	return cut(string(raw), 500)
}

// exportActions hands the whole log out, for cybervault audit verify.
func (d *dashboard) exportActions(w http.ResponseWriter, r *http.Request) error {
	h := w.Header()
	h.Set("Content-Type", "application/x-ndjson")
	h.Set("Content-Disposition", `attachment; filename="cybervault-actions.ndjson"`)
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	head, err := d.Actions.ExportActions(r.Context(), workspaceOf(r.Context()), func(line cybervault.ActionLine) error { return out.Encode(line) })
	if err == nil {
		err = out.Encode(map[string]cybervault.ActionHead{"head": head})
	}
	if err != nil {
		d.Logger.WarnContext(r.Context(), "an export of who did what broke off", "error", err)
		panic(http.ErrAbortHandler) // so that it is not taken for a whole one
	}
	return nil
}
