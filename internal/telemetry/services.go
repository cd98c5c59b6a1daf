package telemetry

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/cybervault/cybervault"
)

// The services whose logins are read by the form of their lines, not by words.
const (
	serviceAsterisk = "asterisk"
	serviceAuthelia = "authelia"
	serviceDovecot  = "dovecot"
	serviceExim     = "exim"
	serviceHestia   = "hestia"
	servicePostfix  = "postfix"
	serviceProFTPD  = "proftpd"
	serviceProxmox  = "proxmox"
	servicePureFTPd = "pure-ftpd"
	serviceSFTPGo   = "sftpgo"
	serviceVsftpd   = "vsftpd"
)

// serviceEntry reads a line of the system log by a service whose forms are known,
// and reports whether it was one. What a client chose (names, greetings) stands
// where it cannot pass for the address.
func serviceEntry(rec *cybervault.Record, program, message string) bool {
	switch {
	case strings.HasPrefix(program, "postfix"):
		return postfix(rec, message)
	case program == "dovecot", program == "auth", program == "auth-worker", strings.HasPrefix(program, "dovecot-"), strings.HasSuffix(program, "-login"):
		return dovecot(rec, message)
	case strings.HasPrefix(program, "pvedaemon"), strings.HasPrefix(program, "pveproxy"), strings.HasPrefix(program, "pmgdaemon"), strings.HasPrefix(program, "pmgproxy"),
		strings.HasPrefix(program, "proxmox-"):
		return proxmox(rec, message)
	case program == "vsftpd":
		return vsftpd(rec, message)
	case program == "proftpd":
		return proftpd(rec, message)
	case program == "pure-ftpd":
		return pureFTPd(rec, message)
	case strings.HasPrefix(program, "exim"):
		return exim(rec, message)
	case program == "asterisk", program == "security", program == "notice", program == "warning":
		return asterisk(rec, message)
	case program == "authelia":
		return authelia(rec, message)
	}
	return false
}

// plainService reads a line of a service that writes its own log: a time, and
// what follows it.
func plainService(rec *cybervault.Record, message string) bool {
	return proxmox(rec, message) || vsftpd(rec, message) || hestia(rec, message) || exim(rec, message) || asterisk(rec, message)
}

// loggedService reads a record in pairs or in JSON of a service whose fields are
// known.
func loggedService(rec *cybervault.Record) bool {
	f := rec.Fields
	message := first(f, cybervault.FieldMessage, "msg")
	if !authelia(rec, message) && !sftpgo(rec, message) {
		return false
	}
	rec.Product, rec.Category = rec.Service, "" // an entry of Authelia's has a method and a path, but is no access log's
	return true
}

// toldLogin sets what a service's line told of a login.
func toldLogin(rec *cybervault.Record, service, event, outcome, user, from string) {
	f := rec.Fields
	rec.Service = service
	if rec.Product == "" {
		rec.Product = "linux"
	}
	f[cybervault.FieldEvent] = event
	set(f, cybervault.FieldOutcome, outcome)
	set(f, cybervault.FieldUser, user)
	if ip, ok := address(from); ok {
		f[cybervault.FieldSourceIP] = ip
	}
}

// proxmoxFailure is what Proxmox VE, Mail Gateway and Backup Server write. The
// address stands before the name, which the client chose.
var (
	proxmoxFailure = regexp.MustCompile(`^authentication failure; rhost=(\S+) user=(.*?)(?: msg=(.*))?$`)
	proxmoxSuccess = regexp.MustCompile(`^(?:<[^>]*> )?successful auth for user '([^']*)'`)
)

func proxmox(rec *cybervault.Record, message string) bool {
	if m := proxmoxFailure.FindStringSubmatch(message); m != nil {
		toldLogin(rec, serviceProxmox, "login", cybervault.OutcomeFailure, m[2], m[1])
		set(rec.Fields, "reason", m[3])
		if strings.HasPrefix(m[3], "no such user") {
			rec.Fields[cybervault.FieldUnknownUser] = "true"
		}
		return true
	}
	if m := proxmoxSuccess.FindStringSubmatch(message); m != nil {
		toldLogin(rec, serviceProxmox, "login", cybervault.OutcomeSuccess, m[1], "")
		return true
	}
	return false
}

// hestiaLogin is a line of the auth.log of HestiaCP and VestaCP, behind its time.
var hestiaLogin = regexp.MustCompile(`^([^\s:]{1,64}) ([0-9A-Fa-f.:]+) (failed to log ?in|(?:successfully )?logged in)$`)

func hestia(rec *cybervault.Record, message string) bool {
	m := hestiaLogin.FindStringSubmatch(message)
	if m == nil {
		return false
	}
	if _, ok := address(m[2]); !ok {
		return false
	}
	outcome := cybervault.OutcomeSuccess
	if strings.HasPrefix(m[3], "failed") {
		outcome = cybervault.OutcomeFailure
	}
	toldLogin(rec, serviceHestia, "login", outcome, m[1], m[2])
	return true
}

// What Authelia says of a login. It quotes the name, and its fields tell the
// address. Of a name that nobody has it says so, in one of two lines.
var (
	autheliaFailed  = regexp.MustCompile(`^Unsuccessful (\w[\w ]{0,30}) authentication attempt by user '(.*?)'(?: and they are banned until .*|:? ?(.*))$`)
	autheliaUnknown = regexp.MustCompile(`^Error occurred getting details for user with username input '(.*)' which usually indicates they do not exist$`)
	autheliaPassed  = regexp.MustCompile(`^Successful (\w[\w ]{0,30}) authentication attempt made by user '(.*)'$`)
)

func authelia(rec *cybervault.Record, message string) bool {
	f := rec.Fields
	from := first(f, "remote_ip")
	if m := autheliaFailed.FindStringSubmatch(message); m != nil {
		toldLogin(rec, serviceAuthelia, strings.ToLower(m[1]), cybervault.OutcomeFailure, m[2], from)
		if m[3] == "user not found" || f["error"] == "user not found" {
			f[cybervault.FieldUnknownUser] = "true"
		}
		return true
	}
	if m := autheliaUnknown.FindStringSubmatch(message); m != nil {
		toldLogin(rec, serviceAuthelia, "user_lookup", cybervault.OutcomeFailure, m[1], from)
		f[cybervault.FieldUnknownUser] = "true"
		return true
	}
	if m := autheliaPassed.FindStringSubmatch(message); m != nil {
		toldLogin(rec, serviceAuthelia, strings.ToLower(m[1]), cybervault.OutcomeSuccess, m[2], from)
		return true
	}
	return false
}

// sftpgoLogin is how SFTPGo tells of a login that went well, by SSH or otherwise.
var sftpgoLogin = regexp.MustCompile(`^User "([^"]*)" logged in with "([^"]*)",? from ip "([^"]+)"`)

// sftpgo reads SFTPGo's JSON: sender connection_failed is a login that failed, or
// a client that left before it tried.
func sftpgo(rec *cybervault.Record, message string) bool {
	f := rec.Fields
	if m := sftpgoLogin.FindStringSubmatch(message); m != nil && f["sender"] != "" {
		toldLogin(rec, serviceSFTPGo, "login", cybervault.OutcomeSuccess, m[1], m[3])
		set(f, cybervault.FieldMethod, m[2])
		return true
	}
	if f["sender"] != "connection_failed" || f["client_ip"] == "" {
		return false
	}
	method, outcome := f["login_type"], cybervault.OutcomeFailure
	failure := strings.ToLower(f["error"])
	unknown := strings.Contains(failure, "not found") || strings.Contains(failure, "no rows in result set")
	switch {
	case strings.HasPrefix(method, "no_auth_tr"), f["username"] == "":
		outcome = "" // it left before it tried
	case method == "publickey" && !unknown:
		outcome = "" // clients offer one key after another
	}
	toldLogin(rec, serviceSFTPGo, "login", outcome, f["username"], f["client_ip"])
	set(f, cybervault.FieldMethod, method)
	if unknown {
		f[cybervault.FieldUnknownUser] = "true"
	}
	return true
}

// times sets how many tries a line stands for.
func times(f map[string]string, n string) {
	if count, err := strconv.Atoi(n); err == nil && count > 1 && count < 1000 {
		f[cybervault.FieldAttempts] = n
	}
}
