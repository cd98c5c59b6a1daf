package detect_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/detect"
	"github.com/cybervault/cybervault/internal/detect/login"
	"github.com/cybervault/cybervault/internal/telemetry"
)

// From the lines of a service to what is concluded of them.
func TestServiceGuessing(t *testing.T) {
	t.Parallel()
	lines := func(n int, gap time.Duration, of func(i int, at time.Time) string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(of(i, day.Add(time.Duration(i)*gap)) + "\n")
		}
		return b.String()
	}
	const stamp = "Jan _2 15:04:05"
	caddy := func(headers string) func(i int, at time.Time) string {
		return func(_ int, at time.Time) string {
			return fmt.Sprintf(`{"level":"error","ts":%d,"logger":"http.log.access","msg":"handled request","request":{"remote_ip":"203.0.113.9","client_ip":"203.0.113.9","proto":"HTTP/2.0","method":"GET","host":"x","uri":"/","headers":{%s}},"user_id":"","status":401,"resp_headers":{"Www-Authenticate":["Basic realm=\"restricted\""]}}`, at.Unix(), headers)
		}
	}
	// Postfix asks Dovecot, which asks its database: three lines, one try.
	tries := func(n int, gap time.Duration) string {
		return lines(n, gap, func(_ int, at time.Time) string {
			head := at.Format(stamp) + " mx "
			return head + "dovecot: auth-worker(4): sql(ann@example.org,203.0.113.9): Password mismatch\n" +
				head + "dovecot: imap-login: Disconnected (auth failed, 1 attempts in 2 secs): user=<ann@example.org>, method=PLAIN, rip=203.0.113.9, lip=192.0.2.1"
		})
	}
	for name, c := range map[string]struct {
		log  string
		want string
	}{
		"caddy, credentials refused":    {lines(10, time.Second, caddy(`"Authorization":["REDACTED"]`)), login.BruteForce},
		"caddy, none were sent":         {lines(30, time.Second, caddy(`"Accept":["*/*"]`)), ""},
		"mail, nine tries of two lines": {tries(9, 3*time.Second), ""},
		"mail, ten tries of two lines":  {tries(10, 3*time.Second), login.BruteForce},
		"mail, one line tells of ten":   {day.Format(stamp) + " mx dovecot: imap-login: Disconnected (auth failed, 10 attempts in 60 secs): user=<ann>, method=PLAIN, rip=203.0.113.9, lip=192.0.2.1\n", login.BruteForce},
		"mail that nobody takes": {lines(20, time.Second, func(int, time.Time) string {
			return day.Format(stamp) + " mx postfix/smtpd[4]: NOQUEUE: reject: RCPT from x[203.0.113.9]: 550 5.1.1 <a@b>: Recipient address rejected: User unknown in local recipient table; from=<c@d> to=<a@b> proto=ESMTP helo=<x>"
		}), ""},
		"a password lookup that was lost": {lines(20, time.Second, func(int, time.Time) string {
			return day.Format(stamp) + " mx postfix/smtpd[4]: warning: x[203.0.113.9]: SASL LOGIN authentication failed: Connection lost to authentication server"
		}), ""},
		"file transfer, one key after another": {lines(20, time.Second, func(_ int, at time.Time) string {
			return fmt.Sprintf(`{"level":"debug","time":%q,"sender":"connection_failed","client_ip":"203.0.113.9","username":"ann","login_type":"publickey","protocol":"SSH","error":"invalid credentials"}`, at.Format("2006-01-02T15:04:05.000"))
		}), ""},
		"file transfer, names of lists": {lines(4, 5*time.Second, func(i int, at time.Time) string {
			return fmt.Sprintf(`{"level":"debug","time":%q,"sender":"connection_failed","client_ip":"203.0.113.9","username":%q,"login_type":"password","protocol":"FTP","error":"invalid credentials"}`, at.Format("2006-01-02T15:04:05.000"), []string{"admin", "root", "test", "ann"}[i])
		}), login.BruteForce},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, err := detect.New(detect.Config{Now: func() time.Time { return day }})
			if err != nil {
				t.Fatal(err)
			}
			b := e.Begin(cybervault.WorkspaceID{})
			if _, err := telemetry.Parse(t.Context(), strings.NewReader(c.log), telemetry.Options{Now: func() time.Time { return day.Add(time.Hour) }}, func(r *cybervault.Record) error { return b.Add(t.Context(), r) }); err != nil {
				t.Fatal(err)
			}
			findings, err := b.End(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, f := range findings {
				if f.Gist.SourceIP != "203.0.113.9" {
					t.Errorf("blames %q", f.Gist.SourceIP)
				}
				got = f.Gist.Name
			}
			if got != c.want {
				t.Errorf("%q, want %q: %+v", got, c.want, findings)
			}
		})
	}
}
