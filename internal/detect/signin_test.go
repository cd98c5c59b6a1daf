package detect_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/detect"
	"github.com/cybervault/cybervault/internal/detect/login"
)

// signIns makes n records of a service, a gap apart.
func signIns(n int, gap time.Duration, of func(i int) *cybervault.Record) []*cybervault.Record {
	out := make([]*cybervault.Record, n)
	for i := range out {
		out[i] = of(i)
		out[i].Time = day.Add(time.Duration(i) * gap)
		out[i].Raw = []byte("record")
	}
	return out
}

func okta(event, result string, more ...string) *cybervault.Record {
	r := &cybervault.Record{Product: "okta", Service: "okta", SourceIP: "203.0.113.9", User: "ann@example.com", Fields: map[string]string{"eventType": event, "outcome.result": result}}
	for i := 0; i+1 < len(more); i += 2 {
		r.Fields[more[i]] = more[i+1]
	}
	return r
}

func entra(fields ...string) *cybervault.Record {
	r := &cybervault.Record{Product: "azure", Service: "signinlogs", SourceIP: "203.0.113.9", User: "ann@example.com", Fields: map[string]string{}}
	for i := 0; i+1 < len(fields); i += 2 {
		r.Fields[fields[i]] = fields[i+1]
	}
	return r
}

func TestSignIns(t *testing.T) {
	t.Parallel()
	windows := func(id, user, status string) *cybervault.Record {
		return &cybervault.Record{Product: "windows", Service: "security", Host: "dc1", SourceIP: "203.0.113.9", User: user,
			Fields: map[string]string{"EventID": id, "TargetUserName": user, "SubStatus": status, "LogonType": "3"}}
	}
	aws := func(result string) *cybervault.Record {
		return &cybervault.Record{Product: "aws", Service: "cloudtrail", SourceIP: "203.0.113.9", User: "ann",
			Fields: map[string]string{"eventName": "ConsoleLogin", "responseElements.ConsoleLogin": result}}
	}
	form := func(method, path, status string) *cybervault.Record {
		return &cybervault.Record{Category: "webserver", Product: "nginx", Source: "shop", SourceIP: "203.0.113.9",
			Fields: map[string]string{cybervault.FieldClientIP: "203.0.113.9", cybervault.FieldWebMethod: method, cybervault.FieldWebURI: path, cybervault.FieldWebStem: path, cybervault.FieldWebStatus: status}}
	}
	program := func(outcome string) *cybervault.Record {
		return &cybervault.Record{Product: "linux", Service: "vsftpd", Host: "gate", SourceIP: "203.0.113.9", User: "ann", Fields: map[string]string{cybervault.FieldOutcome: outcome}}
	}
	for name, c := range map[string]struct {
		records  []*cybervault.Record
		want     string
		severity cybervault.Severity
	}{
		"okta guessed": {signIns(12, 5*time.Second, func(int) *cybervault.Record {
			return okta("user.session.start", "FAILURE", "outcome.reason", "INVALID_CREDENTIALS")
		}), login.BruteForce, "medium"},
		"okta challenged":        {signIns(12, 5*time.Second, func(int) *cybervault.Record { return okta("user.session.start", "CHALLENGE") }), "", ""},
		"okta, mistyped":         {signIns(4, 5*time.Second, func(int) *cybervault.Record { return okta("user.session.start", "FAILURE") }), "", ""},
		"okta factors worn down": {append(signIns(7, time.Minute, func(int) *cybervault.Record { return okta("user.mfa.okta_verify.deny_push", "FAILURE") }), signIns(8, time.Minute, func(int) *cybervault.Record { return okta("user.authentication.auth_via_mfa", "SUCCESS") })[7]), login.MFAFatigue, "critical"},
		"okta factor reset":      {signIns(1, 0, func(int) *cybervault.Record { return okta("user.mfa.factor.reset_all", "SUCCESS") }), login.MFARemoved, "medium"},
		"okta bypass":            {signIns(1, 0, func(int) *cybervault.Record { return okta("user.mfa.attempt_bypass", "FAILURE") }), login.MFABypass, "high"},
		"okta, two continents": {signIns(2, time.Hour, func(i int) *cybervault.Record {
			r := okta("user.session.start", "SUCCESS", "client.geographicalContext.country", []string{"Germany", "Australia"}[i],
				"client.geographicalContext.geolocation.lat", []string{"52.5", "-33.9"}[i], "client.geographicalContext.geolocation.lon", []string{"13.4", "151.2"}[i])
			r.SourceIP = fmt.Sprintf("203.0.%d.9", i)
			return r
		}), login.ImpossibleTravel, "medium"},

		"entra guessed": {signIns(12, 5*time.Second, func(int) *cybervault.Record { return entra("properties.status.errorCode", "50126") }), login.BruteForce, "medium"},
		"entra sprayed": {signIns(14, time.Minute, func(i int) *cybervault.Record {
			r := entra("ResultType", "50126")
			r.User = fmt.Sprint("user", i)
			return r
		}), login.PasswordSpray, "high"},
		"entra factor refused": {signIns(12, time.Minute, func(int) *cybervault.Record { return entra("ResultType", "500121") }), login.MFAFatigue, "high"},
		"entra factor removed": {signIns(1, 0, func(int) *cybervault.Record {
			return entra("operationName", "Admin deleted security info", "targetResources.userPrincipalName", "bob@example.com")
		}), login.MFARemoved, "medium"},
		"entra legacy protocol": {signIns(5, time.Hour, func(i int) *cybervault.Record {
			if i == 4 {
				return entra("ResultType", "0", "clientAppUsed", "IMAP4")
			}
			return entra("ResultType", "0", "authenticationRequirement", "multiFactorAuthentication")
		}), login.MFABypass, "high"},

		"aws console guessed, then in": {append(signIns(12, 5*time.Second, func(int) *cybervault.Record { return aws("Failure") }), signIns(13, 5*time.Second, func(int) *cybervault.Record { return aws("Success") })[12]), login.SuccessAfterFailures, "critical"},
		"aws factor removed": {signIns(1, 0, func(int) *cybervault.Record {
			return &cybervault.Record{Product: "aws", Service: "cloudtrail", SourceIP: "203.0.113.9", User: "root", Fields: map[string]string{"eventName": "DeactivateMFADevice", "requestParameters.userName": "ann"}}
		}), login.MFARemoved, "medium"},
		"windows, names that do not exist": {signIns(8, time.Second, func(i int) *cybervault.Record { return windows("4625", fmt.Sprint("user", i), "0xC0000064") }), login.BruteForce, "medium"},
		"windows, machines":                {signIns(30, time.Second, func(int) *cybervault.Record { return windows("4625", "WS1$", "0xc000006a") }), "", ""},
		"a form guessed":                   {signIns(12, 3*time.Second, func(int) *cybervault.Record { return form("POST", "/wp-login.php", "200") }), login.BruteForce, "medium"},
		"a form that answers 200":          {signIns(40, 3*time.Second, func(int) *cybervault.Record { return form("POST", "/api/login", "200") }), "", ""},
		"a call that answers 401":          {signIns(12, 3*time.Second, func(int) *cybervault.Record { return form("POST", "/api/login", "401") }), login.BruteForce, "medium"},
		"a form looked at":                 {signIns(40, 3*time.Second, func(int) *cybervault.Record { return form("GET", "/wp-login.php", "200") }), "", ""},
		"a program says so":                {signIns(12, 3*time.Second, func(int) *cybervault.Record { return program(cybervault.OutcomeFailure) }), login.BruteForce, "medium"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newEngine(t, detect.Config{}).Begin(wsA)
			for _, r := range c.records {
				if err := b.Add(t.Context(), r); err != nil {
					t.Fatal(err)
				}
			}
			fs, err := b.End(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if c.want == "" {
				if len(fs) > 0 {
					t.Errorf("found %s", fs[0].Data)
				}
				return
			}
			if len(fs) != 1 || fs[0].Type != cybervault.EventAuthSuspicious {
				t.Fatalf("%d findings", len(fs))
			}
			ev := decode(t, fs[0])
			if ev.Pattern != c.want || ev.Severity != string(c.severity) {
				t.Errorf("found %s of severity %s, want %s of %s: %s", ev.Pattern, ev.Severity, c.want, c.severity, fs[0].Data)
			}
			if strings.Contains(name, "removed") && !strings.Contains(ev.Detections[0].Explanation, "was removed by") {
				t.Errorf("explained as %q", ev.Detections[0].Explanation)
			}
		})
	}
}

// Where a record does not say where its address is, the operator's database does.
func TestLocate(t *testing.T) {
	t.Parallel()
	e := newEngine(t, detect.Config{Locate: func(address string, known login.Place) login.Place {
		known.Country = map[bool]string{true: "DE", false: "BR"}[strings.HasPrefix(address, "192.0.2.")]
		return known
	}})
	b := e.Begin(wsA)
	for i := range 7 {
		r := entra("ResultType", "0")
		r.SourceIP, r.Time = fmt.Sprintf("192.0.2.%d", i), day.Add(time.Duration(i)*24*time.Hour)
		if i == 6 {
			r.SourceIP = "203.0.113.9"
		}
		if err := b.Add(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	fs, err := b.End(t.Context())
	if err != nil || len(fs) != 1 {
		t.Fatalf("%d findings, %v", len(fs), err)
	}
	if ev := decode(t, fs[0]); ev.Pattern != login.NewCountry || str(ev.SourceIP) != "203.0.113.9" || !strings.Contains(ev.Detections[0].Explanation, "from BR for the first time") {
		t.Errorf("%s", fs[0].Data)
	}
}
