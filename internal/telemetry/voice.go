package telemetry

import (
	"regexp"
	"strings"

	"github.com/cybervault/cybervault"
)

// Asterisk's lines about a client that may not. The address stands behind what
// the client says of itself, and the last of that form counts.
var (
	asteriskHead   = regexp.MustCompile(`^(?:(?:NOTICE|SECURITY|WARNING)\[\d+\](?:\[[\w-]+\])?:? )?(?:[\w/]+\.c(?::\d+)?(?: \w+)?: )?`)
	asteriskFailed = regexp.MustCompile(`^(?:Registration|Request(?: '\w+')?) from '(.*)' failed for '([0-9A-Fa-f.:\[\]]+)'(?: \([^()]*\))? - ([^']*)$`)
	asteriskName   = regexp.MustCompile(`sips?:([^@>;]{1,128})[@>;]`)
	asteriskEvent  = regexp.MustCompile(`^SecurityEvent="(\w+)",`)
	asteriskWho    = regexp.MustCompile(`AccountID="([^"]*)"`)
	asteriskFrom   = regexp.MustCompile(`,RemoteAddress="IPV[46]/\w+/([0-9A-Fa-f.:]+)/\d+"`)
)

// asterisk reads refused registrations and calls, and the events of its security
// log. One refusal may leave a line in each.
func asterisk(rec *cybervault.Record, message string) bool {
	line := message[len(asteriskHead.FindString(message)):]
	if m := asteriskFailed.FindStringSubmatch(line); m != nil {
		user := ""
		if name := asteriskName.FindStringSubmatch(m[1]); name != nil {
			user = name[1]
		}
		toldLogin(rec, serviceAsterisk, "registration", cybervault.OutcomeFailure, user, m[2])
		set(rec.Fields, "reason", m[3])
		if strings.HasPrefix(m[3], "No matching") {
			rec.Fields[cybervault.FieldUnknownUser] = "true"
		}
		return true
	}
	m := asteriskEvent.FindStringSubmatch(line)
	if m == nil {
		return false
	}
	outcome, user, from := "", "", ""
	switch m[1] {
	case "InvalidPassword", "ChallengeResponseFailed", "InvalidAccountID", "FailedACL":
		outcome = cybervault.OutcomeFailure
	case "SuccessfulAuth":
		outcome = cybervault.OutcomeSuccess
	}
	if who := asteriskWho.FindStringSubmatch(line); who != nil {
		user = strings.TrimSuffix(strings.TrimPrefix(who[1], "<"), ">")
	}
	if all := asteriskFrom.FindAllStringSubmatch(line, -1); len(all) > 0 {
		from = all[len(all)-1][1]
	}
	toldLogin(rec, serviceAsterisk, "security_event", outcome, user, from)
	set(rec.Fields, "security_event", m[1])
	if m[1] == "InvalidAccountID" {
		rec.Fields[cybervault.FieldUnknownUser] = "true"
	}
	return true
}
