package detect

import (
	"strconv"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/detect/login"
)

// signIn is what one record tells of a login, of a second factor, or of both.
type signIn struct {
	attempt *login.Attempt
	factors []login.Factor
}

// readSignIn reads a record of a service that people log in to: an identity
// provider, a cloud's console, Windows, a form on a website, or whatever program
// says in words that a login succeeded or failed. Records of sshd are read by
// Batch.login, which knows more of them.
func readSignIn(rec *cybervault.Record) signIn {
	switch rec.Product {
	case "okta":
		return oktaSignIn(rec)
	case "azure":
		return entraSignIn(rec)
	case "aws":
		return awsSignIn(rec)
	case "windows":
		return windowsSignIn(rec)
	case "cisco":
		return duoSignIn(rec)
	}
	if rec.Category == "webserver" {
		return webSignIn(rec)
	}
	if outcome := rec.Fields[cybervault.FieldOutcome]; outcome != "" && rec.SourceIP != "" {
		a := login.Attempt{Class: rec.Fields[cybervault.FieldEvent], Conn: connection(rec), Secret: true, Unknown: rec.Fields[cybervault.FieldUnknownUser] != ""}
		// PAM names a user only if there is one.
		a.Exists = rec.Fields["pam_module"] != "" && rec.Fields[cybervault.FieldUser] != "" && rec.Fields[cybervault.FieldUser] != rec.Fields["pam_ruser"]
		a.Times, _ = strconv.Atoi(rec.Fields[cybervault.FieldAttempts])
		switch outcome {
		case cybervault.OutcomeSuccess:
			a.Outcome = login.Success
		case cybervault.OutcomeFailure:
		default:
			return signIn{}
		}
		return signIn{attempt: &a}
	}
	return signIn{}
}

// connection tells which lines may be about the same tries: those of one process,
// or of the services that pass a password on to each other.
func connection(rec *cybervault.Record) string {
	switch rec.Service {
	case "dovecot", "exim", "postfix":
		return "mail"
	case "asterisk", "authelia":
		return rec.Service
	}
	return rec.Fields[cybervault.FieldPID]
}

// first returns the first of the named fields that has a value, whatever the case
// of its name: the same log is flattened in more than one way.
func first(rec *cybervault.Record, names ...string) string {
	for _, name := range names {
		if v := rec.Fields[name]; v != "" {
			return v
		}
		if v := rec.Multi[name]; len(v) > 0 {
			return v[0]
		}
	}
	return ""
}

// of returns names with and without the wrapping that Azure Monitor puts around.
func of(names ...string) []string {
	out := make([]string, 0, 2*len(names))
	for _, n := range names {
		out = append(out, n, "properties."+n)
	}
	return out
}

func place(country, lat, lon, network string) login.Place {
	p := login.Place{Country: country, Network: network}
	var errLat, errLon error
	p.Lat, errLat = strconv.ParseFloat(lat, 64)
	p.Lon, errLon = strconv.ParseFloat(lon, 64)
	if errLat != nil || errLon != nil || p.Lat == 0 && p.Lon == 0 {
		p.Lat, p.Lon = 0, 0
		return p
	}
	p.Located, p.Exact = true, true
	return p
}

func oktaSignIn(rec *cybervault.Record) signIn {
	result, reason := first(rec, "outcome.result"), first(rec, "outcome.reason")
	passed := result == "SUCCESS" || result == "ALLOW"
	switch event := first(rec, "eventType", "eventtype"); event {
	case "user.session.start", "user.authentication.auth_via_radius", "user.authentication.auth_via_social":
		a := &login.Attempt{Class: event, Secret: true, Unknown: strings.Contains(reason, "UNKNOWN_USER")}
		a.Place = place(first(rec, "client.geographicalContext.country"), first(rec, "client.geographicalContext.geolocation.lat"),
			first(rec, "client.geographicalContext.geolocation.lon"), asNumber(first(rec, "securityContext.asNumber")))
		switch {
		case passed:
			a.Outcome = login.Success
		case result != "FAILURE":
			return signIn{} // a challenge is no outcome
		}
		return signIn{attempt: a}
	case "user.authentication.auth_via_mfa":
		if passed {
			return factorOf(login.FactorPassed, "", event)
		}
		return factorOf(login.FactorRefused, "", reason)
	case "system.push.send_factor_verify_push":
		return factorOf(login.FactorAsked, "", event)
	case "user.mfa.okta_verify.deny_push":
		return factorOf(login.FactorRefused, "", event)
	case "user.mfa.attempt_bypass":
		return factorOf(login.FactorBypassed, "", event)
	case "user.mfa.factor.deactivate", "user.mfa.factor.reset_all", "user.mfa.factor.suspend":
		if passed {
			return factorOf(login.FactorRemoved, oktaTarget(rec), event)
		}
	}
	return signIn{}
}

// oktaTarget is the user whom an administrator's deed is about.
func oktaTarget(rec *cybervault.Record) string {
	types, ids := rec.Multi["target.type"], rec.Multi["target.alternateId"]
	for i, kind := range types {
		if kind == "User" && i < len(ids) {
			return ids[i]
		}
	}
	return first(rec, "target.alternateId")
}

func asNumber(s string) string {
	if s == "" {
		return ""
	}
	return "AS" + strings.TrimPrefix(s, "AS")
}

// factorOf is a sign-in of one factor event; user is "" for the record's own.
func factorOf(event login.FactorEvent, user, how string) signIn {
	return signIn{factors: []login.Factor{{Event: event, User: user, How: how}}}
}

// Error codes of Microsoft Entra that tell something of a login.
const (
	entraUnknownUser = "50034"
	entraLocked      = "50053"
	entraPassword    = "50126"
	entraFactor      = "500121"
)

func entraSignIn(rec *cybervault.Record) signIn {
	if operation := first(rec, of("operationName", "activityDisplayName", "OperationName", "ActivityDisplayName")...); operation != "" && operation != "Sign-in activity" {
		switch operation {
		case "User deleted security info", "Admin deleted security info", "Disable Strong Authentication", "Admin disabled user's MFA":
			return factorOf(login.FactorRemoved, first(rec, of("targetResources.userPrincipalName", "TargetResources.userPrincipalName")...), operation)
		}
		return signIn{}
	}
	a := &login.Attempt{Class: "signin", Secret: true}
	a.Place = place(first(rec, of("location.countryOrRegion", "Location", "location")...), first(rec, of("location.geoCoordinates.latitude")...),
		first(rec, of("location.geoCoordinates.longitude")...), asNumber(first(rec, of("autonomousSystemNumber", "AutonomousSystemNumber")...)))
	out := signIn{attempt: a}
	switch first(rec, of("status.errorCode", "resultType", "ResultType")...) {
	case "0":
		a.Outcome = login.Success
		app := first(rec, of("clientAppUsed", "ClientAppUsed")...)
		switch {
		case legacy(app):
			out.factors = append(out.factors, login.Factor{Event: login.FactorAbsent, How: app})
		case strings.EqualFold(first(rec, of("authenticationRequirement", "AuthenticationRequirement")...), "multiFactorAuthentication"):
			out.factors = append(out.factors, login.Factor{Event: login.FactorPassed})
		}
	case entraUnknownUser:
		a.Unknown = true
	case entraLocked, entraPassword:
		a.Exists = true
	case entraFactor:
		return factorOf(login.FactorRefused, "", "error 500121")
	default:
		return signIn{}
	}
	return out
}

// legacy reports whether a client's protocol knows no second factor.
func legacy(app string) bool {
	switch app {
	case "IMAP4", "POP3", "Authenticated SMTP", "SMTP", "Exchange ActiveSync", "Exchange Web Services", "MAPI Over HTTP", "Autodiscover",
		"Exchange Online PowerShell", "Offline Address Book", "Outlook Anywhere (RPC over HTTP)", "Reporting Web Services", "Other clients", "Other clients; IMAP", "Other clients; POP", "Other clients; SMTP":
		return true
	}
	return false
}

func awsSignIn(rec *cybervault.Record) signIn {
	switch event := first(rec, "eventName"); event {
	case "ConsoleLogin":
		a := &login.Attempt{Class: event, Secret: true, Unknown: strings.Contains(first(rec, "errorMessage"), "No username found")}
		out := signIn{attempt: a}
		switch first(rec, "responseElements.ConsoleLogin") {
		case "Success":
			a.Outcome = login.Success
			if first(rec, "additionalEventData.MFAUsed") == "Yes" {
				out.factors = append(out.factors, login.Factor{Event: login.FactorPassed})
			}
		case "Failure":
		default:
			return signIn{}
		}
		return out
	case "DeactivateMFADevice", "DeleteVirtualMFADevice":
		if first(rec, "errorCode") == "" {
			return factorOf(login.FactorRemoved, first(rec, "requestParameters.userName"), event)
		}
	}
	return signIn{}
}

// windowsSignIn reads logons over the network and by remote desktop. The others
// have no address, and services log on all the time.
func windowsSignIn(rec *cybervault.Record) signIn {
	if rec.Service != "security" {
		return signIn{}
	}
	user := first(rec, "TargetUserName")
	if user == "" || strings.HasSuffix(user, "$") || strings.EqualFold(user, "ANONYMOUS LOGON") || user == "-" {
		return signIn{}
	}
	event := first(rec, "EventID")
	a := &login.Attempt{User: user, Class: event, Secret: true}
	status := strings.ToLower(first(rec, "SubStatus", "Status"))
	switch event {
	case "4624":
		if kind := first(rec, "LogonType"); kind != "3" && kind != "8" && kind != "10" {
			return signIn{}
		}
		a.Outcome = login.Success
	case "4625":
		a.Unknown, a.Exists = status == "0xc0000064", status == "0xc000006a"
	case "4771":
		if status != "0x18" { // a wrong password
			return signIn{}
		}
	default:
		return signIn{}
	}
	return signIn{attempt: a}
}

func duoSignIn(rec *cybervault.Record) signIn {
	if !strings.Contains(strings.ToLower(rec.Service), "duo") {
		return signIn{}
	}
	switch strings.ToLower(first(rec, "result")) {
	case "success":
		if reason := first(rec, "reason"); reason == "bypass_user" {
			return factorOf(login.FactorAbsent, "", reason)
		}
		return factorOf(login.FactorPassed, "", "")
	case "denied", "failure", "fraud":
		return factorOf(login.FactorRefused, "", first(rec, "reason"))
	}
	return signIn{}
}

// loginPaths end the paths of forms and calls that log somebody in.
var loginPaths = []string{"/login", "/log-in", "/signin", "/sign-in", "/logon", "/auth", "/authenticate", "/session", "/sessions", "/token", "/wp-login.php", "/login.php",
	"/user/login", "/users/sign_in", "/j_security_check", "/administrator/index.php", "/admin/login", "/account/login", "/api/login"}

// webSignIn reads a login from an access log: credentials sent to a path that
// takes them, or with HTTP authentication. Only what the status says for certain
// counts; many programs answer 200 to a wrong password.
func webSignIn(rec *cybervault.Record) signIn {
	f := rec.Fields
	status, user := f[cybervault.FieldWebStatus], f[cybervault.FieldWebUser]
	refused := status == "401" || status == "403"
	if status == "401" && (user != "" && user != "-" || basicSent(f)) {
		return signIn{attempt: &login.Attempt{User: user, Class: "http"}}
	}
	if f[cybervault.FieldWebMethod] != "POST" {
		return signIn{}
	}
	path := strings.TrimSuffix(strings.ToLower(f[cybervault.FieldWebStem]), "/")
	if !loginPath(path) {
		return signIn{}
	}
	moved := status == "302" || status == "303"
	switch {
	case refused, status == "422", status == "200" && strings.HasSuffix(path, "/wp-login.php"):
		return signIn{attempt: &login.Attempt{Class: path}}
	case moved:
		return signIn{attempt: &login.Attempt{Class: path, Outcome: login.Success, Secret: true}}
	}
	return signIn{}
}

// basicSent reports whether a request brought credentials for HTTP's Basic
// authentication, from a log that tells of headers: Caddy's hides what was in
// them. A request without any, which is only asked to bring them, is no try, and a
// token that ran out no guess.
func basicSent(f map[string]string) bool {
	if _, after, ok := strings.Cut(strings.ToLower(f[cybervault.FieldWebHeaders]), "authorization: "); ok {
		return strings.HasPrefix(after, "basic ")
	}
	if f["request.headers.Authorization"] == "" {
		return false
	}
	challenge := f["resp_headers.Www-Authenticate"]
	return len(challenge) >= 5 && strings.EqualFold(challenge[:5], "basic")
}

func loginPath(path string) bool {
	for _, p := range loginPaths {
		if strings.HasSuffix(path, p) {
			return true
		}
	}
	return false
}

// signIn folds what a record tells of a login.
func (b *Batch) signIn(rec *cybervault.Record, at time.Time, s signIn) {
	scope := b.ws.String() + "\x00" + rec.Product + "\x00" + target(rec.Host, rec)
	asset := target(rec.Host, rec)
	if a := s.attempt; a != nil {
		a.Scope, a.Time, a.Address = scope, at, rec.SourceIP
		if a.User == "" {
			a.User = rec.User
		}
		if b.e.cfg.Locate != nil && !a.Place.Located {
			a.Place = b.e.cfg.Locate(rec.SourceIP, a.Place)
		}
		for _, c := range b.e.logins.Add(*a) {
			b.conclude(rec, at, asset, c)
		}
	}
	for _, f := range s.factors {
		f.Scope, f.Time, f.Address, f.By = scope, at, rec.SourceIP, rec.User
		if f.User == "" {
			f.User = rec.User
		}
		for _, c := range b.e.logins.AddFactor(f) {
			b.conclude(rec, at, asset, c)
		}
	}
}
