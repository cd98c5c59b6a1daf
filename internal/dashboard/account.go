package dashboard

import (
	"net/http"
	"strings"

	"github.com/cybervault/cybervault"
)

type accountView struct {
	page
	Operator   bool
	Name       string // as typed
	Email      string
	Local      bool // there is a password
	SSO        bool // knows them by OpenID Connect
	Joined     moment
	Factor     bool // there is an authenticator
	Passkeys   []passkeyRow
	Recovery   int // codes that are left
	Sessions   []sessionRow
	Workspaces []workspaceRow
	Errors     map[string]string
	Problem    string
	Codes      []string // recovery codes, shown once
}

type sessionRow struct {
	ID, Address, Agent, Method string
	Began, Used                moment
	Here                       bool
}

type workspaceRow struct {
	ID, Name, Role string
	Here           bool
}

func (d *dashboard) showAccount(w http.ResponseWriter, r *http.Request) error {
	return d.renderAccount(w, r, http.StatusOK, &accountView{})
}

func (d *dashboard) renderAccount(w http.ResponseWriter, r *http.Request, status int, v *accountView) error {
	s := sessionOf(r.Context())
	v.page = d.newPage(r, "account", "Your account")
	if r.Method == http.MethodPost {
		v.Replace, v.Here = "/account", "/account"
	}
	if v.Errors == nil {
		v.Errors = map[string]string{}
	}
	if s.Operator() {
		v.Operator = true
		return d.render(w, status, "account", v)
	}
	a, err := d.Access.Account(r.Context(), s)
	if err != nil {
		return err
	}
	v.Email, v.Local, v.SSO, v.Joined = a.User.Email, a.User.Password != "", a.User.Subject != "", d.moment(a.User.CreatedAt)
	v.Factor, v.Recovery = a.User.TOTPSecret != "", len(a.User.Recovery)
	if v.Name == "" {
		v.Name = a.User.Name
	}
	for _, k := range a.Passkeys {
		v.Passkeys = append(v.Passkeys, passkeyRow{ID: k.ID.String(), Name: cut(k.Name, shownInList), Added: d.moment(k.CreatedAt), Used: d.moment(k.UsedAt), Unused: k.UsedAt.IsZero()})
	}
	for _, n := range a.Sessions {
		v.Sessions = append(v.Sessions, sessionRow{
			ID: n.ID.String(), Address: n.Address, Agent: browserOf(n.Agent), Method: n.Method, Began: d.moment(n.CreatedAt), Used: d.moment(n.UsedAt), Here: n.ID == s.ID,
		})
	}
	for _, m := range a.Workspaces {
		v.Workspaces = append(v.Workspaces, workspaceRow{ID: m.Workspace.String(), Name: cut(m.Name, shownInList), Role: string(m.Role), Here: m.Workspace == s.Workspace})
	}
	return d.render(w, status, "account", v)
}

// browserOf makes of what a browser says of itself what a person calls it.
func browserOf(agent string) string {
	known := func(pairs ...string) string {
		for i := 0; i+1 < len(pairs); i += 2 {
			if strings.Contains(agent, pairs[i]) {
				return pairs[i+1]
			}
		}
		return ""
	}
	browser := known("Edg/", "Edge", "OPR/", "Opera", "Firefox/", "Firefox", "Chrome/", "Chrome", "Safari/", "Safari", "curl/", "curl")
	system := known("Android", "Android", "iPhone", "iPhone", "iPad", "iPad", "Windows", "Windows", "Mac OS X", "macOS", "Linux", "Linux")
	switch {
	case browser != "" && system != "":
		return browser + " on " + system
	case browser != "":
		return browser
	case agent == "":
		return "Unknown"
	}
	return cut(agent, 60)
}

// changeAccount reads a form and makes one change; what is wrong with it is shown
// beside its field.
func (d *dashboard) changeAccount(w http.ResponseWriter, r *http.Request, done string, change func(v *accountView) error) error {
	if err := readForm(r); err != nil {
		return err
	}
	v := &accountView{Errors: map[string]string{}}
	err := change(v)
	switch e := asError(err); {
	case err == nil && v.Codes != nil:
		return d.renderAccount(w, r, http.StatusOK, v)
	case err == nil:
		http.Redirect(w, r, "/account?done="+done, http.StatusSeeOther)
		return nil
	case e != nil && e.Field == triesField:
		v.Problem = "Too many tries. Wait a minute, then try again."
	case e != nil && e.Code == cybervault.CodeInvalid && e.Field != "":
		v.Errors[e.Field] = "It " + e.Message + "."
	case e != nil && (e.Code == cybervault.CodeConflict || e.Code == cybervault.CodeNotFound):
		v.Problem = plainError(err)
	default:
		return err
	}
	return d.renderAccount(w, r, http.StatusUnprocessableEntity, v)
}

func (d *dashboard) changeName(w http.ResponseWriter, r *http.Request) error {
	return d.changeAccount(w, r, "renamed", func(v *accountView) error {
		v.Name = r.PostForm.Get("name")
		return d.Access.ChangeName(r.Context(), sessionOf(r.Context()), v.Name)
	})
}

func (d *dashboard) changePassword(w http.ResponseWriter, r *http.Request) error {
	return d.changeAccount(w, r, "password", func(*accountView) error {
		return d.Access.ChangePassword(r.Context(), sessionOf(r.Context()), caller(r), r.PostForm.Get("current"), r.PostForm.Get("password"))
	})
}

func (d *dashboard) endSession(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID[cybervault.SessionID](r)
	if err != nil {
		return err
	}
	if err := d.Access.EndSession(r.Context(), sessionOf(r.Context()), id); err != nil {
		return err
	}
	http.Redirect(w, r, "/account?done=ended", http.StatusSeeOther)
	return nil
}

func (d *dashboard) endOtherSessions(w http.ResponseWriter, r *http.Request) error {
	if err := d.Access.EndOtherSessions(r.Context(), sessionOf(r.Context())); err != nil {
		return err
	}
	http.Redirect(w, r, "/account?done=ended", http.StatusSeeOther)
	return nil
}

func (d *dashboard) switchWorkspace(w http.ResponseWriter, r *http.Request) error {
	if err := readForm(r); err != nil {
		return err
	}
	ws, err := cybervault.ParseID[cybervault.WorkspaceID](r.PostForm.Get("workspace"))
	if err != nil {
		return err
	}
	if err := d.Access.Switch(r.Context(), sessionOf(r.Context()), ws); err != nil {
		return err
	}
	http.Redirect(w, r, "/?done=switched", http.StatusSeeOther)
	return nil
}
