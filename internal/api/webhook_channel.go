package api

import (
	"encoding/json"
	"errors"

	"github.com/cybervault/cybervault"
)

// channelFields are the settings of the way to a webhook's receiver; see
// cybervault.Channel.
func channelFields() fields[cybervault.WebhookChange] {
	type change = cybervault.WebhookChange
	return fields[change]{
		{
			name: "authentication", doc: "what the header Authorization is made from; replaced as a whole, save for its secret, which stays where it is left out, or ***, and the type is the same; null for none",
			schema: authenticationFields().describe(bodyOptions{}),
			read: func(raw json.RawMessage, into *change) error {
				return set(&into.Authentication, raw, readAuthentication)
			},
			null: func(into *change) { into.Authentication = new(cybervault.Authentication) },
		}, {
			name: "signature", doc: "what webhook-signature is made with: hmac with the secret (v1), or ed25519 with a key pair whose public_key is shown (v1a); X-CyberVault-Signature is an HMAC either way",
			schema: enum(cybervault.SignatureHMAC, cybervault.SignatureEd25519),
			read: func(raw json.RawMessage, into *change) error {
				return set(&into.Signature, raw, choice("a choice", cybervault.SignatureHMAC, cybervault.SignatureEd25519))
			},
			null: func(into *change) { into.Signature = new(cybervault.SignatureHMAC) },
		}, {
			name: "proxy", doc: "the HTTP proxy that attempts go through by CONNECT, http:// or https://; its password is shown as ***, which keeps it; null for none",
			schema: schema{"type": "string", "format": "uri", "maxLength": cybervault.MaxURLBytes, "examples": []string{"http://user:password@proxy.example:3128"}},
			read:   func(raw json.RawMessage, into *change) error { return set(&into.Proxy, raw, readString) },
			null:   func(into *change) { into.Proxy = new(string) },
		},
	}
}

func authenticationFields() fields[cybervault.Authentication] {
	type authentication = cybervault.Authentication
	text := func(name, doc string, to func(*authentication) *string) field[authentication] {
		return field[authentication]{
			name: name, doc: doc, schema: schema{"type": "string", "maxLength": cybervault.MaxCredentialBytes}, null: ignoreNull[authentication],
			read: func(raw json.RawMessage, into *authentication) (err error) {
				*to(into), err = readString(raw)
				return err
			},
		}
	}
	return fields[authentication]{
		{
			name: "type", required: true, doc: "use \"basic\", \"bearer\" or \"oauth2\" (client credentials)",
			schema: enum(cybervault.AuthenticationBasic, cybervault.AuthenticationBearer, cybervault.AuthenticationOAuth2),
			read: func(raw json.RawMessage, into *authentication) (err error) {
				into.Type, err = choice("a type", cybervault.AuthenticationBasic, cybervault.AuthenticationBearer, cybervault.AuthenticationOAuth2)(raw)
				return err
			},
		},
		text("username", "for basic", func(a *authentication) *string { return &a.Username }),
		text("password", "for basic; never shown again", func(a *authentication) *string { return &a.Password }),
		text("token", "for bearer; never shown again", func(a *authentication) *string { return &a.Token }),
		text("token_url", "for oauth2: the https:// URL of the token endpoint", func(a *authentication) *string { return &a.TokenURL }),
		text("client_id", "for oauth2", func(a *authentication) *string { return &a.ClientID }),
		text("client_secret", "for oauth2; never shown again", func(a *authentication) *string { return &a.ClientSecret }),
		{
			name: "scopes", doc: "for oauth2: what to ask for", schema: schema{"type": "array", "items": schema{"type": "string"}, "maxItems": cybervault.MaxScopes},
			null: ignoreNull[authentication],
			read: func(raw json.RawMessage, into *authentication) (err error) {
				into.Scopes, err = readStrings(raw, "scopes")
				return err
			},
		},
		text("audience", "for oauth2: whom the token is for, where the authorization server asks", func(a *authentication) *string { return &a.Audience }),
		{
			name: "client_authentication", doc: "for oauth2: how client_id and client_secret are sent, in the header Authorization (basic) or in the body",
			schema: enum(cybervault.ClientBasic, cybervault.ClientBody), null: ignoreNull[authentication],
			read: func(raw json.RawMessage, into *authentication) (err error) {
				into.ClientAuthentication, err = choice("a choice", cybervault.ClientBasic, cybervault.ClientBody)(raw)
				return err
			},
		},
	}
}

func readAuthentication(raw json.RawMessage) (cybervault.Authentication, error) {
	if raw[0] != '{' {
		return cybervault.Authentication{}, cybervault.Errorf(cybervault.CodeInvalid, "is %s: give an object with a type, or null for none", kindOf(raw))
	}
	a, err := authenticationFields().decode(raw, bodyOptions{})
	if wrong, ok := errors.AsType[fieldErrors](err); ok {
		for i, e := range wrong {
			wrong[i] = &cybervault.Error{Code: e.Code, Field: "authentication." + e.Field, Message: e.Message, Err: e.Err}
		}
		return a, wrong
	}
	return a, within("authentication", err)
}

// channelJSON is the way to a webhook's receiver, as it is shown.
type channelJSON struct {
	Authentication *authenticationJSON  `json:"authentication" doc:"What the header Authorization is made from, without its secret; null for none."`
	Signature      cybervault.Signature `json:"signature" doc:"What webhook-signature is made with."`
	PublicKey      *string              `json:"public_key" doc:"What to verify webhook-signature with, whpk_ and base64; null with hmac."`
	Proxy          *string              `json:"proxy" doc:"The HTTP proxy that attempts go through, its password as ***; null for none."`
}

type authenticationJSON struct {
	Type                 cybervault.AuthenticationType   `json:"type"`
	Username             string                          `json:"username,omitempty" doc:"With basic."`
	Password             string                          `json:"password,omitempty" doc:"With basic: ***."`
	Token                string                          `json:"token,omitempty" doc:"With bearer: ***."`
	TokenURL             string                          `json:"token_url,omitempty" format:"uri" doc:"With oauth2, as all that follow."`
	ClientID             string                          `json:"client_id,omitempty"`
	ClientSecret         string                          `json:"client_secret,omitempty" doc:"***"`
	Scopes               []string                        `json:"scopes,omitempty"`
	Audience             string                          `json:"audience,omitempty"`
	ClientAuthentication cybervault.ClientAuthentication `json:"client_authentication,omitempty"`
}

func showChannel(c *cybervault.Channel) channelJSON {
	shown := channelJSON{Signature: cybervault.SignatureHMAC, PublicKey: orNull(c.PublicKey()), Proxy: orNull(cybervault.ShowProxy(c.Proxy))}
	if c.Signature != "" {
		shown.Signature = c.Signature
	}
	a := &c.Authentication
	if a.Type == "" {
		return shown
	}
	mask := func(secret string) string {
		if secret != "" {
			return maskedHeader
		}
		return ""
	}
	shown.Authentication = &authenticationJSON{
		Type: a.Type, Username: a.Username, Password: mask(a.Password), Token: mask(a.Token), TokenURL: a.TokenURL, ClientID: a.ClientID,
		ClientSecret: mask(a.ClientSecret), Scopes: a.Scopes, Audience: a.Audience, ClientAuthentication: a.ClientAuthentication,
	}
	return shown
}
