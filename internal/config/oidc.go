package config

import (
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/cybervault/cybervault"
)

// OIDC says at which OpenID provider people log in. It is off without an issuer. What
// is wrong with its parts is found by internal/access/oidc, which uses them.
type OIDC struct {
	Issuer       string
	ClientID     string
	ClientSecret string `json:"-"`
	Name         string // what the log-in page calls it
	Scopes       []string
	GroupsClaim  string
	Roles        map[string]cybervault.Role // by group
	DefaultRole  cybervault.Role
	Domains      []string // of email addresses; none: any
	TrustEmail   bool     // addresses of which the provider does not say that they were verified
}

// On reports whether there is a provider.
func (o OIDC) On() bool { return o.Issuer != "" }

// oidcOptions lists the settings of the log-in by OpenID Connect, and the address that
// it needs.
func oidcOptions() []option {
	text := func(field func(*Config) *string) func(*Config, string) error {
		return func(c *Config, s string) error {
			*field(c) = strings.TrimSpace(s)
			return nil
		}
	}
	list := func(field func(*Config) *[]string) func(*Config, string) error {
		return func(c *Config, s string) error {
			*field(c) = splitList(s)
			return nil
		}
	}
	return []option{
		{
			name: "public-url", hint: "url", usage: "where people reach the dashboard, such as https://cybervault.example.com: for links that are handed over, and for OpenID Connect",
			set: setPublicURL,
		},
		{
			name: "oidc-issuer", hint: "url", usage: "OpenID provider that people log in at, as it writes itself in its tokens",
			set: text(func(c *Config) *string { return &c.OIDC.Issuer }),
		},
		{
			name: "oidc-client-id", hint: "id", usage: "what the provider calls this application",
			set: text(func(c *Config) *string { return &c.OIDC.ClientID }),
		},
		{
			name: "oidc-client-secret", hint: "secret", usage: "its secret at the provider; none for a public client", noFlag: true,
			set: text(func(c *Config) *string { return &c.OIDC.ClientSecret }),
		},
		{
			name: "oidc-name", hint: "name", usage: "what the log-in page calls the provider",
			set: setOIDCName,
		},
		{
			name: "oidc-role", hint: "group=role", usage: "role of the provider's members of a group: owner, admin, analyst or viewer; the highest wins; repeatable", list: true,
			set: setOIDCRoles,
		},
		{
			name: "oidc-default-role", hint: "role", usage: "role of whoever is in none of these groups; without it they are refused",
			set: func(c *Config, s string) error {
				c.OIDC.DefaultRole = cybervault.Role(strings.TrimSpace(s))
				return nil
			},
		},
		{
			name: "oidc-groups-claim", hint: "claim", usage: "claim that names the groups, or a path to it such as realm_access.roles (default groups)",
			set: text(func(c *Config) *string { return &c.OIDC.GroupsClaim }),
		},
		{
			name: "oidc-scope", hint: "scope", usage: "scopes to ask for (default openid, email, profile); repeatable", list: true,
			set: list(func(c *Config) *[]string { return &c.OIDC.Scopes }),
		},
		{
			name: "oidc-domain", hint: "domain", usage: "domain that email addresses must have; without one, any; repeatable", list: true,
			set: list(func(c *Config) *[]string { return &c.OIDC.Domains }),
		},
		{
			name: "oidc-trust-email", usage: "take email addresses of which the provider does not say whether they were verified",
			set: func(c *Config, s string) error { return setSwitch(&c.OIDC.TrustEmail, s) },
		},
	}
}

func splitList(s string) []string {
	var parts []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}

func setPublicURL(c *Config, s string) error {
	u, err := url.Parse(strings.TrimSpace(s))
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "":
		return fmt.Errorf("%q is no address: use one like https://cybervault.example.com", s)
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())):
		return fmt.Errorf("%q begins with %s: it must be https, or http on a loopback address", s, u.Scheme)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
		return fmt.Errorf("%q has more than scheme, host and port: leave the rest out", s)
	}
	c.PublicURL = u.Scheme + "://" + u.Host
	return nil
}

func setOIDCName(c *Config, s string) error {
	if s = strings.TrimSpace(s); s == "" || len(s) > 60 {
		return fmt.Errorf("%q is no name for a button: use 1 to 60 characters", s)
	}
	c.OIDC.Name = s
	return nil
}

// setOIDCRoles reads GROUP=ROLE, several joined by commas. A group's name may hold an
// equals sign, as that of an LDAP directory does; one with a comma cannot be named.
func setOIDCRoles(c *Config, s string) error {
	c.OIDC.Roles = map[string]cybervault.Role{}
	for _, pair := range splitList(s) {
		i := strings.LastIndexByte(pair, '=')
		if i < 1 {
			return fmt.Errorf("%q names no group and role: use GROUP=ROLE, such as security=analyst", pair)
		}
		group, role := strings.TrimSpace(pair[:i]), cybervault.Role(strings.TrimSpace(pair[i+1:]))
		if !role.Known() {
			return fmt.Errorf("%q is no role: use owner, admin, analyst or viewer", role)
		}
		if _, twice := c.OIDC.Roles[group]; twice {
			return fmt.Errorf("the group %q has two roles: leave one", group)
		}
		c.OIDC.Roles[group] = role
	}
	return nil
}

// checkOIDC finds what single settings cannot show.
func (c Config) checkOIDC() []error {
	o := c.OIDC
	wrong := func(field, message string) []error {
		return []error{cybervault.Invalid(field, "%s", message)}
	}
	switch {
	case !o.On() && (o.ClientID != "" || o.ClientSecret != "" || len(o.Roles) > 0 || o.DefaultRole != "" || len(o.Domains) > 0 || len(o.Scopes) > 0 || o.GroupsClaim != "" || o.TrustEmail):
		return wrong("oidc-issuer", "is missing: other settings of OpenID Connect are given; name the provider")
	case o.On() && c.PublicURL == "":
		return wrong("public-url", "is missing: the provider has to send people back somewhere; give the address of the dashboard, such as https://cybervault.example.com")
	}
	return nil
}

func (c Config) oidcAttrs() []slog.Attr {
	if !c.OIDC.On() {
		return []slog.Attr{slog.String("public_url", c.PublicURL)}
	}
	o := c.OIDC
	var roles []string
	for _, group := range slices.Sorted(maps.Keys(o.Roles)) {
		roles = append(roles, group+"="+string(o.Roles[group]))
	}
	return []slog.Attr{
		slog.String("public_url", c.PublicURL), slog.String("oidc_issuer", o.Issuer), slog.String("oidc_client_id", o.ClientID), slog.String("oidc_client_secret", redact(o.ClientSecret)),
		slog.String("oidc_name", o.Name), slog.String("oidc_role", strings.Join(roles, ",")), slog.String("oidc_default_role", string(o.DefaultRole)),
		slog.String("oidc_groups_claim", o.GroupsClaim), slog.String("oidc_scope", strings.Join(o.Scopes, ",")), slog.String("oidc_domain", strings.Join(o.Domains, ",")),
		slog.Bool("oidc_trust_email", o.TrustEmail),
	}
}
