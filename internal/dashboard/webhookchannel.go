package dashboard

import (
	"net/url"
	"strings"

	"github.com/cybervault/cybervault"
)

// channelForm is the part of a webhook's form that says how its receiver is
// reached and recognises who comes. Secrets that are stored are never in it: an
// empty field keeps one.
type channelForm struct {
	AuthType   string
	ClientAuth string
	Signature  string
	Proxy      string
	Members    []authMember
}

// authMember is a field of the authentication.
type authMember struct {
	Name, Of, Label, Hint, Value string
	Secret                       bool
}

// authMembers are the fields that hold text; value gives what stands in each.
func authMembers(value func(name string) string) []authMember {
	list := []authMember{
		{Name: "auth_username", Of: "basic", Label: "User name"},
		{Name: "auth_password", Of: "basic", Label: "Password", Secret: true},
		{Name: "auth_token", Of: "bearer", Label: "Token", Secret: true},
		{Name: "auth_token_url", Of: "oauth2", Label: "Token endpoint", Hint: "The https:// URL that gives tokens for client credentials."},
		{Name: "auth_client_id", Of: "oauth2", Label: "Client id"},
		{Name: "auth_client_secret", Of: "oauth2", Label: "Client secret", Secret: true},
		{Name: "auth_scopes", Of: "oauth2", Label: "Scopes", Hint: "With spaces between. May stay empty."},
		{Name: "auth_audience", Of: "oauth2", Label: "Audience", Hint: "Where the authorization server asks for it. May stay empty."},
	}
	for i := range list {
		list[i].Value = value(list[i].Name)
	}
	return list
}

func newChannelForm(c *cybervault.Channel) channelForm {
	a := &c.Authentication
	shown := map[string]string{
		"auth_username": a.Username, "auth_token_url": a.TokenURL, "auth_client_id": a.ClientID,
		"auth_scopes": strings.Join(a.Scopes, " "), "auth_audience": a.Audience,
	}
	return channelForm{
		AuthType: string(a.Type), ClientAuth: string(a.ClientAuthentication), Signature: string(c.Signature), Proxy: cybervault.ShowProxy(c.Proxy),
		Members: authMembers(func(name string) string { return shown[name] }),
	}
}

// sentChannelForm is the form as it was sent.
func sentChannelForm(form url.Values) channelForm {
	return channelForm{
		AuthType: form.Get("auth_type"), ClientAuth: form.Get("auth_client_authentication"), Signature: form.Get("signature"),
		Proxy: strings.TrimSpace(form.Get("proxy")), Members: authMembers(form.Get),
	}
}

// anyChannel reports whether one of the settings is not the default.
func (f *channelForm) anyChannel() bool {
	return f.AuthType != "" || f.Signature == string(cybervault.SignatureEd25519) || f.Proxy != ""
}

// readChannel puts the settings into a change. What was written for another type
// than the chosen one is left alone: without the style sheet all fields show.
func (f *channelForm) readChannel(change *cybervault.WebhookChange) {
	a := cybervault.Authentication{Type: cybervault.AuthenticationType(f.AuthType)}
	value := map[string]string{}
	for _, m := range f.Members {
		if m.Of != f.AuthType {
			continue
		}
		if value[m.Name] = m.Value; !m.Secret {
			value[m.Name] = strings.TrimSpace(m.Value)
		}
	}
	a.Username, a.Password, a.Token = value["auth_username"], value["auth_password"], strings.TrimSpace(value["auth_token"])
	a.TokenURL, a.ClientID, a.ClientSecret = value["auth_token_url"], value["auth_client_id"], value["auth_client_secret"]
	a.Scopes, a.Audience = strings.Fields(value["auth_scopes"]), value["auth_audience"]
	if len(a.Scopes) == 0 {
		a.Scopes = nil
	}
	if a.Type == cybervault.AuthenticationOAuth2 {
		a.ClientAuthentication = cybervault.ClientAuthentication(f.ClientAuth)
	}
	signature := cybervault.SignatureHMAC
	if f.Signature != "" {
		signature = cybervault.Signature(f.Signature)
	}
	change.Authentication, change.Signature, change.Proxy = &a, &signature, &f.Proxy
}

// authenticationWords says how a webhook's receiver recognises CyberVault, for
// its page; empty where it does not ask.
func authenticationWords(a *cybervault.Authentication) string {
	switch a.Type {
	case cybervault.AuthenticationBasic:
		return "user name " + cut(a.Username, 100) + ", password kept encrypted"
	case cybervault.AuthenticationBearer:
		return "bearer token, kept encrypted"
	case cybervault.AuthenticationOAuth2:
		return "OAuth 2 as " + cut(a.ClientID, 100) + ", tokens from " + cut(a.TokenURL, shownInDetail)
	}
	return ""
}
