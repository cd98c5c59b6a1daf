package dashboard

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/cybervault/cybervault"
)

const (
	sessionCookie = "cybervault_session"
	themeCookie   = "cybervault_theme"
)

type sessionKey struct{}

// sessionOf is the session that a request was let in with; nil on an open page.
func sessionOf(ctx context.Context) *cybervault.Session {
	s, _ := ctx.Value(sessionKey{}).(*cybervault.Session)
	return s
}

// workspaceOf is the workspace that a request is about: its session's. What belongs to
// another one cannot be named.
func workspaceOf(ctx context.Context) cybervault.WorkspaceID {
	if s := sessionOf(ctx); s != nil {
		return s.Workspace
	}
	return cybervault.WorkspaceID{}
}

// mayRespond reports whether who looks may do what analysts do.
func mayRespond(ctx context.Context) bool {
	s := sessionOf(ctx)
	return s != nil && s.May(cybervault.PermitRespond)
}

func cookieOf(r *http.Request) string {
	c, err := r.Cookie(sessionCookie)
	if err != nil {
		return ""
	}
	return c.Value
}

// admit finds the session of a request and puts it, and who acts, in its context. The
// session is nil where nobody is logged in.
func (d *dashboard) admit(r *http.Request) (*http.Request, *cybervault.Session, error) {
	cookie := cookieOf(r)
	if cookie == "" {
		return r, nil, nil
	}
	s, err := d.Access.Session(r.Context(), cookie)
	if cybervault.ErrorCode(err) == cybervault.CodeUnauthorized {
		return r, nil, nil
	}
	if err != nil {
		return r, nil, err
	}
	actor := s.Actor()
	actor.Address = caller(r).Address // now, which may not be where they logged in
	ctx := cybervault.WithActor(context.WithValue(r.Context(), sessionKey{}, s), actor)
	return r.WithContext(ctx), s, nil
}

// caller is where a request came from.
func caller(r *http.Request) cybervault.Caller {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	return cybervault.Caller{Address: host, Agent: r.UserAgent()}
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

// setSession gives the browser its cookie.
func setSession(w http.ResponseWriter, r *http.Request, value string) {
	http.SetCookie(w, &http.Cookie{
		Name: sessionCookie, Value: value, Path: "/",
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: overTLS(r),
	})
}

func (d *dashboard) logout(w http.ResponseWriter, r *http.Request) error {
	if err := d.Access.Logout(r.Context(), cookieOf(r)); err != nil {
		return err
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
