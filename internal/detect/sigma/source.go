package sigma

import "strings"

// A rule's log source names what its records are, in up to three parts, and takes
// all records for a part it does not name. A record's source may be narrower
// than a rule's: these say what takes it in.

// categoryParents are categories that take in others.
var categoryParents = map[string]string{
	"registry_add": "registry_event", "registry_delete": "registry_event", "registry_set": "registry_event", "registry_rename": "registry_event",
}

// authPrograms are those whose lines go to auth.log, the service auth.
var authPrograms = map[string]bool{
	"sshd": true, "sudo": true, "su": true, "login": true, "pam": true, "systemd-logind": true, "polkitd": true, "pkexec": true, "gdm-password": true,
	"useradd": true, "usermod": true, "userdel": true, "groupadd": true, "groupdel": true, "passwd": true, "chage": true, "chfn": true, "chsh": true,
}

// ownLogs are services of Linux that do not write to the system log.
var ownLogs = map[string]bool{"": true, "auditd": true, "sysmon": true, "falco": true, "osquery": true}

// programServices are services that Sigma names otherwise than their programs.
var programServices = map[string]string{
	"crond": "cron", "crontab": "cron", "anacron": "cron", "clamd": "clamav", "freshclam": "clamav", "clamscan": "clamav", "guacd": "guacamole",
}

// categories lists what a rule may say of a record's category: nothing, it, or
// what takes it in.
func categories(category string) []string {
	return parts(strings.ToLower(category), categoryParents[strings.ToLower(category)])
}

func products(product string) []string { return parts(strings.ToLower(product)) }

func services(product, service string) []string {
	service = strings.ToLower(service)
	out := parts(service)
	if strings.EqualFold(product, "linux") {
		out = append(out, parts(programServices[service])[1:]...)
		if authPrograms[service] {
			out = append(out, "auth")
		}
		if !ownLogs[service] && service != "syslog" {
			out = append(out, "syslog")
		}
	}
	return out
}

// parts is no name, and those that are not empty.
func parts(names ...string) []string {
	out := []string{""}
	for _, n := range names {
		if n != "" {
			out = append(out, n)
		}
	}
	return out
}

// route returns the buckets whose rules are for a record of this source.
func (e *Engine) route(category, product, service string) []*bucket {
	var out []*bucket
	for _, c := range categories(category) {
		for _, p := range products(product) {
			for _, s := range services(product, service) {
				if b := e.buckets[LogSource{Category: c, Product: p, Service: s}]; b != nil {
					out = append(out, b)
				}
			}
		}
	}
	return out
}
