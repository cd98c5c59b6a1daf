package oidc

import (
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/cybervault/cybervault"
)

// checked fills in the defaults and refuses what cannot work. It keeps nothing of
// the caller's slices and maps.
func checked(c Config) (Config, error) {
	if err := checkURL("issuer", c.Issuer); err != nil {
		return c, err
	}
	if strings.ContainsAny(c.Issuer, "?#") {
		return c, cybervault.Invalid("issuer", "has a query or a fragment: give the address under which the provider's /.well-known/openid-configuration lies")
	}
	if c.ClientID == "" {
		return c, cybervault.Invalid("client_id", "is empty: give the one that the provider shows for this application")
	}
	if err := checkURL("redirect_url", c.RedirectURL); err != nil {
		return c, err
	}
	if len(c.Key) != keySize {
		return c, cybervault.Invalid("key", "has %d bytes: give %d random ones", len(c.Key), keySize)
	}
	c.Key = slices.Clone(c.Key)
	if err := c.checkRoles(); err != nil {
		return c, err
	}
	c.Roles = maps.Clone(c.Roles)
	var err error
	if c.Domains, err = checkDomains(c.Domains); err != nil {
		return c, err
	}
	if c.Scopes, err = checkScopes(c.Scopes); err != nil {
		return c, err
	}
	if c.GroupsClaim == "" {
		c.GroupsClaim = "groups"
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c, nil
}

func (c *Config) checkRoles() error {
	for _, group := range slices.Sorted(maps.Keys(c.Roles)) {
		if group == "" {
			return cybervault.Invalid("roles", "names an empty group: give the name that the provider sends")
		}
		if role := c.Roles[group]; !role.Known() {
			return cybervault.Invalid("roles", "group %q has the role %q: give owner, admin, analyst or viewer", group, role)
		}
	}
	if c.DefaultRole != "" && !c.DefaultRole.Known() {
		return cybervault.Invalid("default_role", "%q is no role: give owner, admin, analyst or viewer, or leave it empty to refuse whoever is in no group", c.DefaultRole)
	}
	if len(c.Roles) == 0 && c.DefaultRole == "" {
		return cybervault.Invalid("roles", "nobody could log in: give a group its role, or set default_role")
	}
	return nil
}

func checkDomains(domains []string) ([]string, error) {
	var lower []string
	for _, domain := range domains {
		if domain == "" || strings.ContainsAny(domain, "@*/: ") || !ascii(domain) {
			return nil, cybervault.Invalid("domains", "%q is no domain of an email address: write it like example.com, in punycode where it is not ASCII", domain)
		}
		lower = append(lower, strings.ToLower(domain))
	}
	return lower, nil
}

func checkScopes(scopes []string) ([]string, error) {
	if len(scopes) == 0 {
		return []string{oidc.ScopeOpenID, oidc.ScopeEmail, oidc.ScopeProfile}, nil
	}
	if !slices.Contains(scopes, oidc.ScopeOpenID) {
		return nil, cybervault.Invalid("scopes", "lack openid, without which the provider sends no ID token: add it")
	}
	for _, scope := range scopes {
		if scope == "" || strings.ContainsAny(scope, " \t\r\n\"\\") || !ascii(scope) {
			return nil, cybervault.Invalid("scopes", "%q is no scope: give one name an entry", scope)
		}
	}
	return slices.Clone(scopes), nil
}

// checkURL takes https, and http on this machine, where there is no wire to listen on.
func checkURL(field, raw string) error {
	u, err := url.Parse(raw)
	switch {
	case raw == "":
		return cybervault.Invalid(field, "is empty: give an https address")
	case err != nil || u.Host == "" || u.Hostname() == "":
		return cybervault.Invalid(field, "is no address: give one like https://login.example.com")
	case u.User != nil:
		return cybervault.Invalid(field, "holds a user name: leave it out")
	case strings.Contains(raw, "#"):
		return cybervault.Invalid(field, "has a fragment: leave it out")
	case u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname()):
		return nil
	}
	return cybervault.Invalid(field, "begins with %q: it must be https, or http on a loopback address", u.Scheme)
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func ascii(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f })
}
