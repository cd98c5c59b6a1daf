package telemetry

import (
	"regexp"
	"strings"

	"github.com/cybervault/cybervault"
)

// The events of mail servers. One try leaves a line where it came in and another
// where the password was looked up; who counts tries must not add them up.
const (
	eventMailLogin  = "mail_login"  // told by the service that the client spoke to
	eventMailLookup = "mail_lookup" // told by Dovecot's service that checks passwords
	eventMailReject = "mail_rejected"
)

// Dovecot's lines. The state stands before the parts, among which the client's
// name is the first; in the lines of its databases the name has none of the
// characters that end it.
var (
	dovecotHead   = regexp.MustCompile(`^(?:(?:imap|pop3|managesieve|submission|lmtp|sieve)(?:-urlauth)?-login: )?(?:(?:Info|Warning|Error): )?`)
	dovecotFailed = regexp.MustCompile(`^[^<>=]*\(auth failed, (\d+) attempts?(?: in \d+ secs)?\)(?: \([\w-]+\))?: (.*)$`)
	dovecotPassed = regexp.MustCompile(`^Login: (user=<.*)$`)
	dovecotLookup = regexp.MustCompile(`^(?:dovecot: )?(?:auth(?:-worker)?(?:\([\w-]+\))?: )?(?:(?:Info|Warning|Error): )?(?:conn unix:\S+ \([^)]*\): auth-worker<\d+>: )?` +
		`[\w-]{2,20}\(([^\s,()<>]{1,256}),([0-9A-Fa-f.:]+)(?:,(?:master=[^,()]*,?|<[^>]*>)?)*\): (.*)$`)
	dovecotNoUser  = regexp.MustCompile(`(?i)^(?:unknown user|user unknown|pam_authenticate\(\) failed: user (?:not known|unknown))`)
	dovecotRefused = regexp.MustCompile(`(?i)^(?:password mismatch|invalid credentials|invalid password|pam_authenticate\(\) failed: (?:authentication failure|permission denied|authentication error)|given password)`)
)

// dovecot reads the lines of Dovecot's login services and of its databases.
func dovecot(rec *cybervault.Record, message string) bool {
	line := message[len(dovecotHead.FindString(message)):]
	if m := dovecotFailed.FindStringSubmatch(line); m != nil {
		dovecotParts(rec, m[2], cybervault.OutcomeFailure)
		times(rec.Fields, m[1])
		return true
	}
	if m := dovecotPassed.FindStringSubmatch(line); m != nil {
		dovecotParts(rec, m[1], cybervault.OutcomeSuccess)
		return true
	}
	m := dovecotLookup.FindStringSubmatch(message)
	if m == nil {
		// What is left is of a client that did not come to try, or of no login.
		return strings.Contains(line, "rip=")
	}
	outcome := ""
	unknown := dovecotNoUser.MatchString(m[3])
	if unknown || dovecotRefused.MatchString(m[3]) {
		outcome = cybervault.OutcomeFailure
	}
	toldLogin(rec, serviceDovecot, eventMailLookup, outcome, m[1], m[2])
	if unknown {
		rec.Fields[cybervault.FieldUnknownUser] = "true"
	}
	return true
}

// dovecotParts reads "user=<bob>, method=PLAIN, rip=192.0.2.7, lip=…".
func dovecotParts(rec *cybervault.Record, parts, outcome string) {
	from, user := "", ""
	if i := strings.LastIndex(" "+parts, " rip="); i >= 0 {
		from = parts[i+len("rip="):]
		from = from[:len(from)-len(strings.TrimLeft(from, "0123456789abcdefABCDEF.:"))]
	}
	if rest, ok := strings.CutPrefix(parts, "user=<"); ok {
		user, _, _ = strings.Cut(rest, ">, ")
		user = strings.TrimSuffix(user, ">")
	}
	toldLogin(rec, serviceDovecot, eventMailLogin, outcome, user, from)
	if _, method, ok := strings.Cut(parts, " method="); ok {
		method, _, _ = strings.Cut(method, ",")
		set(rec.Fields, cybervault.FieldMethod, method)
	}
}

// Postfix's lines. A client is "name[address]", with its port from postscreen. The
// name is its domain's, and has no brackets.
var (
	postfixSASL   = regexp.MustCompile(`^warning: [^\s\[\]]*\[([0-9A-Fa-f.:]+)\](?::\d+)?: SASL ([\w-]+) authentication failed: ?(.*?)(?:, sasl_username=(.*))?$`)
	postfixClient = regexp.MustCompile(`^[0-9A-Za-z]+: client=[^\s\[\]]*\[([0-9A-Fa-f.:]+)\](?::\d+)?, sasl_method=([\w-]+), sasl_username=([^,]*)`)
	postfixReject = regexp.MustCompile(`^[0-9A-Za-z]+: (?:milter-)?reject: (\w+) from [^\s\[\]]*\[([0-9A-Fa-f.:]+)\](?::\d+)?: (\d{3}) (?:(\d\.\d+\.\d+) )?(.*)$`)
	postfixOther  = regexp.MustCompile(`^(?:warning: )?(too many errors|lost connection|improper command pipelining|non-SMTP command|SSL_accept error|connect|disconnect|timeout|hostname .{1,200} does not resolve to address)(?: after \w+)?(?: \([^)]*\))? from [^\s\[\]]*\[([0-9A-Fa-f.:]+)\]`)
)

// notTried are reasons of Postfix that say nothing of a password.
var notTried = []string{"connection lost", "temporary authentication", "no mechanism available", "invalid authentication mechanism", "aborted"}

// postfix reads the lines of Postfix that name a client. All others are no
// logins, whatever the words that a client put into them.
func postfix(rec *cybervault.Record, message string) bool {
	f := rec.Fields
	if m := postfixSASL.FindStringSubmatch(message); m != nil {
		outcome, reason := cybervault.OutcomeFailure, strings.ToLower(m[3])
		for _, part := range notTried {
			if strings.Contains(reason, part) {
				outcome = ""
			}
		}
		toldLogin(rec, servicePostfix, eventMailLogin, outcome, m[4], m[1])
		set(f, cybervault.FieldMethod, m[2])
		set(f, "reason", m[3])
		return true
	}
	if m := postfixClient.FindStringSubmatch(message); m != nil {
		toldLogin(rec, servicePostfix, eventMailLogin, cybervault.OutcomeSuccess, m[3], m[1])
		set(f, cybervault.FieldMethod, m[2])
		return true
	}
	if m := postfixReject.FindStringSubmatch(message); m != nil {
		toldLogin(rec, servicePostfix, eventMailReject, "", "", m[2])
		set(f, "command", m[1])
		set(f, "smtp_code", m[3])
		set(f, "smtp_status", m[4])
		set(f, "reason", m[5])
		return true
	}
	if m := postfixOther.FindStringSubmatch(message); m != nil {
		toldLogin(rec, servicePostfix, strings.ReplaceAll(strings.ToLower(m[1]), " ", "_"), "", "", m[2])
	}
	return true
}

// Exim's lines. The client is "name (greeting) [address]:port", of which the
// greeting is its own; it has no spaces.
var (
	eximFailed = regexp.MustCompile(`^(?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d )?(?:\[\d+\] )?(\w+) authenticator failed for (?:[^\s()\[\]]+ )?(?:\(\S*\) )?\[([0-9A-Fa-f.:]+)\](?::\d+)?(?: [A-Z]\w*=\S+)*: 5\d\d Incorrect authentication data(?: \(set_id=(.*)\))?$`)
	eximPassed = regexp.MustCompile(`^(?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d )?(?:\[\d+\] )?\S+ <= \S+ H=(?:[^\s()\[\]]+ )?(?:\(\S*\) )?\[([0-9A-Fa-f.:]+)\](?::\d+)? (?:[A-Z]\w*=\S+ )*?A=([\w-]+):(\S+)`)
)

func exim(rec *cybervault.Record, message string) bool {
	if m := eximFailed.FindStringSubmatch(message); m != nil {
		toldLogin(rec, serviceExim, eventMailLogin, cybervault.OutcomeFailure, m[3], m[2])
		set(rec.Fields, cybervault.FieldMethod, m[1])
		return true
	}
	if m := eximPassed.FindStringSubmatch(message); m != nil {
		toldLogin(rec, serviceExim, eventMailLogin, cybervault.OutcomeSuccess, m[3], m[1])
		set(rec.Fields, cybervault.FieldMethod, m[2])
		return true
	}
	return false
}
