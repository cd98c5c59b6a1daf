package oidc

import (
	"maps"
	"slices"
	"strings"

	"github.com/cybervault/cybervault"
)

const (
	maxSubject = 255 // OpenID Connect Core, section 2
	maxEmail   = 254 // RFC 5321, by way of its errata
	maxGroups  = 1000
)

// claims are what a provider says of a person. A map, since encoding/json would
// take EMAIL for email in a struct.
type claims map[string]any

func (c claims) text(name string) string {
	s, _ := c[name].(string)
	return s
}

// at returns the claim of that very name (https://example.com/groups is one), or
// else the one at the end of the path; nil where there is neither.
func (c claims) at(path string) any {
	if value, ok := c[path]; ok {
		return value
	}
	var value any = map[string]any(c)
	for step := range strings.SplitSeq(path, ".") {
		object, ok := value.(map[string]any)
		if !ok {
			return nil
		}
		value = object[step]
	}
	return value
}

func (c claims) has(path string) bool { return c.at(path) != nil }

// leftOut reports whether the provider says that the claim is to be had elsewhere,
// as Entra does with more than 200 groups.
func (c claims) leftOut(path string) bool {
	names, _ := c["_claim_names"].(map[string]any)
	_, elsewhere := names[path]
	return elsewhere && !c.has(path)
}

// filled returns c with what it lacks and more has. Whether an address was verified
// is said of that address, and goes with it.
func (c claims) filled(more claims, groups string) claims {
	all := maps.Clone(c)
	switch email := c.text("email"); {
	case email == "":
		all["email"], all["email_verified"] = more["email"], more["email_verified"]
	case c["email_verified"] == nil && email == more.text("email"):
		all["email_verified"] = more["email_verified"]
	}
	for _, name := range []string{"name", "preferred_username"} {
		if c.text(name) == "" {
			all[name] = more[name]
		}
	}
	if !c.has(groups) {
		all[groups] = more.at(groups)
		if more.leftOut(groups) {
			all["_claim_names"] = more["_claim_names"]
		}
	}
	return all
}

// identity judges who came.
func (p *Provider) identity(subject string, c claims) (Identity, error) {
	email, err := p.email(c)
	if err != nil {
		return Identity{}, err
	}
	who := Identity{Issuer: p.config.Issuer, Subject: subject, Email: email, Name: clean(c.text("name"))}
	if who.Name == "" {
		who.Name = clean(c.text("preferred_username"))
	}
	if len(p.config.Roles) > 0 {
		if who.Groups, err = p.groups(c); err != nil {
			return Identity{}, err
		}
	}
	who.Role = p.role(who.Groups)
	if who.Role == "" {
		return Identity{}, forbidden("you are in none of the groups that may log in here: ask an administrator to add you to one at the OpenID provider, or to give your group a role")
	}
	return who, nil
}

// email returns the address in lower case. It must be ASCII, for lower case makes
// one letter of several elsewhere, and so one person's address of another's.
func (p *Provider) email(c claims) (string, error) {
	email := c.text("email")
	if email == "" {
		return "", unauthorized(nil, "the provider did not give your email address: allow it when you are asked, or ask an administrator to add the scope email and an address to your account")
	}
	local, domain, _ := strings.Cut(email, "@")
	if local == "" || domain == "" || len(email) > maxEmail || !ascii(email) || strings.ContainsAny(email, " <>,;\"\\") || strings.Contains(domain, "@") {
		return "", unauthorized(nil, "the email address at the provider cannot be used here: it must be a plain ASCII address like name@example.com")
	}
	switch verified, given := c["email_verified"]; {
	case slices.Contains([]any{true, "true"}, verified): // some write it as text
	case !given || verified == nil:
		if !p.config.TrustEmail {
			return "", unauthorized(nil, "the provider does not say whether your email address is verified: ask an administrator to let it send email_verified, or to trust its addresses")
		}
	default:
		return "", unauthorized(nil, "your email address is not verified at the provider: verify it there, and begin again")
	}
	email = strings.ToLower(email)
	if _, domain, _ = strings.Cut(email, "@"); len(p.config.Domains) > 0 && !slices.Contains(p.config.Domains, domain) {
		return "", forbidden("addresses of %s may not log in here: use another account, or ask an administrator to allow the domain", domain)
	}
	return email, nil
}

// groups returns the groups of a claim that is a text, a list of texts, or absent.
func (p *Provider) groups(c claims) ([]string, error) {
	unreadable := unauthorized(nil, "the provider's claim %q holds no names of groups: ask an administrator to let it send a list of texts, or to name another claim", p.config.GroupsClaim)
	if c.leftOut(p.config.GroupsClaim) {
		return nil, unauthorized(nil, "you are in so many groups that the provider left them out: ask an administrator to let it send only those of this application, or its roles")
	}
	switch value := c.at(p.config.GroupsClaim).(type) {
	case nil:
		return nil, nil
	case string:
		return []string{value}, nil
	case []any:
		if len(value) > maxGroups {
			return nil, unauthorized(nil, "the provider sends more than %d groups: ask an administrator to let it send only those of this application", maxGroups)
		}
		groups := make([]string, len(value))
		for i, entry := range value {
			group, ok := entry.(string)
			if !ok {
				return nil, unreadable
			}
			groups[i] = group
		}
		return groups, nil
	}
	return nil, unreadable
}

// role returns the highest role of the groups, or the default; "" for none.
func (p *Provider) role(groups []string) cybervault.Role {
	var highest cybervault.Role
	for _, group := range groups {
		if role, ok := p.config.Roles[group]; ok && (highest == "" || role.AtLeast(highest)) {
			highest = role
		}
	}
	if highest == "" {
		return p.config.DefaultRole
	}
	return highest
}
