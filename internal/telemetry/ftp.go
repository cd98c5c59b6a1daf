package telemetry

import (
	"regexp"

	"github.com/cybervault/cybervault"
)

// vsftpdLogin is vsftpd's own, in its own log or the system's.
var vsftpdLogin = regexp.MustCompile(`^(?:\[pid (\d+)\] )?\[([^\]]*)\] (OK|FAIL) LOGIN: Client "([^"]+)"`)

func vsftpd(rec *cybervault.Record, message string) bool {
	m := vsftpdLogin.FindStringSubmatch(message)
	if m == nil {
		return false
	}
	outcome := cybervault.OutcomeFailure
	if m[3] == "OK" {
		outcome = cybervault.OutcomeSuccess
	}
	toldLogin(rec, serviceVsftpd, "login", outcome, m[2], m[4])
	set(rec.Fields, cybervault.FieldPID, m[1])
	return true
}

// The lines of ProFTPD and Pure-FTPd name the client before all that it says.
var (
	proftpdLine    = regexp.MustCompile(`^\S+ \([^\s\[\]]*\[([0-9A-Fa-f.:]+)\]\):? (?:- )?(.*)$`)
	proftpdUser    = regexp.MustCompile(`^USER (.*?)(?:: (no such user) found from .*| \(Login failed\): .*|: (Login successful)\..*)$`)
	proftpdRoot    = regexp.MustCompile(`(?i)^SECURITY VIOLATION: root login attempted`)
	pureFTPdFailed = regexp.MustCompile(`^\([^()\s]*@([0-9A-Fa-f.:]+)\) \[\w+\] (?:Authentication failed for user \[(.*)\]|(.*) is now logged in)$`)
)

func proftpd(rec *cybervault.Record, message string) bool {
	line := proftpdLine.FindStringSubmatch(message)
	if line == nil {
		return false
	}
	if proftpdRoot.MatchString(line[2]) {
		toldLogin(rec, serviceProFTPD, "login", cybervault.OutcomeFailure, "root", line[1])
		return true
	}
	m := proftpdUser.FindStringSubmatch(line[2])
	if m == nil {
		toldLogin(rec, serviceProFTPD, "other", "", "", line[1])
		return true
	}
	outcome := cybervault.OutcomeFailure
	if m[3] != "" {
		outcome = cybervault.OutcomeSuccess
	}
	toldLogin(rec, serviceProFTPD, "login", outcome, m[1], line[1])
	if m[2] != "" {
		rec.Fields[cybervault.FieldUnknownUser] = "true"
	}
	return true
}

func pureFTPd(rec *cybervault.Record, message string) bool {
	m := pureFTPdFailed.FindStringSubmatch(message)
	if m == nil {
		return false
	}
	outcome := cybervault.OutcomeFailure
	if m[3] != "" {
		outcome = cybervault.OutcomeSuccess
	}
	toldLogin(rec, servicePureFTPd, "login", outcome, m[2]+m[3], m[1])
	return true
}
