package telemetry

import (
	"regexp"
	"slices"
	"strings"

	"github.com/cybervault/cybervault"
)

// entry reads the message of a program whose lines are not read in depth: what
// it says of accounts, packets and logins.
func entry(rec *cybervault.Record, program, message string) {
	switch name := strings.ToLower(program); {
	case name == "sudo" && sudo(rec, message):
		rec.Service = "sudo"
	case serviceEntry(rec, name, message):
	case strings.Contains(message, "pam_") && pam(rec, message), pamList(rec, message):
	case name == "crond" || name == "cron":
		rec.Service = "cron"
		readForms(rec, programForms["cron"], message)
	case readForms(rec, programForms[name], message):
	case name == "kernel" || strings.Contains(message, " SRC="):
		packet(rec, message)
	case strings.HasPrefix(message, "CEF:") || strings.HasPrefix(message, "LEEF:"):
		// As it stands, the head is of the sender that passed it on.
		if inner := header(message); inner != nil {
			inner.Time, inner.Host = rec.Time, rec.Host
			*rec = *inner
		}
	default:
		loginWords(rec, message)
	}
}

// packet reads what iptables, nftables and ufw log of a packet:
// "[UFW BLOCK] IN=eth0 OUT= MAC=… SRC=192.0.2.7 DST=… PROTO=TCP SPT=4711 DPT=22 …".
func packet(rec *cybervault.Record, message string) {
	at := strings.Index(message, "IN=")
	if at < 0 || !strings.Contains(message, " SRC=") || !strings.Contains(message, " PROTO=") {
		return
	}
	f := rec.Fields
	pairs(message[at:], func(name, value string, _ bool) {
		if _, told := f[name]; !told && value != "" {
			f[name] = value // an ICMP error quotes another packet behind its own
		}
	})
	rec.Category = "firewall"
	set(f, cybervault.FieldSourceIP, ipOf(f, "SRC"))
	set(f, "dst_ip", ipOf(f, "DST"))
	set(f, cybervault.FieldSourcePort, f["SPT"])
	set(f, "dst_port", f["DPT"])
	set(f, "protocol", strings.ToLower(f["PROTO"]))
	prefix := strings.ToUpper(message[:at])
	for _, word := range []string{"BLOCK", "DROP", "DENY", "REJECT", "ALLOW", "ACCEPT"} {
		if strings.Contains(prefix, word) {
			f[fieldAction] = strings.ToLower(word)
			break
		}
	}
}

// What programs say of a login that failed, or went well. They are many and none
// has a standard; the words are the ones that their authors choose, mostly.
var (
	loginFailed = regexp.MustCompile(`(?i)\b(?:auth(?:entication|enticate|orization)?|log-?in|logon|sign-?in|password|passwd|sasl)\b[^:;]{0,80}\b(?:fail(?:ed|ure|s)?|errors?|denied|refused|rejected|incorrect|invalid|mismatch|unsuccessful|aborted|wrong|not accepted)\b` +
		`|\b(?:fail(?:ed|ure)?|invalid|incorrect|bad|wrong|unsuccessful|denied|unknown|illegal|rejected)\b[^:;]{0,30}\b(?:auth\w*|log-?in|logon|sign-?in|password|passwd|credentials?|user ?name|user|account)\b` +
		`|\b(?:auth_?fail(?:ed|ure)?|access denied for user|no such user|user unknown|non-existent login|user not found|password verification failed|not authenticated|can't find user|password does(?:n't| not) match|invalid (?:admin token|totp|2fa|otp)|non-?existent user|user \S{1,64} not found|user(?:name)? ["'<\[(][^"'>\])]{0,64}["'>\])] (?:was |is )?(?:not found|unknown)|does not exist in the user)\b`)
	loginWell = regexp.MustCompile(`(?i)\b(?:accepted (?:password|publickey|login)|(?:log-?in|logon|authentication|password auth) (?:ok|success(?:ful|fully|eeded)?|succeeded|accepted)|OK LOGIN|(?:successful|successfully) (?:log-?in|logged|auth\w*)|logged in)\b|^(?:\w+-)?login: Login:|\bpeer connection initiated\b`)
	loginUser = regexp.MustCompile(`(?i)\b(?:login(?:=| as )|(?:user(?:name)?|account|acct|sasl_username)\s?(?:=|:|\s)\s?(?:name\s)?)(?:<([^>]*)>|'([^']*)'|"([^"]*)"|\[([^\]]*)\]|([^\s,;:'"<>()\[\]]+))`)
	loginFrom = regexp.MustCompile(`(?i)(?:^|[^\w])(?:from|by|rhost|rip|client|remote|host|ip|addr|address|peer|src|srcip|ipaddr|tcpwrapper)(?:=|:|\s|,)*?(?:ip |host |address |addr |user |peer )?(?:[\w.-]*[\[(<'"]+)?((?:\d{1,3}\.){3}\d{1,3}|[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:.]{2,})`)
	loginAddr = regexp.MustCompile(`(?:^|[\s\[(<'"=/])((?:\d{1,3}\.){3}\d{1,3}|[0-9A-Fa-f]{1,4}:[0-9A-Fa-f:]*::?[0-9A-Fa-f:.]*)(?:$|[\s\])>'",;:/])`)
)

// notUsers are words that follow "user" or "login" and name nobody.
var notUsers = map[string]bool{"attempt": true, "attempts": true, "authentication": true, "denied": true, "error": true, "failed": true, "failure": true, "from": true, "incorrect": true, "is": true, "name": true,
	"not": true, "password": true, "unknown": true, "for": true, "on": true, "by": true, "was": true, "has": true, "in": true, "aborted": true, "invalid": true, "method": true, "with": true, "at": true, "to": true, "logged": true, "does": true, "rejected": true, "or": true, "and": true,
	"agent": true, "id": true, "input": true, "data": true, "session": true, "request": true, "account": true, "accounts": true, "users": true, "user": true}

// loginStems are parts of which each of the messages sought has one. They cost a
// fraction of the patterns.
var loginStems = []string{"fail", "invalid", "incorrect", "denied", "refused", "reject", "mismatch", "unsuccessful", "abort", "wrong", "accept", "error", "bad", "unknown", "illegal", "no such",
	"not found", "exist", "success", "ok", "logged in", "login:", "succeeded", "initiated", "not authenticated", "can't find", "match", "nonexistent"}

func mayTellLogin(message string) bool {
	message = strings.ToLower(message)
	return slices.ContainsFunc(loginStems, func(part string) bool { return strings.Contains(message, part) })
}

// loginWords sets the outcome, the account and the address of a message that
// speaks of a login. Where it names several addresses behind such words, the last
// counts: what a client chose stands before it.
func loginWords(rec *cybervault.Record, message string) {
	if len(message) > 4096 {
		message = message[:4096]
	}
	f := rec.Fields
	switch {
	case f[cybervault.FieldOutcome] != "":
	case !mayTellLogin(message):
		return
	case loginFailed.MatchString(message):
		f[cybervault.FieldOutcome] = cybervault.OutcomeFailure
	case loginWell.MatchString(message):
		f[cybervault.FieldOutcome] = cybervault.OutcomeSuccess
	default:
		return
	}
	if f[cybervault.FieldUser] == "" {
		for _, m := range loginUser.FindAllStringSubmatch(message, 8) {
			name := strings.TrimRight(m[1]+m[2]+m[3]+m[4]+m[5], ".")
			if name == "" || notUsers[strings.ToLower(name)] {
				continue
			}
			f[cybervault.FieldUser] = name
			break
		}
	}
	if f[cybervault.FieldSourceIP] != "" {
		return
	}
	for _, re := range []*regexp.Regexp{loginFrom, loginAddr} {
		for _, m := range slices.Backward(re.FindAllStringSubmatch(message, 16)) {
			text := strings.TrimRight(m[1], ":.")
			if !strings.HasPrefix(text, "::") {
				text = strings.TrimPrefix(text, ":")
			}
			if ip, ok := address(text); ok {
				f[cybervault.FieldSourceIP] = ip
				return
			}
		}
	}
}
