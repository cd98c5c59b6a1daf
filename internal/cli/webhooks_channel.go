package cli

import (
	"strings"

	"github.com/spf13/pflag"

	"github.com/cybervault/cybervault"
)

// credentialVariable gives create and update the secret of --authentication
// without showing it in the process list.
const credentialVariable = "CYBERVAULT_WEBHOOK_CREDENTIAL" //nolint:gosec // its name, not its value

// maxCredentialFile bounds the file of a credential, line end included.
const maxCredentialFile = cybervault.MaxCredentialBytes + 2

// channelFlags are the settings of the way to a webhook's receiver.
type channelFlags struct {
	authentication string
	username       string
	tokenURL       string
	clientID       string
	scopes         []string
	audience       string
	clientAuth     string
	credentialFile string
	signature      string
	proxy          string
}

func (c *channelFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&c.authentication, "authentication", "", "what to make Authorization from: basic, bearer, oauth2 (client credentials), or none")
	flags.StringVar(&c.credentialFile, "credential-file", "", "file of the password, token or client secret, - for stdin (default $"+credentialVariable+"; on update, the one there is)")
	flags.StringVar(&c.username, "username", "", "user name, for basic")
	flags.StringVar(&c.tokenURL, "token-url", "", "token endpoint, for oauth2")
	flags.StringVar(&c.clientID, "client-id", "", "for oauth2")
	flags.StringSliceVar(&c.scopes, "scopes", nil, "what to ask for, with commas, for oauth2")
	flags.StringVar(&c.audience, "audience", "", "whom the token is for, where the server asks, for oauth2")
	flags.StringVar(&c.clientAuth, "client-authentication", "", "how the client's secret is sent, for oauth2: basic (in the header) or body")
	flags.StringVar(&c.signature, "signature", "hmac", "what webhook-signature is made with: hmac or ed25519")
	flags.StringVar(&c.proxy, "proxy", "", "HTTP proxy to deliver through, http://[user:password@]host:port; '' for none")
}

// fill puts the settings whose flags were given into a body.
func (c *channelFlags) fill(env *Env, body map[string]any, given func(flag string) bool) error {
	if given("signature") {
		body["signature"] = c.signature
	}
	if given("proxy") {
		body["proxy"] = orNull(c.proxy)
	}
	if !given("authentication") {
		for _, flag := range []string{"username", "token-url", "client-id", "scopes", "audience", "client-authentication", "credential-file"} {
			if given(flag) {
				return usagef("--%s belongs to --authentication, which is replaced as a whole: give --authentication and all that it needs; only the secret may be left out", flag)
			}
		}
		return nil
	}
	if c.authentication == "none" {
		body["authentication"] = nil
		return nil
	}
	a := map[string]any{"type": c.authentication}
	for name, text := range map[string]string{
		"username": c.username, "token_url": c.tokenURL, "client_id": c.clientID, "audience": c.audience, "client_authentication": c.clientAuth,
	} {
		if text != "" {
			a[name] = text
		}
	}
	if len(c.scopes) > 0 {
		a["scopes"] = c.scopes
	}
	secret, err := c.secret(env)
	if err != nil {
		return err
	}
	if name := secretNames()[c.authentication]; secret != "" && name != "" {
		a[name] = secret
	}
	body["authentication"] = a
	return nil
}

// secretNames are the members that hold the secret, by type.
func secretNames() map[string]string {
	return map[string]string{
		string(cybervault.AuthenticationBasic): "password", string(cybervault.AuthenticationBearer): "token", string(cybervault.AuthenticationOAuth2): "client_secret",
	}
}

// secret is that of the authentication, empty where none is given.
func (c *channelFlags) secret(env *Env) (string, error) {
	if c.credentialFile == "" {
		secret, _ := env.LookupEnv(credentialVariable)
		return secret, nil
	}
	raw, err := readInput(env, c.credentialFile, maxCredentialFile)
	if err != nil {
		return "", err
	}
	return strings.TrimRight(string(raw), "\r\n"), nil
}

// authentication is what the API says about one.
type authentication struct {
	Type     string `json:"type"`
	Username string `json:"username"`
	TokenURL string `json:"token_url"`
	ClientID string `json:"client_id"`
}

func (a *authentication) words() string {
	if a == nil {
		return ""
	}
	switch cybervault.AuthenticationType(a.Type) {
	case cybervault.AuthenticationBasic:
		return "basic, as " + a.Username
	case cybervault.AuthenticationBearer:
		return "bearer token"
	case cybervault.AuthenticationOAuth2:
		return "OAuth 2, as " + a.ClientID + " at " + a.TokenURL
	}
	return a.Type
}
