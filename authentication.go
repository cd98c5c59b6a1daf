package cybervault

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strings"
)

// Limits on a webhook's authentication.
const (
	MaxCredentialBytes = 4096 // of a user name, password, token, client id or secret
	MaxScopes          = 50
)

// AuthenticationType says how a webhook's receiver is to recognise CyberVault.
type AuthenticationType string

// The types of authentication; empty for none.
const (
	AuthenticationBasic  AuthenticationType = "basic"  // RFC 7617
	AuthenticationBearer AuthenticationType = "bearer" // RFC 6750
	AuthenticationOAuth2 AuthenticationType = "oauth2" // client credentials: RFC 6749, section 4.4
)

// ClientAuthentication says how client id and secret reach the token endpoint
// (RFC 6749, section 2.3.1).
type ClientAuthentication string

// The choices of ClientAuthentication.
const (
	ClientBasic ClientAuthentication = "basic" // in the header Authorization; the default
	ClientBody  ClientAuthentication = "body"  // among the parameters
)

// Authentication is what the header Authorization of every attempt is made from.
// The zero value is none. It is kept sealed.
type Authentication struct {
	Type AuthenticationType `json:"type"`

	Username string `json:"username,omitempty"` // basic
	Password string `json:"password,omitempty"` // basic
	Token    string `json:"token,omitempty"`    // bearer

	TokenURL             string               `json:"token_url,omitempty"` // oauth2, and all that follow
	ClientID             string               `json:"client_id,omitempty"`
	ClientSecret         string               `json:"client_secret,omitempty"`
	Scopes               []string             `json:"scopes,omitempty"`
	Audience             string               `json:"audience,omitempty"`
	ClientAuthentication ClientAuthentication `json:"client_authentication,omitempty"`
}

// Same reports whether two hold the same.
func (a *Authentication) Same(b *Authentication) bool {
	return a.Type == b.Type && a.Username == b.Username && a.Password == b.Password && a.Token == b.Token &&
		a.TokenURL == b.TokenURL && a.ClientID == b.ClientID && a.ClientSecret == b.ClientSecret &&
		a.Audience == b.Audience && a.ClientAuthentication == b.ClientAuthentication && slices.Equal(a.Scopes, b.Scopes)
}

// Masked stands where a secret is not shown, and in a change for the one there is.
const Masked = "***"

// Keeping returns a with the secret of stored where a has none, or a mask, and
// both are of one type (for OAuth 2, of one client at one endpoint); and with the default where it leaves a choice open.
func (a *Authentication) Keeping(stored *Authentication) Authentication {
	kept, secrets := *a, Authentication{}
	if a.Type == stored.Type {
		secrets = *stored
	}
	keep := func(secret *string, stored string) {
		if *secret == "" || *secret == Masked {
			*secret = stored
		}
	}
	switch a.Type {
	case AuthenticationBasic:
		keep(&kept.Password, secrets.Password)
	case AuthenticationBearer:
		keep(&kept.Token, secrets.Token)
	case AuthenticationOAuth2:
		// Another endpoint, or another client, has no right to this one's secret.
		if sameOrigin(a.TokenURL, stored.TokenURL) && a.ClientID == stored.ClientID {
			keep(&kept.ClientSecret, secrets.ClientSecret)
		} else if kept.ClientSecret == Masked {
			kept.ClientSecret = ""
		}
		if kept.ClientAuthentication == "" {
			kept.ClientAuthentication = ClientBasic
		}
	}
	return kept
}

// sameOrigin reports whether two URLs lead to one scheme, host and port.
func sameOrigin(a, b string) bool {
	u, err := url.Parse(a)
	v, other := url.Parse(b)
	return err == nil && other == nil && u.Scheme == v.Scheme && u.Host == v.Host
}

// Header is the value of Authorization; ok is false for OAuth 2, whose token has
// to be fetched, and for none.
func (a *Authentication) Header() (value string, ok bool) {
	switch a.Type {
	case AuthenticationBasic:
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(a.Username+":"+a.Password)), true
	case AuthenticationBearer:
		return "Bearer " + a.Token, true
	case AuthenticationOAuth2:
	}
	return "", false
}

// authenticationMember is one member of an Authentication and whom it belongs to.
type authenticationMember struct {
	name  string
	of    AuthenticationType
	value string
	needs string // what is to be given; empty for a member that may be absent
}

func (a *Authentication) members() []authenticationMember {
	return []authenticationMember{
		{"username", AuthenticationBasic, a.Username, "give the user name"},
		{"password", AuthenticationBasic, a.Password, "give the password"},
		{"token", AuthenticationBearer, a.Token, "give the token that the receiver knows"},
		{"token_url", AuthenticationOAuth2, a.TokenURL, "give the https:// URL of the token endpoint"},
		{"client_id", AuthenticationOAuth2, a.ClientID, "give the id that the authorization server knows this client by"},
		{"client_secret", AuthenticationOAuth2, a.ClientSecret, "give the client's secret"},
		{"scopes", AuthenticationOAuth2, strings.Join(a.Scopes, " "), ""},
		{"audience", AuthenticationOAuth2, a.Audience, ""},
		{"client_authentication", AuthenticationOAuth2, string(a.ClientAuthentication), ""},
	}
}

// check names a member as "authentication.password". No error repeats a value
// that may be a secret.
func (a *Authentication) check() error {
	switch a.Type {
	case "", AuthenticationBasic, AuthenticationBearer, AuthenticationOAuth2:
	default:
		return Invalid("authentication.type", "%q is not a type: use \"basic\", \"bearer\" or \"oauth2\"", truncate(string(a.Type), 40))
	}
	for _, m := range a.members() {
		field := "authentication." + m.name
		switch {
		case m.value != "" && a.Type == "":
			return Invalid("authentication.type", "is missing: use \"basic\", \"bearer\" or \"oauth2\"")
		case m.of != a.Type && m.value != "":
			return Invalid(field, "belongs to the type %q, and the type is %q: leave it out", m.of, a.Type)
		case m.of == a.Type && m.value == "" && m.needs != "":
			return Invalid(field, "is missing: %s", m.needs)
		case len(m.value) > MaxCredentialBytes:
			return Invalid(field, "is %d bytes long, more than %d", len(m.value), MaxCredentialBytes)
		case strings.ContainsFunc(m.value, func(r rune) bool { return r < ' ' || r == 0x7f }):
			return Invalid(field, "has a control character, such as a line end, in it")
		}
	}
	switch a.Type {
	case AuthenticationBasic:
		if strings.Contains(a.Username, ":") {
			return Invalid("authentication.username", "has a colon in it, which ends a user name (RFC 7617)")
		}
	case AuthenticationBearer:
		if !visible(a.Token) {
			return Invalid("authentication.token", "has a space or a character beyond ASCII in it: give the token alone, without \"Bearer\"")
		}
	case AuthenticationOAuth2:
		return a.checkOAuth2()
	}
	return nil
}

func (a *Authentication) checkOAuth2() error {
	u, err := url.Parse(a.TokenURL)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
		return Invalid("authentication.token_url", "cannot be read as a URL: use the form https://host/path")
	case len(a.TokenURL) > MaxURLBytes:
		return Invalid("authentication.token_url", "is %d bytes long, more than %d", len(a.TokenURL), MaxURLBytes)
	case u.User != nil:
		return Invalid("authentication.token_url", "holds a user name or password: put them into client_id and client_secret")
	case u.Fragment != "":
		return Invalid("authentication.token_url", "has a fragment (#…), which is never sent: remove it")
	case len(a.Scopes) > MaxScopes:
		return Invalid("authentication.scopes", "has %d scopes, more than %d", len(a.Scopes), MaxScopes)
	case a.ClientAuthentication != ClientBasic && a.ClientAuthentication != ClientBody:
		return Invalid("authentication.client_authentication", "%q is not a choice: use \"basic\" or \"body\"", truncate(string(a.ClientAuthentication), 40))
	}
	for _, scope := range a.Scopes {
		// scope-token of RFC 6749, section 3.3.
		if scope == "" || !visible(scope) || strings.ContainsAny(scope, `"\`) {
			return Invalid("authentication.scopes", "%q is not a scope: visible ASCII without spaces, quotation marks and backslashes, one a list element", truncate(scope, 60))
		}
	}
	return nil
}

// visible reports whether s is ASCII without spaces and control characters.
func visible(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}
