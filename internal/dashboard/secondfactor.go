package dashboard

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/cybervault/cybervault"
)

type codeView struct {
	page
	Next      string
	Name      string
	Ask       cybervault.SecondFactor
	Options   string // for the browser, where there is a passkey
	Elsewhere string // where another passkey is for
	Problem   string // with a code
	Refused   string // with a passkey
}

// showCode asks for the second factor.
func (d *dashboard) showCode(w http.ResponseWriter, r *http.Request) error {
	return d.renderCode(w, r, http.StatusOK, &codeView{Next: localPath(r.URL.Query().Get("next"))})
}

func (d *dashboard) renderCode(w http.ResponseWriter, r *http.Request, status int, v *codeView) error {
	_, s, err := d.admit(r)
	if err != nil {
		return err
	}
	if s == nil || !s.Due {
		http.Redirect(w, r, "/login?next="+url.QueryEscape(v.Next), http.StatusSeeOther)
		return nil
	}
	if v.Ask, err = d.Access.AskSecondFactor(r.Context(), cookieOf(r), d.origin(r)); err != nil {
		return err
	}
	v.page, v.Name = d.newPage(r, "", "Second factor"), cut(s.Email, shownInList)
	v.Options = string(v.Ask.Passkey)
	slices.Sort(v.Ask.Elsewhere)
	v.Elsewhere = cut(strings.Join(slices.Compact(v.Ask.Elsewhere), ", "), shownInList)
	v.Inside, v.Here = false, "/login/code?next="+url.QueryEscape(v.Next)
	if v.Problem != "" || v.Refused != "" {
		v.Replace = v.Here
	}
	return d.render(w, status, "code", v)
}

func (d *dashboard) giveCode(w http.ResponseWriter, r *http.Request) error {
	return d.giveFactor(w, r, func(v *codeView) (string, error) {
		cookie, err := d.Access.GiveCode(r.Context(), caller(r), cookieOf(r), r.PostForm.Get("code"))
		if cybervault.ErrorCode(err) == cybervault.CodeInvalid {
			v.Problem = "That code is not right, or was used already. Take the one that is shown now."
		}
		return cookie, err
	}, func(v *codeView, words string) { v.Problem = words })
}

func (d *dashboard) givePasskey(w http.ResponseWriter, r *http.Request) error {
	return d.giveFactor(w, r, func(v *codeView) (string, error) {
		cookie, err := d.Access.GivePasskey(r.Context(), caller(r), cookieOf(r), d.origin(r), []byte(r.PostForm.Get("passkey")))
		if cybervault.ErrorCode(err) == cybervault.CodeInvalid {
			v.Refused = "The passkey " + asError(err).Message + "."
		}
		return cookie, err
	}, func(v *codeView, words string) { v.Refused = words })
}

// giveFactor finishes a log-in with what give is given; say puts words about a refusal
// where they belong.
func (d *dashboard) giveFactor(w http.ResponseWriter, r *http.Request, give func(*codeView) (string, error), say func(*codeView, string)) error {
	if err := readForm(r); err != nil {
		return err
	}
	v := &codeView{Next: localPath(r.PostForm.Get("next"))}
	cookie, err := give(v)
	switch cybervault.ErrorCode(err) {
	case "":
	case cybervault.CodeUnauthorized, cybervault.CodeConflict:
		http.Redirect(w, r, "/login?next="+url.QueryEscape(v.Next), http.StatusSeeOther)
		return nil
	case cybervault.CodeInvalid:
		return d.renderCode(w, r, http.StatusUnprocessableEntity, v)
	default:
		status, words := refusalOf(err)
		if status == 0 {
			return err
		}
		say(v, words)
		return d.renderCode(w, r, status, v)
	}
	setSession(w, r, cookie)
	http.Redirect(w, r, v.Next, http.StatusSeeOther)
	return nil
}

type passkeyView struct {
	page
	Options string // for the browser
	Name    string // as typed
	Errors  map[string]string
	Problem string // why there can be no passkey
}

type passkeyRow struct {
	ID, Name    string
	Added, Used moment
	Unused      bool
}

// newPasskey is the page that has the browser make a passkey.
func (d *dashboard) newPasskey(w http.ResponseWriter, r *http.Request) error {
	if sessionOf(r.Context()).Operator() {
		http.Redirect(w, r, "/account", http.StatusSeeOther)
		return nil
	}
	return d.renderPasskey(w, r, http.StatusOK, &passkeyView{Name: browserOf(r.UserAgent())})
}

func (d *dashboard) renderPasskey(w http.ResponseWriter, r *http.Request, status int, v *passkeyView) error {
	v.page = d.newPage(r, "account", "Add a passkey")
	v.Here = "/account"
	if status != http.StatusOK {
		v.Replace = "/account/passkeys/new"
	}
	options, err := d.Access.NewPasskey(r.Context(), sessionOf(r.Context()), d.origin(r))
	switch cybervault.ErrorCode(err) {
	case "":
		v.Options = string(options)
	case cybervault.CodeConflict:
		v.Problem = plainError(err)
	default:
		return err
	}
	return d.render(w, status, "passkey", v)
}

func (d *dashboard) addPasskey(w http.ResponseWriter, r *http.Request) error {
	if err := readForm(r); err != nil {
		return err
	}
	v := &passkeyView{Name: r.PostForm.Get("name"), Errors: map[string]string{}}
	codes, err := d.Access.AddPasskey(r.Context(), sessionOf(r.Context()), d.origin(r), v.Name, []byte(r.PostForm.Get("passkey")))
	switch e := asError(err); {
	case err == nil:
		return d.factorAdded(w, r, codes)
	case e != nil && e.Code == cybervault.CodeInvalid && e.Field == "name":
		v.Errors["name"] = "It " + e.Message + "."
	case e != nil && e.Code == cybervault.CodeInvalid && e.Field == "passkey":
		v.Errors["passkey"] = "The passkey " + e.Message + "."
	case e != nil && e.Code == cybervault.CodeConflict:
		v.Errors["passkey"] = plainError(err)
	default:
		return err
	}
	return d.renderPasskey(w, r, http.StatusUnprocessableEntity, v)
}

// factorAdded shows the recovery codes that came with a second factor, if any.
func (d *dashboard) factorAdded(w http.ResponseWriter, r *http.Request, codes []string) error {
	if codes == nil {
		http.Redirect(w, r, "/account?done=factor", http.StatusSeeOther)
		return nil
	}
	return d.renderAccount(w, r, http.StatusOK, &accountView{Codes: codes})
}

func (d *dashboard) removePasskey(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID[cybervault.PasskeyID](r)
	if err != nil {
		return err
	}
	return d.changeAccount(w, r, "unpasskey", func(*accountView) error {
		return inFactorForm(d.Access.RemovePasskey(r.Context(), sessionOf(r.Context()), caller(r), id, r.PostForm.Get("current")))
	})
}

type authenticatorView struct {
	page
	Secret  string // in groups of four, to be typed
	Raw     string
	Size    int    // of the QR code, in modules
	QR      string // as the path of an SVG
	Problem string
}

// showAuthenticator begins with a new secret. It counts for nothing until a code
// shows that an app has it; so nothing has to be kept of it here.
func (d *dashboard) showAuthenticator(w http.ResponseWriter, r *http.Request) error {
	s := sessionOf(r.Context())
	if s.Operator() {
		http.Redirect(w, r, "/account", http.StatusSeeOther)
		return nil
	}
	return d.renderAuthenticator(w, r, http.StatusOK, d.Access.NewAuthenticator(s.Email), "")
}

func (d *dashboard) renderAuthenticator(w http.ResponseWriter, r *http.Request, status int, a cybervault.Authenticator, problem string) error {
	v := &authenticatorView{page: d.newPage(r, "account", "Set up an authenticator"), Raw: a.Secret, Problem: problem}
	v.Here = "/account"
	for i := 0; i < len(a.Secret); i += 4 {
		v.Secret += a.Secret[i:min(i+4, len(a.Secret))] + " "
	}
	v.Secret = strings.TrimSpace(v.Secret)
	var err error
	if v.QR, v.Size, err = qrPath(a.URI); err != nil {
		return err
	}
	return d.render(w, status, "authenticator", v)
}

func (d *dashboard) addAuthenticator(w http.ResponseWriter, r *http.Request) error {
	if err := readForm(r); err != nil {
		return err
	}
	s := sessionOf(r.Context())
	a, err := d.Access.AuthenticatorOf(r.PostForm.Get("secret"), s.Email)
	if err != nil {
		return err
	}
	codes, err := d.Access.AddAuthenticator(r.Context(), s, a.Secret, r.PostForm.Get("code"))
	if cybervault.ErrorCode(err) == cybervault.CodeInvalid {
		return d.renderAuthenticator(w, r, http.StatusUnprocessableEntity, a, "The code "+asError(err).Message+".")
	}
	if err != nil {
		return err
	}
	return d.factorAdded(w, r, codes)
}

func (d *dashboard) removeAuthenticator(w http.ResponseWriter, r *http.Request) error {
	return d.changeAccount(w, r, "unfactor", func(*accountView) error {
		return inFactorForm(d.Access.RemoveAuthenticator(r.Context(), sessionOf(r.Context()), caller(r), r.PostForm.Get("current")))
	})
}

// inFactorForm has the password's error shown in the form of the second factor.
func inFactorForm(err error) error {
	if e := asError(err); e != nil && e.Field == "current" {
		return cybervault.Invalid("factor", "%s", e.Message)
	}
	return err
}

func (d *dashboard) newRecoveryCodes(w http.ResponseWriter, r *http.Request) error {
	return d.changeAccount(w, r, "", func(v *accountView) (err error) {
		v.Codes, err = d.Access.NewRecoveryCodes(r.Context(), sessionOf(r.Context()), caller(r), r.PostForm.Get("current"))
		return inFactorForm(err)
	})
}
