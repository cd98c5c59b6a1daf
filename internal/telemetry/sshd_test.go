package telemetry

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
)

// summaryOf is what detection reads of an sshd record, in one line.
func summaryOf(r *cybervault.Record) string {
	f := r.Fields
	s := fmt.Sprintf("%s/%s %s from %s%s", f["event"], f["outcome"], f["user"], f["src_ip"], f["src_host"])
	if f["unknown_user"] != "" {
		s += " unknown"
	}
	if f["attempts"] != "" {
		s += " x" + f["attempts"]
	}
	if f["confirms"] != "" {
		s += " confirms " + f["confirms"]
	}
	return s
}

func TestSSHDMessages(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]string{
		"Failed password for root from 192.0.2.1 port 4711 ssh2":                                                    "password_failed/failure root from 192.0.2.1",
		"Failed password for invalid user admin from 2001:db8::1 port 4711 ssh2":                                    "password_failed/failure admin from 2001:db8::1 unknown",
		"Failed keyboard-interactive/pam for ann from ::ffff:192.0.2.1 port 4711 ssh2":                              "password_failed/failure ann from 192.0.2.1",
		"Failed keyboard-interactive for <invalid username> from 192.0.2.1 port 4711 ssh2":                          "password_failed/failure  from 192.0.2.1 unknown",
		"Failed publickey for ann from 192.0.2.1 port 4711 ssh2: RSA SHA256:abc":                                    "publickey_failed/ ann from 192.0.2.1",
		"Failed publickey for invalid user eve from 192.0.2.1 port 4711 ssh2: RSA SHA256:abc":                       "publickey_failed/failure eve from 192.0.2.1 unknown",
		"Accepted password for ann from 192.0.2.1 port 4711 ssh2":                                                   "accepted/success ann from 192.0.2.1",
		"Accepted publickey for ann from 192.0.2.1 port 4711 ssh2: ED25519 SHA256:abc":                              "accepted/success ann from 192.0.2.1",
		"Invalid user  from 192.0.2.1 port 4711":                                                                    "unknown_user/failure  from 192.0.2.1 unknown",
		"Invalid user two words from 192.0.2.1":                                                                     "unknown_user/failure two words from 192.0.2.1 unknown",
		"pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.1  user=a": "pam_module_failed/unconfirmed a from 192.0.2.1",
		"PAM 2 more authentication failures; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.1  user=root":       "pam_module_failed/unconfirmed root from 192.0.2.1 x2",
		"error: PAM: Authentication failure for illegal user eve from host.example.net":                             "pam_failed/failure eve from host.example.net unknown",
		"error: maximum authentication attempts exceeded for root from 192.0.2.1 port 4711 ssh2 [preauth]":          "too_many_failures/failure root from 192.0.2.1",
		"User ann from 192.0.2.1 not allowed because not listed in AllowUsers":                                      "not_allowed/failure ann from 192.0.2.1",
		"ROOT LOGIN REFUSED FROM 192.0.2.1 port 4711 [preauth]":                                                     "not_allowed/failure  from 192.0.2.1",
		"Connection closed by authenticating user root 192.0.2.1 port 4711 [preauth]":                               "disconnected/failure root from 192.0.2.1",
		"Connection closed by 192.0.2.1 port 4711 [preauth]":                                                        "disconnected/failure  from 192.0.2.1",
		"Connection closed by 192.0.2.1 port 4711":                                                                  "disconnected/  from 192.0.2.1",
		"Disconnected from user ann 192.0.2.1 port 4711":                                                            "/  from ",
		"Disconnected from authenticating user ann 192.0.2.1 port 4711 [preauth]":                                   "disconnected/ ann from 192.0.2.1",
		"Unable to negotiate with 192.0.2.1 port 4711: no matching host key type found. Their offer: x [preauth]":   "protocol/failure  from 192.0.2.1",
		"banner exchange: Connection from 192.0.2.1 port 4711: invalid format":                                      "protocol/failure  from 192.0.2.1",
		"Did not receive identification string from 192.0.2.1 port 4711":                                            "no_identification/failure  from 192.0.2.1",
		"message repeated 4 times: [ Failed password for root from 192.0.2.1 port 4711 ssh2]":                       "password_failed/failure root from 192.0.2.1 x4",
		"pam_unix(sshd:session): session opened for user ann(uid=1000) by (uid=0)":                                  "/  from ",
		"Server listening on 0.0.0.0 port 22.":                                                                      "/  from ",
	} {
		t.Run(message, func(t *testing.T) {
			t.Parallel()
			rec := one(t, "Mar 10 08:00:00 gate sshd[77]: "+message)
			if got := summaryOf(rec); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if rec.Service != "sshd" || rec.Product != "linux" || rec.Host != "gate" || rec.Fields["pid"] != "77" {
				t.Errorf("record %+v", rec)
			}
		})
	}
}

// A client chooses its user name, and must not be able to choose the address
// that is blamed.
func TestSSHDInjection(t *testing.T) {
	t.Parallel()
	for _, user := range []string{
		"from 198.51.100.9", "a from 198.51.100.9 port 22 ssh2", "a from 198.51.100.9", "198.51.100.9 port 22", "x 198.51.100.9 port 22 [preauth]",
	} {
		for _, form := range []string{
			"Failed password for invalid user %s from 192.0.2.1 port 4711 ssh2",
			"Invalid user %s from 192.0.2.1 port 4711",
			"Connection closed by invalid user %s 192.0.2.1 port 4711 [preauth]",
			"error: maximum authentication attempts exceeded for invalid user %s from 192.0.2.1 port 4711 ssh2 [preauth]",
			"Disconnecting invalid user %s 192.0.2.1 port 4711: Too many authentication failures [preauth]",
		} {
			rec := one(t, "Mar 10 08:00:00 gate sshd[77]: "+fmt.Sprintf(form, user))
			if rec.Fields["src_ip"] != "192.0.2.1" || rec.Fields["user"] != user {
				t.Errorf("%s: %s", fmt.Sprintf(form, user), summaryOf(rec))
			}
		}
	}
}

// Lines that need another line of their connection.
func TestSSHDConnections(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ log, want string }{
		"the address comes first": {
			"sshd[1]: Connection from 192.0.2.1 port 7 on 192.0.2.9 port 22\nsshd[1]: Disconnecting: Too many authentication failures for root [preauth]",
			"/  from 192.0.2.1; too_many_failures/failure root from 192.0.2.1",
		},
		"the address comes last": {
			"sshd[1]: Disconnecting: Too many authentication failures for root [preauth]\nsshd[2]: Connection closed by 192.0.2.2\nsshd[1]: Connection closed by 192.0.2.1 [preauth]",
			"too_many_failures/ root from ; disconnected/  from 192.0.2.2; disconnected/failure root from 192.0.2.1",
		},
		"a failure is told once": {
			"sshd[1]: Failed password for a from 192.0.2.1 port 7 ssh2\nsshd[1]: Connection closed by 192.0.2.1 port 7 [preauth]",
			"password_failed/failure a from 192.0.2.1; disconnected/ a from 192.0.2.1",
		},
		"a second user confirms": {
			"sshd[1]: pam_unix(sshd:auth): authentication failure; ruser=a rhost=192.0.2.1\nsshd[1]: pam_unix(sshd:auth): authentication failure; ruser=b rhost=192.0.2.1",
			"pam_module_failed/unconfirmed  from 192.0.2.1; pam_module_failed/failure  from 192.0.2.1",
		},
		"a success of another user confirms": {
			"sshd[1]: pam_unix(sshd:auth): authentication failure; ruser= rhost=192.0.2.1  user=root\nsshd[1]: Accepted password for b from 192.0.2.1 port 7 ssh2",
			"pam_module_failed/unconfirmed root from 192.0.2.1; accepted/success b from 192.0.2.1 confirms 1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var lines []string
			for l := range strings.SplitSeq(c.log, "\n") {
				lines = append(lines, "Mar 10 08:00:00 gate "+l)
			}
			out, _ := read(t, strings.Join(lines, "\n"), Options{})
			var got []string
			for _, r := range out {
				got = append(got, summaryOf(r))
			}
			if g := strings.Join(got, "; "); g != c.want {
				t.Errorf("got  %s\nwant %s", g, c.want)
			}
		})
	}
}

func TestSSHDHeads(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 10, 8, 0, 0, 0, time.UTC)
	const message = "Invalid user eve from 192.0.2.1 port 4711"
	for _, head := range []string{
		"Mar 10 08:00:00 gate sshd[77]: ", "<86>Mar 10 08:00:00 gate sshd[77]: ", "Mar 10 08:00:00 gate sshd-session[77]: ",
		"2026-03-10T08:00:00Z gate sshd[77]: ", "2026-03-10T09:00:00.000000+01:00 gate sshd[77]: ",
		"<38>1 2026-03-10T08:00:00Z gate sshd 77 - - ", `<38>1 2026-03-10T08:00:00Z gate sshd 77 ID1 [a b="\]"][c d="e"] `,
		"Mar 10 08:00:00 gate sshd[77]: [ID 800047 auth.info] ", "Mar 10 08:00:00 gate /usr/sbin/sshd[77]: ",
	} {
		rec := one(t, head+message)
		if !rec.Time.Equal(at) || rec.Host != "gate" || rec.Fields["pid"] != "77" || rec.Fields["src_ip"] != "192.0.2.1" || rec.Service != "sshd" {
			t.Errorf("%s: %v %q %q", head, rec.Time, rec.Host, rec.Fields)
		}
	}
	rec := one(t, `{"MESSAGE":"`+message+`","_COMM":"sshd","_PID":"77","_HOSTNAME":"gate","__REALTIME_TIMESTAMP":"1773129600000000"}`)
	if !rec.Time.Equal(at) || rec.Host != "gate" || rec.Fields["src_ip"] != "192.0.2.1" {
		t.Errorf("journald: %v %q %q", rec.Time, rec.Host, rec.Fields)
	}
	rec = one(t, `{"MESSAGE":[72,105,255],"SYSLOG_IDENTIFIER":"cron"}`)
	if rec.Fields["message"] != "Hi\xff" || rec.Service != "cron" {
		t.Errorf("journald bytes: %q", rec.Fields)
	}
}

// The memory of connections is bounded, and the newest are in it.
func TestSSHDConnectionsBounded(t *testing.T) {
	t.Parallel()
	p, err := newParser(Options{Now: asOf}, func(*cybervault.Record) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	for i := range 2 * maxSSHDConnections {
		fmt.Fprintf(&log, "Mar 10 08:00:00 gate sshd[%d]: Connection from 192.0.2.1 port 7\n", i)
	}
	if err := p.run(context.Background(), strings.NewReader(log.String())); err != nil {
		t.Fatal(err)
	}
	if n := len(p.sshd.byPID); n != maxSSHDConnections {
		t.Errorf("%d connections in memory", n)
	}
	if p.sshd.byPID[fmt.Sprintf("gate\x00%d", 2*maxSSHDConnections-1)] == nil {
		t.Error("the newest was forgotten")
	}
}

func FuzzSSHD(f *testing.F) {
	for _, s := range []string{"Failed password for root from 192.0.2.1 port 22 ssh2", "message repeated 2 times: [ x]", "Invalid user a from b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, message string) {
		rec := &cybervault.Record{Host: "h", Fields: map[string]string{cybervault.FieldMessage: message, cybervault.FieldPID: "1"}}
		newSSHDConnections().read(rec)
		switch rec.Fields[cybervault.FieldOutcome] {
		case "", cybervault.OutcomeFailure, cybervault.OutcomeSuccess, cybervault.OutcomeUnconfirmed:
		default:
			t.Errorf("outcome %q", rec.Fields[cybervault.FieldOutcome])
		}
		if ip := rec.Fields[cybervault.FieldSourceIP]; ip != "" {
			if _, ok := address(ip); !ok {
				t.Errorf("address %q", ip)
			}
		}
	})
}

func FuzzAccess(f *testing.F) {
	f.Add(`192.0.2.7 - - [10/Mar/2026:08:12:33 +0000] "GET /\x22 HTTP/1.1" 200 1 "-" "\"-"`)
	f.Fuzz(func(t *testing.T, line string) {
		p, err := newParser(Options{Now: asOf}, nil)
		if err != nil {
			t.Fatal(err)
		}
		rec, reason := p.access(line)
		if rec == nil && reason == "" {
			t.Error("no record and no reason")
		}
		if rec != nil && (len(rec.Fields["sc-status"]) != 3 || rec.Time.IsZero()) {
			t.Errorf("record %+v", rec)
		}
	})
}
