package dashboard

import (
	"net/http"
	"net/url"

	"github.com/cybervault/cybervault"
)

type membersView struct {
	page
	Rows        []memberRow
	Invitations []invitationRow
	Roles       []roleChoice // that who looks may give
	Email       string       // as typed
	Errors      map[string]string
	Problem     string
	Link        string // of an invitation, shown once
	For         string // whom it is for
	Reset       bool   // it lets them choose a new password
	Expires     moment
	Owner       bool // may make workspaces
}

type memberRow struct {
	ID, Name, Email string
	Role            string
	Factor          string // which second factor they have
	Seen, Joined    moment
	Me, Mine        bool // is who looks; may be changed by them
	Roles           []roleChoice
}

type roleChoice struct {
	Value, Words string
	Chosen       bool
}

type invitationRow struct {
	ID, Email, Role, By string
	Reset               bool
	Made, Expires       moment
}

var roleWords = map[cybervault.Role]string{
	cybervault.RoleOwner:   "Everything, owners and workspaces too",
	cybervault.RoleAdmin:   "Webhooks and their secrets, API keys, members",
	cybervault.RoleAnalyst: "Incidents, rules and exceptions, replays and tests",
	cybervault.RoleViewer:  "Looks, and changes nothing",
}

func roleChoices(s *cybervault.Session, chosen cybervault.Role) []roleChoice {
	var choices []roleChoice
	for _, role := range cybervault.Roles() {
		if s.Role.AtLeast(role) {
			choices = append(choices, roleChoice{string(role), roleWords[role], role == chosen})
		}
	}
	return choices
}

func (d *dashboard) listMembers(w http.ResponseWriter, r *http.Request) error {
	return d.renderMembers(w, r, http.StatusOK, &membersView{})
}

func (d *dashboard) renderMembers(w http.ResponseWriter, r *http.Request, status int, v *membersView) error {
	ctx := r.Context()
	s := sessionOf(ctx)
	v.page = d.newPage(r, "members", "Members")
	if r.Method == http.MethodPost {
		v.Replace, v.Here = "/settings/members", "/settings/members"
	}
	if v.Errors == nil {
		v.Errors = map[string]string{}
	}
	members, err := d.Access.Members(ctx, s.Workspace)
	if err != nil {
		return err
	}
	for _, m := range members {
		row := memberRow{
			ID: m.ID.String(), Name: cut(m.Name, shownInList), Email: cut(m.Email, shownInList), Role: string(m.Role),
			Seen: d.moment(m.LastSeen), Joined: d.moment(m.JoinedAt), Me: m.ID == s.User, Mine: m.ID != s.User && s.Role.AtLeast(m.Role), Roles: roleChoices(s, m.Role),
		}
		switch {
		case m.TOTPSecret != "" && m.Passkeys > 0:
			row.Factor = "Authenticator, passkey"
		case m.TOTPSecret != "":
			row.Factor = "Authenticator"
		case m.Passkeys > 0:
			row.Factor = "Passkey"
		case m.Password == "":
			row.Factor = "OpenID Connect"
		}
		v.Rows = append(v.Rows, row)
	}
	invitations, err := d.Access.Invitations(ctx, s.Workspace)
	if err != nil {
		return err
	}
	for _, i := range invitations {
		v.Invitations = append(v.Invitations, invitationRow{
			ID: i.ID.String(), Email: cut(i.Email, shownInList), Role: string(i.Role), By: cut(i.By, shownInList), Reset: i.Reset, Made: d.moment(i.CreatedAt), Expires: d.moment(i.ExpiresAt),
		})
	}
	v.Roles, v.Owner = roleChoices(s, cybervault.RoleViewer), s.Role == cybervault.RoleOwner && !s.Operator()
	return d.render(w, status, "members", v)
}

// offer shows the link of an invitation.
func (v *membersView) offer(d *dashboard, r *http.Request, i *cybervault.Invitation, token string) {
	v.Link = d.origin(r) + "/invitation?" + url.Values{"token": {token}}.Encode()
	v.For, v.Reset, v.Expires = cut(i.Email, shownInList), i.Reset, d.moment(i.ExpiresAt)
}

func (d *dashboard) invite(w http.ResponseWriter, r *http.Request) error {
	if err := readForm(r); err != nil {
		return err
	}
	v := &membersView{Email: r.PostForm.Get("email"), Errors: map[string]string{}}
	i, token, err := d.Access.Invite(r.Context(), sessionOf(r.Context()), v.Email, cybervault.Role(r.PostForm.Get("role")))
	if err != nil {
		return d.refuseMembers(w, r, v, err)
	}
	v.Email = ""
	v.offer(d, r, i, token)
	return d.renderMembers(w, r, http.StatusOK, v)
}

// refuseMembers shows what is wrong with a change of members.
func (d *dashboard) refuseMembers(w http.ResponseWriter, r *http.Request, v *membersView, err error) error {
	e := asError(err)
	switch {
	case e == nil:
		return err
	case e.Field == "email" || e.Field == "role" || e.Field == "name":
		if v.Errors == nil {
			v.Errors = map[string]string{}
		}
		v.Errors[e.Field] = "It " + e.Message + "."
		return d.renderMembers(w, r, http.StatusUnprocessableEntity, v)
	case e.Code == cybervault.CodeConflict:
		v.Problem = plainError(err)
		return d.renderMembers(w, r, http.StatusConflict, v)
	}
	return err
}

func (d *dashboard) setRole(w http.ResponseWriter, r *http.Request) error {
	if err := readForm(r); err != nil {
		return err
	}
	role := cybervault.Role(r.PostForm.Get("role"))
	if !role.Known() {
		return cybervault.Invalid("role", "is not one of owner, admin, analyst, viewer")
	}
	return d.changeMember(w, r, role, "role")
}

func (d *dashboard) removeMember(w http.ResponseWriter, r *http.Request) error {
	return d.changeMember(w, r, "", "left")
}

func (d *dashboard) changeMember(w http.ResponseWriter, r *http.Request, role cybervault.Role, done string) error {
	id, err := pathID[cybervault.UserID](r)
	if err != nil {
		return err
	}
	if err := d.Access.SetRole(r.Context(), sessionOf(r.Context()), id, role); err != nil {
		return d.refuseMembers(w, r, &membersView{}, err)
	}
	http.Redirect(w, r, "/settings/members?done="+done, http.StatusSeeOther)
	return nil
}

func (d *dashboard) letChoosePassword(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID[cybervault.UserID](r)
	if err != nil {
		return err
	}
	v := &membersView{}
	i, token, err := d.Access.LetChoosePassword(r.Context(), sessionOf(r.Context()), id)
	if err != nil {
		return d.refuseMembers(w, r, v, err)
	}
	v.offer(d, r, i, token)
	return d.renderMembers(w, r, http.StatusOK, v)
}

func (d *dashboard) withdrawInvitation(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID[cybervault.InvitationID](r)
	if err != nil {
		return err
	}
	if err := d.Access.Withdraw(r.Context(), sessionOf(r.Context()), id); err != nil {
		return err
	}
	http.Redirect(w, r, "/settings/members?done=withdrawn", http.StatusSeeOther)
	return nil
}

func (d *dashboard) createWorkspace(w http.ResponseWriter, r *http.Request) error {
	if err := readForm(r); err != nil {
		return err
	}
	s := sessionOf(r.Context())
	id, err := d.Access.CreateWorkspace(r.Context(), s, r.PostForm.Get("name"))
	if err != nil {
		return d.refuseMembers(w, r, &membersView{}, err)
	}
	if err := d.Access.Switch(r.Context(), s, id); err != nil {
		return err
	}
	http.Redirect(w, r, "/?done=switched", http.StatusSeeOther)
	return nil
}
