package dashboard

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/cybervault/cybervault"
)

// SignOnReturn is the path to which an OpenID provider sends people back.
const SignOnReturn = "/login/openid/return"

const (
	signOnCookie = "cybervault_openid"
	signOnPath   = "/login/openid"
	// providerField is the field of what is wrong with the provider, and not here.
	providerField = "openid"
)

// beginSignOn sends a browser to the OpenID provider. What must survive the way lies in
// a sealed cookie, with the page to go to afterwards beside it.
func (d *dashboard) beginSignOn(w http.ResponseWriter, r *http.Request) error {
	if d.SignOn == nil {
		return cybervault.Errorf(cybervault.CodeNotFound, "no OpenID provider is set up")
	}
	next := localPath(r.URL.Query().Get("next"))
	to, sealed, err := d.SignOn.Begin(r.Context())
	if err != nil {
		return d.refuseSignOn(w, r, next, err)
	}
	if len(next) > 1000 {
		next = "/" // a cookie has only so much room
	}
	d.setSignOn(w, r, sealed+"."+url.QueryEscape(next), 600)
	// The policy of the page that was left applies to forms alone, and this is a link.
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

// endSignOn takes a browser back from the provider.
func (d *dashboard) endSignOn(w http.ResponseWriter, r *http.Request) error {
	if d.SignOn == nil {
		return cybervault.Errorf(cybervault.CodeNotFound, "no OpenID provider is set up")
	}
	kept := ""
	if c, err := r.Cookie(signOnCookie); err == nil {
		kept = c.Value
	}
	d.setSignOn(w, r, "", -1) // used once, whatever comes of it
	sealed, then, _ := strings.Cut(kept, ".")
	then, err := url.QueryUnescape(then)
	if err != nil {
		then = "/"
	}
	next := localPath(then)
	cookie, due, err := d.SignOn.Finish(r.Context(), caller(r), sealed, r.URL.Query())
	if err != nil {
		return d.refuseSignOn(w, r, next, err)
	}
	setSession(w, r, cookie)
	if due {
		next = "/login/code?next=" + url.QueryEscape(next)
	}
	http.Redirect(w, r, next, http.StatusSeeOther)
	return nil
}

// refuseSignOn says on the log-in page why nothing came of it.
func (d *dashboard) refuseSignOn(w http.ResponseWriter, r *http.Request, next string, err error) error {
	status := http.StatusServiceUnavailable
	switch cybervault.ErrorCode(err) {
	case cybervault.CodeUnauthorized:
		status = http.StatusUnauthorized
	case cybervault.CodeForbidden:
		status = http.StatusForbidden
	case cybervault.CodeUnavailable:
	default:
		return err
	}
	words := plainError(err)
	if e := asError(err); e != nil && (e.Field == providerField || e.Code != cybervault.CodeUnavailable) {
		words = sentence(e.Message)
	}
	return d.renderLogin(w, r, status, &loginView{Next: next, Refused: words})
}

func (d *dashboard) setSignOn(w http.ResponseWriter, r *http.Request, value string, seconds int) {
	http.SetCookie(w, &http.Cookie{
		Name: signOnCookie, Value: value, Path: signOnPath, MaxAge: seconds,
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: overTLS(r),
	})
}
