package dashboard

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/cybervault/cybervault"
)

// triesField is the field of the error that says that there were too many tries.
const triesField = "tries"

type loginView struct {
	page
	Next    string
	Problem string
	Email   string
	Refused string // why a log-in by OpenID Connect came to nothing
	SignOn  string // the provider's name
	ByToken bool   // the installation has no owner yet: the printed link opens it
}

// showLogin asks for email address and password. Where there is no owner yet, or the
// server was told to let one recover, the link that the server printed opens the
// dashboard; its token is gone from the address bar afterwards.
func (d *dashboard) showLogin(w http.ResponseWriter, r *http.Request) error {
	next := localPath(r.URL.Query().Get("next"))
	if token := r.URL.Query().Get("token"); token != "" {
		return d.startOperator(w, r, token, next, r.URL.Query().Has("next"))
	}
	_, s, err := d.admit(r)
	if err != nil {
		return err
	}
	switch {
	case s == nil:
		return d.renderLogin(w, r, http.StatusOK, &loginView{Next: next})
	case s.Due:
		http.Redirect(w, r, "/login/code?next="+url.QueryEscape(next), http.StatusSeeOther)
	default:
		http.Redirect(w, r, next, http.StatusSeeOther)
	}
	return nil
}

func (d *dashboard) login(w http.ResponseWriter, r *http.Request) error {
	if err := readForm(r); err != nil {
		return err
	}
	next := localPath(r.PostForm.Get("next"))
	if r.PostForm.Has("token") || !r.PostForm.Has("email") {
		return d.startOperator(w, r, strings.TrimSpace(r.PostForm.Get("token")), next, true)
	}
	email, password := r.PostForm.Get("email"), r.PostForm.Get("password")
	v := &loginView{Next: next, Email: email}
	if strings.TrimSpace(email) == "" || password == "" {
		v.Problem = "Enter your email address and your password."
		return d.renderLogin(w, r, http.StatusUnprocessableEntity, v)
	}
	cookie, due, err := d.Access.Login(r.Context(), caller(r), email, password)
	if err != nil {
		status, words := refusalOf(err)
		if status == 0 {
			return err
		}
		v.Problem = words
		return d.renderLogin(w, r, status, v)
	}
	setSession(w, r, cookie)
	if due {
		next = "/login/code?next=" + url.QueryEscape(next)
	}
	http.Redirect(w, r, next, http.StatusSeeOther)
	return nil
}

// refusalOf says how a log-in that was refused is answered; 0 where the error is none
// of the person's.
func refusalOf(err error) (status int, words string) {
	e := asError(err)
	switch {
	case e == nil:
		return 0, ""
	case e.Code == cybervault.CodeUnauthorized:
		return http.StatusUnauthorized, plainError(err)
	case e.Code == cybervault.CodeForbidden:
		return http.StatusForbidden, plainError(err)
	case e.Field == triesField:
		return http.StatusTooManyRequests, "Too many tries. Wait a minute, then try again."
	}
	return 0, ""
}

func (d *dashboard) startOperator(w http.ResponseWriter, r *http.Request, token, next string, told bool) error {
	v := &loginView{Next: next, ByToken: true}
	if token == "" {
		v.Problem = "Enter the token that the server printed when it started."
		return d.renderLogin(w, r, http.StatusUnprocessableEntity, v)
	}
	cookie, err := d.Access.OperatorLogin(r.Context(), caller(r), token)
	switch cybervault.ErrorCode(err) {
	case "":
	case cybervault.CodeForbidden:
		return d.renderLogin(w, r, http.StatusForbidden, &loginView{Next: next, Problem: "That link has done its work: log in with your account."})
	case cybervault.CodeUnauthorized:
		v.Problem = "That token is not right, or it is from an earlier start of the server."
		return d.renderLogin(w, r, http.StatusUnauthorized, v)
	default:
		status, words := refusalOf(err)
		if status == 0 {
			return err
		}
		v.Problem = words
		return d.renderLogin(w, r, status, v)
	}
	setSession(w, r, cookie)
	if owned, err := d.Access.SetUp(r.Context()); err == nil && !owned && !told && !d.Dev {
		next = "/setup"
	}
	http.Redirect(w, r, next, http.StatusSeeOther)
	return nil
}

func (d *dashboard) renderLogin(w http.ResponseWriter, r *http.Request, status int, v *loginView) error {
	v.page = d.newPage(r, "", "Log in")
	v.Inside, v.Here = false, "/login?next="+url.QueryEscape(v.Next)
	if v.Problem != "" || v.Refused != "" {
		v.Replace = v.Here
	}
	owned, err := d.Access.SetUp(r.Context())
	if err != nil {
		return err
	}
	v.ByToken = v.ByToken || !owned
	if d.SignOn != nil {
		v.SignOn = d.SignOn.Name()
	}
	return d.render(w, status, "login", v)
}

// accountForm is what makes an account: the owner's, or of somebody who was invited.
type accountForm struct {
	page
	Email, Name string
	Errors      map[string]string
	Problem     string

	Token   string // of an invitation
	Role    string
	By      string
	Known   bool // there is an account of this email address
	Reset   bool // only a new password is chosen
	Missing bool // the invitation is not there any more
}

// showSetUp is the first page of a new installation: it makes the owner's account.
func (d *dashboard) showSetUp(w http.ResponseWriter, r *http.Request) error {
	return d.renderSetUp(w, r, http.StatusOK, &accountForm{})
}

func (d *dashboard) renderSetUp(w http.ResponseWriter, r *http.Request, status int, v *accountForm) error {
	if !sessionOf(r.Context()).Operator() {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return nil
	}
	v.page = d.newPage(r, "", "Make the owner's account")
	v.Inside, v.Here = false, "/setup"
	if status != http.StatusOK {
		v.Replace = v.Here
	}
	return d.render(w, status, "setup", v)
}

func (d *dashboard) setUp(w http.ResponseWriter, r *http.Request) error {
	if err := readForm(r); err != nil {
		return err
	}
	v := &accountForm{Email: r.PostForm.Get("email"), Name: r.PostForm.Get("name"), Errors: map[string]string{}}
	cookie, err := d.Access.CreateOwner(r.Context(), sessionOf(r.Context()), caller(r), v.Email, v.Name, r.PostForm.Get("password"))
	if err != nil {
		if !v.take(err) {
			return err
		}
		return d.renderSetUp(w, r, http.StatusUnprocessableEntity, v)
	}
	setSession(w, r, cookie)
	http.Redirect(w, r, "/?done=welcome", http.StatusSeeOther)
	return nil
}

// take shows an error of a field beside the field, and reports whether it could.
func (v *accountForm) take(err error) bool {
	e := asError(err)
	if e == nil || e.Code == cybervault.CodeInternal {
		return false
	}
	switch {
	case (e.Code == cybervault.CodeInvalid || e.Code == cybervault.CodeConflict) && (e.Field == "email" || e.Field == "name" || e.Field == "password"):
		v.Errors[e.Field] = "It " + e.Message + "."
	case e.Field == triesField:
		v.Problem = "Too many tries. Wait a minute, then try again."
	case e.Code == cybervault.CodeUnauthorized:
		v.Errors["password"] = "That is not the password of this account."
	case e.Code == cybervault.CodeInvalid || e.Code == cybervault.CodeConflict || e.Code == cybervault.CodeForbidden:
		v.Problem = plainError(err)
	default:
		return false
	}
	return true
}

// showInvitation is where the link of an invitation leads.
func (d *dashboard) showInvitation(w http.ResponseWriter, r *http.Request) error {
	return d.renderInvitation(r.Context(), w, r, http.StatusOK, &accountForm{Token: r.URL.Query().Get("token")})
}

func (d *dashboard) renderInvitation(ctx context.Context, w http.ResponseWriter, r *http.Request, status int, v *accountForm) error {
	token := v.Token
	invitation, known, err := d.Access.Invitation(ctx, token)
	v.page = d.newPage(r, "", "Invitation")
	v.Inside, v.Here = false, "/login"
	switch cybervault.ErrorCode(err) {
	case "":
		v.Email, v.Role, v.By, v.Known, v.Reset = invitation.Email, string(invitation.Role), cut(invitation.By, shownInList), known, invitation.Reset
	case cybervault.CodeNotFound:
		v.Missing, status = true, http.StatusNotFound
	default:
		return err
	}
	return d.render(w, status, "invitation", v)
}

func (d *dashboard) acceptInvitation(w http.ResponseWriter, r *http.Request) error {
	if err := readForm(r); err != nil {
		return err
	}
	v := &accountForm{Token: r.PostForm.Get("token"), Name: r.PostForm.Get("name"), Errors: map[string]string{}}
	cookie, err := d.Access.Accept(r.Context(), caller(r), v.Token, v.Name, r.PostForm.Get("password"))
	if err != nil {
		if cybervault.ErrorCode(err) != cybervault.CodeNotFound && !v.take(err) {
			return err
		}
		return d.renderInvitation(r.Context(), w, r, http.StatusUnprocessableEntity, v)
	}
	setSession(w, r, cookie)
	http.Redirect(w, r, "/?done=joined", http.StatusSeeOther)
	return nil
}
