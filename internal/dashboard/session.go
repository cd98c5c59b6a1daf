package dashboard

import (
	"net/http"
	"net/url"
	"time"

	"github.com/cybervault/cybervault"
)

const (
	sessionCookie = "cybervault_session"
	themeCookie   = "cybervault_theme"
)

func (d *dashboard) loggedIn(r *http.Request) bool {
	c, err := r.Cookie(sessionCookie)
	return err == nil && c.Value != "" && d.Sessions.DashboardSession(c.Value)
}

// askToLogIn leads a person to the log-in page and back, and tells a script in
// its own terms.
func (d *dashboard) askToLogIn(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet && r.URL.Path == "/live" {
		http.Error(w, "log in first", http.StatusUnauthorized)
		return
	}
	to := "/login"
	if back := here(r); back != "/" {
		to += "?next=" + url.QueryEscape(back)
	}
	if wantsPart(r) {
		w.Header().Set("HX-Redirect", to)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

type loginView struct {
	page
	Next    string
	Problem string
}

// showLogin asks for the token, or takes it from the link that the server
// printed. Either way the token is gone from the address bar afterwards.
func (d *dashboard) showLogin(w http.ResponseWriter, r *http.Request) error {
	next := localPath(r.URL.Query().Get("next"))
	if token := r.URL.Query().Get("token"); token != "" {
		return d.startSession(w, r, token, next)
	}
	if d.loggedIn(r) {
		http.Redirect(w, r, next, http.StatusSeeOther)
		return nil
	}
	return d.renderLogin(w, r, http.StatusOK, next, "")
}

func (d *dashboard) login(w http.ResponseWriter, r *http.Request) error {
	if err := readForm(r); err != nil {
		return err
	}
	return d.startSession(w, r, r.PostForm.Get("token"), localPath(r.PostForm.Get("next")))
}

func (d *dashboard) startSession(w http.ResponseWriter, r *http.Request, token, next string) error {
	if token == "" {
		return d.renderLogin(w, r, http.StatusUnprocessableEntity, next, "Enter the token that the server printed when it started.")
	}
	session, err := d.Sessions.DashboardLogin(token)
	switch cybervault.ErrorCode(err) {
	case "":
	case cybervault.CodeUnauthorized, cybervault.CodeForbidden, cybervault.CodeInvalid, cybervault.CodeNotFound:
		return d.renderLogin(w, r, http.StatusUnauthorized, next, "That token is not right, or it is from an earlier start of the server.")
	default:
		return err
	}
	http.SetCookie(w, &http.Cookie{
		Name: sessionCookie, Value: session, Path: "/",
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: overTLS(r),
	})
	http.Redirect(w, r, next, http.StatusSeeOther)
	return nil
}

func (d *dashboard) renderLogin(w http.ResponseWriter, r *http.Request, status int, next, problem string) error {
	v := &loginView{page: d.newPage(r, "", "Log in"), Next: next, Problem: problem}
	v.Inside, v.Here = false, "/login?next="+url.QueryEscape(next)
	if problem != "" {
		v.Replace = v.Here
	}
	return d.render(w, status, "login", v)
}

func (d *dashboard) logout(w http.ResponseWriter, r *http.Request) error {
	if c, err := r.Cookie(sessionCookie); err == nil {
		d.Sessions.DashboardLogout(c.Value)
	}
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: overTLS(r)})
	http.Redirect(w, r, "/login", http.StatusSeeOther)
	return nil
}

// overTLS reports whether the browser's connection is encrypted. A proxy's word
// is taken: it can only make the cookie stricter.
func overTLS(r *http.Request) bool {
	return r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https"
}

// theme is the person's choice of colours; "system" follows the operating system.
func theme(r *http.Request) string {
	if c, err := r.Cookie(themeCookie); err == nil && (c.Value == "light" || c.Value == "dark") {
		return c.Value
	}
	return "system"
}

func (d *dashboard) setTheme(w http.ResponseWriter, r *http.Request) error {
	if err := readForm(r); err != nil {
		return err
	}
	c := &http.Cookie{Name: themeCookie, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: overTLS(r)}
	switch choice := r.PostForm.Get("theme"); choice {
	case "light", "dark":
		c.Value, c.MaxAge = choice, int((365 * 24 * time.Hour).Seconds())
	case "system":
		c.MaxAge = -1
	default:
		return cybervault.Invalid("theme", "choose light, dark or system")
	}
	http.SetCookie(w, c)
	http.Redirect(w, r, localPath(r.PostForm.Get("back")), http.StatusSeeOther)
	return nil
}
