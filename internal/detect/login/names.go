package login

import "time"

// roles are names that stand in every list of guesses and are no person's: the
// accounts of systems and programs, and those that standards name (RFC 2142).
var roles = func() map[string]bool {
	m := map[string]bool{}
	for _, name := range []string{"root", "toor", "admin", "administrator", "sysadmin", "test", "tester", "testuser", "guest", "user", "demo", "ftp", "ftpuser", "anonymous", "oracle", "postgres", "mysql",
		"mongodb", "redis", "hadoop", "tomcat", "jenkins", "git", "nagios", "zabbix", "ansible", "vagrant", "ubuntu", "debian", "centos", "ec2-user", "pi", "www", "www-data", "nginx", "apache",
		"backup", "operator", "info", "webmaster", "postmaster", "hostmaster", "mail", "scan", "scanner", "support", "default", "manager", "supervisor", "service", "dev", "deploy", "sa", "supportuser"} {
		m[name] = true
	}
	return m
}()

// enumeration finds names tried one after the other, which few attempts are enough
// for: a person has one name. Accounts that are known to exist do not count, nor
// do names of which one is a slip of another; and an office behind one address
// mostly gets in.
func (s *address) enumeration(within func(time.Duration) []attempt, newest time.Time) string {
	if len(s.Attempts) < EnumNames || len(s.Attempts) < SlowBetter*s.good(newest) {
		return ""
	}
	if names, _ := differing(within(EnumWindow)); names >= EnumNames {
		return BruteForce
	}
	w := within(RoleWindow)
	if names, known := differing(w); names < EnumNames || known < RoleNames {
		return ""
	}
	if newest.Sub(w[0].At) <= FastWindow {
		return BruteForce
	}
	return SlowBruteForce
}

// differing counts the names of which none is a slip of another, and those among
// them that are roles. It stops at as many as are asked for.
func differing(w []attempt) (names, known int) {
	if len(w) < EnumNames {
		return 0, 0
	}
	var seen [2 * maxRoleSeen]string
	for _, a := range w {
		if a.User == "" || a.Exists && !a.Unknown {
			continue
		}
		name := bare(a.User)
		slip := false
		for _, other := range seen[:names] {
			slip = slip || name == other || !roles[name] && misspelt(name, other)
		}
		if slip || names == len(seen) {
			continue
		}
		seen[names] = name
		names++
		if roles[name] {
			known++
		}
	}
	return names, known
}

// maxRoleSeen bounds the names that are compared with each other.
const maxRoleSeen = 8
