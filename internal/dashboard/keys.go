package dashboard

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

type keysView struct {
	page
	Rows    []keyRow
	Name    string // as typed
	Scopes  []scopeChoice
	Expires []expiryChoice
	Expiry  string // as chosen
	Errors  map[string]string
	Problem string
	NewKey  string // in the clear, once
	NewName string
	Origin  string // of this server, for the example command
}

type keyRow struct {
	ID, Name, Hint string
	Scopes         []string
	Created        moment
	Used           moment
	Expires        moment
	Revoked        moment
	Expired        bool
	Soon           bool // expires within the next days
	Live           bool
}

// expirySoon is how long before its end a key is marked.
const expirySoon = 14 * 24 * time.Hour

type expiryChoice struct {
	Value, Words string
	Chosen       bool
}

// expiries are the lives that a new key may be given, in days.
var expiries = []struct {
	value, words string
	days         int
}{{"30", "In 30 days", 30}, {"90", "In 90 days", 90}, {"365", "In a year", 365}, {"never", "Never", 0}}

// expiryOf reads the choice of a life; what is none is refused.
func (d *dashboard) expiryOf(value string) (time.Time, bool) {
	for _, e := range expiries {
		if e.value == value {
			if e.days == 0 {
				return time.Time{}, true
			}
			return d.Now().AddDate(0, 0, e.days), true
		}
	}
	return time.Time{}, false
}

type scopeChoice struct {
	Value, Words string
	Chosen       bool
}

var scopeWords = map[cybervault.Scope]string{
	cybervault.ScopeEventsWrite:    "Publish events",
	cybervault.ScopeTelemetryWrite: "Hand in telemetry for the threat engine",
	cybervault.ScopeRead:           "Read events, deliveries, webhooks and the catalogue",
	cybervault.ScopePoll:           "Fetch the deliveries of polled webhooks",
	cybervault.ScopeAdmin:          "Everything: webhooks, secrets and API keys too",
}

func (d *dashboard) listKeys(w http.ResponseWriter, r *http.Request) error {
	v := &keysView{page: d.newPage(r, "keys", "API keys")}
	return d.renderKeys(w, r, http.StatusOK, v, []string{string(cybervault.ScopeEventsWrite), string(cybervault.ScopeRead)})
}

func (d *dashboard) renderKeys(w http.ResponseWriter, r *http.Request, status int, v *keysView, chosen []string) error {
	list, err := d.Keys.Keys(r.Context(), workspaceOf(r.Context()))
	if err != nil {
		return err
	}
	for _, k := range list {
		row := keyRow{
			ID: k.ID.String(), Name: cut(k.Name, shownInList), Hint: cut(k.Hint, 40),
			Created: d.moment(k.CreatedAt), Used: d.moment(k.UsedAt), Expires: d.moment(k.ExpiresAt), Revoked: d.moment(k.RevokedAt),
		}
		row.Expired = !k.ExpiresAt.IsZero() && !d.Now().Before(k.ExpiresAt)
		row.Soon = !k.ExpiresAt.IsZero() && k.ExpiresAt.Sub(d.Now()) <= expirySoon
		row.Live = k.RevokedAt.IsZero() && !row.Expired
		for _, s := range k.Scopes {
			row.Scopes = append(row.Scopes, cut(string(s), 40))
		}
		v.Rows = append(v.Rows, row)
	}
	for _, s := range cybervault.Scopes() {
		v.Scopes = append(v.Scopes, scopeChoice{Value: string(s), Words: scopeWords[s], Chosen: slices.Contains(chosen, string(s))})
	}
	if v.Expiry == "" {
		v.Expiry = "never"
	}
	for _, e := range expiries {
		v.Expires = append(v.Expires, expiryChoice{Value: e.value, Words: e.words, Chosen: e.value == v.Expiry})
	}
	if v.Errors == nil {
		v.Errors = map[string]string{}
	}
	v.Origin = d.origin(r)
	if r.Method == http.MethodPost {
		v.Replace, v.Here = "/settings/api-keys", "/settings/api-keys"
	}
	return d.render(w, status, "keys", v)
}

func (d *dashboard) createKey(w http.ResponseWriter, r *http.Request) error {
	if err := readForm(r); err != nil {
		return err
	}
	v := &keysView{page: d.newPage(r, "keys", "API keys"), Name: r.PostForm.Get("name"), Expiry: r.PostForm.Get("expires"), Errors: map[string]string{}}
	name := strings.TrimSpace(v.Name)
	var scopes []cybervault.Scope
	for _, s := range r.PostForm["scopes"] {
		if slices.Contains(cybervault.Scopes(), cybervault.Scope(s)) {
			scopes = append(scopes, cybervault.Scope(s))
		}
	}
	if name == "" {
		v.Errors["name"] = "Give the key a name, so that you know later what uses it."
	}
	if len(scopes) == 0 {
		v.Errors["scopes"] = "Choose at least one thing that the key may do."
	}
	expires, ok := d.expiryOf(cmp.Or(v.Expiry, "never"))
	if !ok {
		v.Errors["expires"] = "Choose when the key expires."
	}
	if len(v.Errors) > 0 {
		return d.renderKeys(w, r, http.StatusUnprocessableEntity, v, r.PostForm["scopes"])
	}
	key, clear, err := d.Keys.CreateKey(r.Context(), workspaceOf(r.Context()), name, scopes, expires)
	if code := cybervault.ErrorCode(err); code == cybervault.CodeInvalid || code == cybervault.CodeConflict {
		if e := asError(err); e != nil && (e.Field == "name" || e.Field == "scopes") {
			v.Errors[e.Field] = e.Message
		} else {
			v.Problem = plainError(err)
		}
		return d.renderKeys(w, r, http.StatusUnprocessableEntity, v, r.PostForm["scopes"])
	}
	if err != nil {
		return err
	}
	v.Name, v.Expiry, v.NewKey, v.NewName = "", "", clear, cut(key.Name, shownInList)
	return d.renderKeys(w, r, http.StatusOK, v, []string{string(cybervault.ScopeEventsWrite), string(cybervault.ScopeRead)})
}

func (d *dashboard) revokeKey(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID[cybervault.APIKeyID](r)
	if err != nil {
		return err
	}
	if err := d.Keys.RevokeKey(r.Context(), workspaceOf(r.Context()), id); err != nil {
		return err
	}
	http.Redirect(w, r, "/settings/api-keys?done=revoked", http.StatusSeeOther)
	return nil
}
