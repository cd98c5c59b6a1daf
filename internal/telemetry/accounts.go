package telemetry

import (
	"regexp"
	"strings"

	"github.com/cybervault/cybervault"
)

// sudo reads "alice : TTY=pts/0 ; PWD=/home/alice ; USER=root ; COMMAND=/bin/ls",
// before whose pairs sudo says why it refused. The names are sudo's own.
func sudo(rec *cybervault.Record, message string) bool {
	user, rest, ok := strings.Cut(strings.TrimLeft(message, " "), " : ")
	if !ok || strings.ContainsAny(user, " =:") {
		return false
	}
	f := rec.Fields
	f[cybervault.FieldUser] = user
	f[cybervault.FieldOutcome] = cybervault.OutcomeSuccess
	for rest != "" {
		part := rest
		// The command is the last, and may hold what parts the others.
		if !strings.HasPrefix(rest, "COMMAND=") {
			part, rest, _ = strings.Cut(rest, " ; ")
		} else {
			rest = ""
		}
		name, value, pair := strings.Cut(part, "=")
		switch {
		case pair && name == strings.ToUpper(name) && fieldName(name):
			f[name] = value
		case part != "":
			f["reason"] = part
			f[cybervault.FieldOutcome] = cybervault.OutcomeFailure
		}
	}
	set(f, "CommandLine", f["COMMAND"])
	return true
}

// pamLine is a line of a PAM module: "pam_unix(su:auth): authentication failure; …".
var pamLine = regexp.MustCompile(`^(pam_\w+)\(([^:()]+):(\w+)\): (.*)$`)

var (
	pamOpened = regexp.MustCompile(`^session (opened|closed) for user ([^\s(]+)`)
	pamUser   = regexp.MustCompile(`\b(?:for user|user) [\['"]?([^\s'"\]()]+)`)
)

// pam reads the lines of PAM's modules, whatever program they speak for.
func pam(rec *cybervault.Record, message string) bool {
	m := pamLine.FindStringSubmatch(message)
	if m == nil {
		return false
	}
	f := rec.Fields
	f["pam_module"], f["pam_service"], f["pam_type"] = m[1], m[2], m[3]
	text := m[4]
	if opened := pamOpened.FindStringSubmatch(text); opened != nil {
		f[cybervault.FieldEvent] = "session_" + opened[1]
		f[cybervault.FieldUser] = opened[2]
		if _, by, ok := strings.Cut(text, " by "); ok {
			by, _, _ = strings.Cut(by, "(")
			set(f, "by_user", strings.TrimSpace(by))
		}
		return true
	}
	lower := strings.ToLower(text)
	switch {
	case strings.HasPrefix(lower, "authentication failure"), strings.Contains(lower, "conversation failed"), strings.Contains(lower, "auth could not identify password"),
		strings.Contains(lower, "access denied"), strings.Contains(lower, "account expired"), strings.Contains(lower, "maximum number of tries"):
		f[cybervault.FieldOutcome] = cybervault.OutcomeFailure
	case strings.Contains(lower, "user unknown"):
		f[cybervault.FieldOutcome] = cybervault.OutcomeFailure
		f[cybervault.FieldUnknownUser] = "true"
	}
	pamPairs(f, text)
	if f[cybervault.FieldUser] == "" {
		if m := pamUser.FindStringSubmatch(text); m != nil && f[cybervault.FieldUnknownUser] == "" {
			f[cybervault.FieldUser] = m[1]
		}
	}
	return true
}

// pamList reads a failure that PAM tells of without saying that it is PAM, as
// programs with their own log and older modules do.
func pamList(rec *cybervault.Record, message string) bool {
	_, list, ok := strings.Cut(message, "authentication failure; ")
	if !ok || !strings.Contains(list, "rhost=") {
		return false
	}
	rec.Fields[cybervault.FieldOutcome] = cybervault.OutcomeFailure
	pamPairs(rec.Fields, list)
	return true
}

// pamPairs reads "logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.7  user=root".
// The client chooses ruser, which may hold spaces and a false rhost: the last
// rhost counts. The user stands behind it, and is an account that there is.
func pamPairs(f map[string]string, list string) {
	at := strings.LastIndex(list, "rhost=")
	if at < 0 {
		return
	}
	host, rest, _ := strings.Cut(list[at+len("rhost="):], " ")
	if ip, ok := address(host); ok {
		f[cybervault.FieldSourceIP] = ip
	} else {
		set(f, cybervault.FieldSourceName, host)
	}
	if _, user, ok := strings.Cut(" "+rest, " user="); ok {
		set(f, cybervault.FieldUser, strings.TrimSpace(user))
	}
	pairs(list[:at], func(name, value string, _ bool) {
		if name == "ruser" || name == "tty" || name == "uid" || name == "logname" {
			set(f, "pam_"+name, value)
		}
	})
	if f[cybervault.FieldUser] == "" {
		set(f, cybervault.FieldUser, f["pam_ruser"])
	}
}

// form is one form of a program's message: its named groups become fields.
type form struct {
	event   string
	outcome string
	re      *regexp.Regexp
}

// programForms are the forms of programs that change accounts, let people in or
// run what was planned, by the name they log under.
var programForms = map[string][]form{
	"su": {
		{"su", cybervault.OutcomeFailure, regexp.MustCompile(`^FAILED [sS][uU] (?:for |\(to )(?P<user>[^\s)]+)(?:\)| by) (?P<by_user>\S+)`)},
		{"su", cybervault.OutcomeFailure, regexp.MustCompile(`^BAD SU (?P<by_user>\S+) to (?P<user>\S+)`)},
		{"su", cybervault.OutcomeSuccess, regexp.MustCompile(`^Successful su for (?P<user>\S+) by (?P<by_user>\S+)`)},
		{"su", cybervault.OutcomeSuccess, regexp.MustCompile(`^\(to (?P<user>[^\s)]+)\) (?P<by_user>\S+) on `)},
		{"su", cybervault.OutcomeSuccess, regexp.MustCompile(`^\+ \S+ (?P<by_user>[^\s:]+):(?P<user>\S+)$`)},
		{"su", cybervault.OutcomeFailure, regexp.MustCompile(`^- \S+ (?P<by_user>[^\s:]+):(?P<user>\S+)$`)},
	},
	"useradd": {
		{"user_added", "", regexp.MustCompile(`^new user: name=(?P<user>[^,]+), UID=(?P<uid>\d+), GID=(?P<gid>\d+), home=(?P<home>[^,]*), shell=(?P<shell>[^,]*)`)},
		{"group_added", "", regexp.MustCompile(`^new group: name=(?P<group>[^,]+), GID=(?P<gid>\d+)`)},
		{"group_changed", "", regexp.MustCompile(`^add '(?P<user>[^']+)' to (?:shadow )?group '(?P<group>[^']+)'`)},
	},
	"groupadd": {{"group_added", "", regexp.MustCompile(`^(?:new group: name=|group added to \S+ name=)(?P<group>[^,\s]+)`)}},
	"userdel":  {{"user_removed", "", regexp.MustCompile(`^delete user '(?P<user>[^']+)'`)}},
	"usermod": {
		{"group_changed", "", regexp.MustCompile(`^add '(?P<user>[^']+)' to (?:shadow )?group '(?P<group>[^']+)'`)},
		{"group_changed", "", regexp.MustCompile(`^delete '(?P<user>[^']+)' from (?:shadow )?group '(?P<group>[^']+)'`)},
		{"user_changed", "", regexp.MustCompile(`^(?:change|lock|unlock) user '(?P<user>[^']+)'`)},
	},
	"gpasswd": {{"group_changed", "", regexp.MustCompile(`^user (?P<user>\S+) (?:added|removed) by (?P<by_user>\S+) (?:to|from) group (?P<group>\S+)`)}},
	"passwd":  {{"password_changed", "", regexp.MustCompile(`^password for '?(?P<user>[^\s']+)'? changed by '?(?P<by_user>[^\s']+)'?`)}},
	"chage":   {{"user_changed", "", regexp.MustCompile(`^changed password expiry for (?P<user>\S+)`)}},
	"chsh":    {{"user_changed", "", regexp.MustCompile(`^changed user '(?P<user>[^']+)' shell to '(?P<shell>[^']+)'`)}},
	"systemd-logind": {
		{"session_opened", "", regexp.MustCompile(`^New session '?(?P<session>[^\s']+)'? of user '?(?P<user>[^\s'.]+)`)},
		{"session_closed", "", regexp.MustCompile(`^(?:Removed s|S)ession (?P<session>[^\s.]+)`)},
	},
	"cron": {{"cron_command", "", regexp.MustCompile(`^\((?P<user>[^)]+)\) CMD \((?P<CommandLine>.*)\)$`)}},
	"crontab": {
		{"crontab_changed", "", regexp.MustCompile(`^\((?P<user>[^)]+)\) (?:BEGIN EDIT|END EDIT|REPLACE|DELETE) \((?P<target_user>[^)]+)\)$`)},
		{"crontab_listed", "", regexp.MustCompile(`^\((?P<user>[^)]+)\) LIST \((?P<target_user>[^)]+)\)$`)},
	},
	"login": {
		{"login", cybervault.OutcomeFailure, regexp.MustCompile(`^FAILED LOGIN \(?\d+\)? (?:on '[^']*' )?(?:from '?(?P<src>[^\s']+)'? )?FOR '?(?P<user>[^']*?)'?, `)},
		{"login", cybervault.OutcomeSuccess, regexp.MustCompile(`^(?P<user>ROOT) LOGIN `)},
		{"login", cybervault.OutcomeSuccess, regexp.MustCompile(`^LOGIN ON \S+ BY (?P<user>\S+)(?: FROM (?P<src>\S+))?`)},
	},
}

// readForms sets the fields of the first form that a message is of.
func readForms(rec *cybervault.Record, forms []form, message string) bool {
	f := rec.Fields
	for i := range forms {
		m := forms[i].re.FindStringSubmatch(message)
		if m == nil {
			continue
		}
		for g, name := range forms[i].re.SubexpNames() {
			switch {
			case name == "src":
				if ip, ok := address(m[g]); ok {
					f[cybervault.FieldSourceIP] = ip
				} else {
					set(f, cybervault.FieldSourceName, m[g])
				}
			case name != "":
				set(f, name, m[g])
			}
		}
		set(f, cybervault.FieldEvent, forms[i].event)
		set(f, cybervault.FieldOutcome, forms[i].outcome)
		return true
	}
	return false
}
