package cybervault

import (
	"net/url"
	"strconv"
	"strings"
)

// ParseProxy reads a webhook's proxy, "http://[user:password@]host:port" or the
// same with https://. Its errors are of CodeInvalid about "proxy" and never
// repeat the credentials.
func ParseProxy(raw string) (*url.URL, error) {
	const form = "use the form http://user:password@host:port, the credentials only where the proxy asks for them"
	u, err := url.Parse(raw)
	switch {
	case len(raw) > MaxURLBytes:
		return nil, Invalid("proxy", "is %d bytes long, more than %d", len(raw), MaxURLBytes)
	case err != nil:
		return nil, Invalid("proxy", "cannot be read as a URL: %s; write a character such as @, : or / of a password as %%40, %%3A or %%2F", form)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, Invalid("proxy", "begins with neither http:// nor https://: %s", form)
	case u.Hostname() == "":
		return nil, Invalid("proxy", "names no host: %s", form)
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "":
		return nil, Invalid("proxy", "goes on after the port: %s", form)
	}
	if port, err := strconv.ParseUint(u.Port(), 10, 16); err != nil || port == 0 {
		return nil, Invalid("proxy", "has no port from 1 to 65535: %s", form)
	}
	if password, _ := u.User.Password(); strings.Contains(u.User.Username(), ":") || hasControl(u.User.Username()) || hasControl(password) {
		return nil, Invalid("proxy", "has a control character in its credentials, or a colon in its user name")
	}
	return u, nil
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// ShowProxy is a proxy without its password.
func ShowProxy(raw string) string {
	u, err := ParseProxy(raw)
	if err != nil {
		return ""
	}
	head := u.Scheme + "://"
	if u.User != nil {
		head += url.User(u.User.Username()).String()
		if _, ok := u.User.Password(); ok {
			head += ":" + Masked
		}
		head += "@"
	}
	return head + u.Host
}

// KeepProxyPassword returns a proxy with the password of the stored one where
// its own is a mask, which must then be the same proxy and user: a password is
// never sent to another host because somebody typed its mask.
func KeepProxyPassword(raw, stored string) (string, error) {
	raw = strings.TrimSuffix(raw, "/")
	if raw == "" {
		return "", nil
	}
	u, err := ParseProxy(raw)
	if err != nil {
		return "", err
	}
	if password, _ := u.User.Password(); password != Masked {
		return raw, nil
	}
	if stored == "" || ShowProxy(raw) != ShowProxy(stored) {
		return "", Invalid("proxy", "has the password %q, which stands for one that is not shown, but there is none stored for this proxy and user: give the password", Masked)
	}
	return stored, nil
}
