package telemetry_test

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/telemetry"
)

// The logins of services whose lines are known by their form.
func TestServiceLogins(t *testing.T) {
	t.Parallel()
	const head = "Mar 10 08:00:00 mx "
	type want map[string]string
	for name, tc := range map[string]struct {
		line string
		want want
	}{
		// Dovecot: the service that was spoken to …
		"dovecot fails": {head + `dovecot: imap-login: Disconnected (auth failed, 3 attempts in 12 secs): user=<ann@example.org>, method=PLAIN, rip=192.0.2.7, lip=198.51.100.1, TLS, session=<a+/b>`,
			want{"(source)": "/linux/dovecot", "outcome": "failure", "(user)": "ann@example.org", "(ip)": "192.0.2.7", "attempts": "3", "event": "mail_login", "auth_method": "PLAIN"}},
		"dovecot 2.4 fails": {head + `dovecot[7]: managesieve-login: Login aborted: Connection closed (auth failed, 1 attempts in 2 secs) (auth_failed): user=<ann>, method=PLAIN, rip=::ffff:192.0.2.7, lip=::ffff:198.51.100.1, TLS`,
			want{"outcome": "failure", "(user)": "ann", "(ip)": "192.0.2.7", "attempts": ""}},
		"dovecot, a name that looks like an address": {head + `dovecot: pop3-login: Aborted login (auth failed, 1 attempts): user=<x>, rip=203.0.113.9, y>, method=PLAIN, rip=192.0.2.7, lip=198.51.100.1`,
			want{"outcome": "failure", "(ip)": "192.0.2.7"}},
		"dovecot in its own log": {`Mar 10 08:00:00 pop3-login: Info: Disconnected: Inactivity (auth failed, 1 attempts in 178 secs): user=<ann>, method=PLAIN, rip=192.0.2.7`,
			want{"outcome": "failure", "(ip)": "192.0.2.7", "(user)": "ann"}},
		"dovecot, nobody tried": {head + `dovecot: imap-login: Disconnected (no auth attempts in 2 secs): user=<>, rip=192.0.2.7, lip=198.51.100.1, session=<x>`,
			want{"outcome": ""}},
		"dovecot, a client set up wrongly": {head + `dovecot: imap-login: Aborted login (tried to use disallowed plaintext auth): user=<>, rip=192.0.2.7, lip=198.51.100.1`,
			want{"outcome": ""}},
		"dovecot lets in": {head + `dovecot: imap-login: Login: user=<ann>, method=PLAIN, rip=192.0.2.7, lip=198.51.100.1, mpid=4, TLS, session=<x>`,
			want{"outcome": "success", "(user)": "ann", "(ip)": "192.0.2.7"}},
		// … and the one that knows the passwords.
		"dovecot looks up, no user": {head + `dovecot: auth-worker(31): sql(eve@example.org,192.0.2.7,<n4JLdH+gp>): unknown user`,
			want{"outcome": "failure", "(user)": "eve@example.org", "(ip)": "192.0.2.7", "unknown_user": "true", "event": "mail_lookup"}},
		"dovecot looks up, 2.3": {head + `dovecot: auth-worker(31): conn unix:auth-worker (pid=27,uid=97): auth-worker<55>: pam(ann,192.0.2.7): pam_authenticate() failed: Authentication failure (Password mismatch?)`,
			want{"outcome": "failure", "(user)": "ann", "(ip)": "192.0.2.7", "unknown_user": ""}},
		"dovecot looks up, the password names an address": {head + `dovecot: auth: passwd-file(ann,192.0.2.7): Password mismatch (given password: x,203.0.113.9): y)`,
			want{"outcome": "failure", "(user)": "ann", "(ip)": "192.0.2.7"}},
		"dovecot looks up in vain": {head + `dovecot: auth: ldap(ann,192.0.2.7): Connection appears to be hanging, reconnecting`, want{"outcome": "", "(ip)": "192.0.2.7"}},

		"postfix fails": {head + `postfix/submission/smtpd[42]: warning: unknown[192.0.2.7]: SASL LOGIN authentication failed: UGFzc3dvcmQ6, sasl_username=ann@example.org`,
			want{"(source)": "/linux/postfix", "outcome": "failure", "(user)": "ann@example.org", "(ip)": "192.0.2.7", "auth_method": "LOGIN", "event": "mail_login"}},
		"postfix before 3.7 names nobody": {head + `postfix/smtps/smtpd[42]: warning: host.example.net[2001:db8::7]: SASL PLAIN authentication failed: authentication failure`,
			want{"outcome": "failure", "(user)": "", "(ip)": "2001:db8::7"}},
		"postfix has lost its helper": {head + `postfix/smtpd[42]: warning: unknown[192.0.2.7]: SASL LOGIN authentication failed: Connection lost to authentication server`, want{"outcome": "", "(ip)": "192.0.2.7"}},
		"postfix lets in":             {head + `postfix/submission/smtpd[42]: 4F2A1: client=host.example.net[192.0.2.7], sasl_method=PLAIN, sasl_username=ann@example.org`, want{"outcome": "success", "(user)": "ann@example.org", "(ip)": "192.0.2.7"}},
		"postfix knows no such recipient": {head + `postfix/smtpd[42]: NOQUEUE: reject: RCPT from host.example.net[192.0.2.7]: 550 5.1.1 <an@example.org>: Recipient address rejected: User unknown in local recipient table; from=<b@example.net> to=<an@example.org> proto=ESMTP helo=<x>`,
			want{"outcome": "", "(ip)": "192.0.2.7", "event": "mail_rejected", "smtp_code": "550", "smtp_status": "5.1.1", "command": "RCPT"}},
		"postscreen rejects":   {head + `postfix/postscreen[42]: NOQUEUE: reject: RCPT from [192.0.2.7]:60591: 550 5.7.1 Service unavailable; client [192.0.2.7] blocked using rbl.example.com; from=<a@b>, to=<c@d>`, want{"outcome": "", "(ip)": "192.0.2.7", "smtp_code": "550"}},
		"postfix, other words": {head + `postfix/smtpd[42]: warning: non-SMTP command from unknown[192.0.2.7]: login failed for user root from 203.0.113.9`, want{"outcome": "", "(ip)": "192.0.2.7", "event": "non-smtp_command"}},

		"proxmox fails": {head + `pvedaemon[3663]: authentication failure; rhost=::ffff:192.0.2.7 user=eve@pam msg=no such user ('eve@pam')`,
			want{"(source)": "/linux/proxmox", "outcome": "failure", "(user)": "eve@pam", "(ip)": "192.0.2.7", "unknown_user": "true"}},
		"proxmox, a name that looks like an address": {head + `pveproxy[3663]: authentication failure; rhost=192.0.2.7 user=x rhost=203.0.113.9 user=root@pam msg=Authentication failure`,
			want{"outcome": "failure", "(ip)": "192.0.2.7", "unknown_user": ""}},
		"proxmox backup in its own log": {`2026-03-10T08:00:00+01:00: authentication failure; rhost=[::ffff:192.0.2.7]:47414 user=root@pbs msg=user account disabled or expired.`,
			want{"(time)": "2026-03-10T07:00:00Z", "outcome": "failure", "(ip)": "192.0.2.7", "(user)": "root@pbs"}},
		"proxmox lets in": {head + `pvedaemon[3663]: <root@pam> successful auth for user 'root@pam'`, want{"outcome": "success", "(user)": "root@pam", "(ip)": ""}},

		"hestia fails":   {`2026-03-10 08:00:00 ann 192.0.2.7 failed to login`, want{"(source)": "/linux/hestia", "outcome": "failure", "(user)": "ann", "(ip)": "192.0.2.7"}},
		"hestia lets in": {`2026-03-10 08:00:00 ann 192.0.2.7 successfully logged in`, want{"outcome": "success", "(user)": "ann", "(ip)": "192.0.2.7"}},

		"vsftpd's own log": {`Tue Mar 10 08:00:00 2026 [pid 27244] [ann] FAIL LOGIN: Client "::ffff:192.0.2.7"`, want{"(source)": "/linux/vsftpd", "(time)": "2026-03-10T08:00:00Z", "outcome": "failure", "(user)": "ann", "(ip)": "192.0.2.7", "pid": "27244"}},
		"vsftpd by syslog": {head + `vsftpd[9]: [ann] OK LOGIN: Client "192.0.2.7"`, want{"outcome": "success", "(user)": "ann", "(ip)": "192.0.2.7"}},

		"authelia, text":      {`time="2026-03-10T08:00:00+01:00" level=error msg="Unsuccessful 1FA authentication attempt by user 'ann'" method=POST path=/api/firstfactor remote_ip=192.0.2.7 stack="x"`, want{"(source)": "/authelia/authelia", "(time)": "2026-03-10T07:00:00Z", "outcome": "failure", "(user)": "ann", "(ip)": "192.0.2.7", "event": "1fa", "unknown_user": ""}},
		"authelia, JSON":      {`{"level":"error","method":"POST","msg":"Unsuccessful TOTP authentication attempt by user 'ann' and they are banned until 8:05:00AM on March 10 2026 (+00:00)","path":"/api/secondfactor/totp","remote_ip":"192.0.2.7","time":"2026-03-10T08:00:00Z"}`, want{"(source)": "/authelia/authelia", "(time)": "2026-03-10T08:00:00Z", "outcome": "failure", "(user)": "ann", "(ip)": "192.0.2.7", "event": "totp"}},
		"authelia, no user":   {`{"level":"error","method":"POST","msg":"Unsuccessful 1FA authentication attempt by user 'eve': user not found","path":"/api/firstfactor","remote_ip":"192.0.2.7","stack":[{"File":"a.go","Line":1}],"time":"2026-03-10T08:00:00Z"}`, want{"outcome": "failure", "(user)": "eve", "unknown_user": "true"}},
		"authelia 4.39":       {`time="2026-03-10T08:00:00Z" level=error msg="Error occurred getting details for user with username input 'eve' which usually indicates they do not exist" error="user not found" method=POST path=/api/firstfactor remote_ip=192.0.2.7`, want{"outcome": "failure", "(user)": "eve", "unknown_user": "true", "(ip)": "192.0.2.7"}},
		"authelia lets in":    {`time="2026-03-10T08:00:00Z" level=debug msg="Successful 1FA authentication attempt made by user 'ann'" method=POST path=/api/firstfactor remote_ip=192.0.2.7`, want{"outcome": "success", "(user)": "ann"}},
		"authelia in compose": {`auth-1  | time="2026-03-10T08:00:00Z" level=error msg="Unsuccessful Duo authentication attempt by user 'ann': duo auth result: deny, status: deny, message: Login request denied." method=POST path=/api/secondfactor/duo remote_ip=192.0.2.7`, want{"outcome": "failure", "(user)": "ann", "event": "duo"}},

		"sftpgo fails":         {`{"level":"debug","time":"2026-03-10T08:00:00.100","sender":"connection_failed","client_ip":"192.0.2.7","username":"ann","login_type":"password","protocol":"SSH","error":"invalid credentials"}`, want{"(source)": "/sftpgo/sftpgo", "outcome": "failure", "(user)": "ann", "(ip)": "192.0.2.7", "auth_method": "password"}},
		"sftpgo, no user":      {`{"level":"debug","time":"2026-03-10T08:00:00.100","sender":"connection_failed","client_ip":"192.0.2.7","username":"eve","login_type":"publickey","protocol":"SSH","error":"not found: username \"eve\" does not exist"}`, want{"outcome": "failure", "unknown_user": "true"}},
		"sftpgo, another key":  {`{"level":"debug","time":"2026-03-10T08:00:00.100","sender":"connection_failed","client_ip":"192.0.2.7","username":"ann","login_type":"publickey","protocol":"SSH","error":"invalid credentials"}`, want{"outcome": "", "(ip)": "192.0.2.7"}},
		"sftpgo, nobody tried": {`{"level":"debug","time":"2026-03-10T08:00:00.100","sender":"connection_failed","client_ip":"192.0.2.7","username":"","login_type":"no_auth_tried","protocol":"SSH","error":"EOF"}`, want{"outcome": ""}},
		"sftpgo lets in":       {`{"level":"info","time":"2026-03-10T08:00:00.100","sender":"SSH","connection_id":"3","message":"User \"ann\" logged in with \"password\", from ip \"192.0.2.7\", client version \"SSH-2.0-x\""}`, want{"outcome": "success", "(user)": "ann", "(ip)": "192.0.2.7"}},
		"exim fails": {`2026-03-10 08:00:00 plain_server authenticator failed for host.example.net ([203.0.113.9]) [192.0.2.7]:54412 I=[198.51.100.1]:587: 535 Incorrect authentication data (set_id=ann@example.org)`,
			want{"(source)": "/linux/exim", "outcome": "failure", "(user)": "ann@example.org", "(ip)": "192.0.2.7", "auth_method": "plain_server", "event": "mail_login"}},
		"exim by syslog":    {head + `exim[37]: 2026-03-10 08:00:00 [37] login authenticator failed for (x) [192.0.2.7]: 535 Incorrect authentication data`, want{"outcome": "failure", "(ip)": "192.0.2.7", "(user)": ""}},
		"exim lets in":      {`2026-03-10 08:00:00 1ahr79-0006jK-G9 <= ann@example.org H=host.example.net (x) [192.0.2.7]:54412 I=[198.51.100.1]:587 P=esmtpsa X=TLS1.3 A=plain_server:ann@example.org S=900`, want{"outcome": "success", "(user)": "ann@example.org", "(ip)": "192.0.2.7"}},
		"proftpd, no user":  {head + `proftpd[5517]: ftp01 (192.0.2.7[192.0.2.7]): USER eve: no such user found from 192.0.2.7 [192.0.2.7] to ::ffff:198.51.100.1:21`, want{"(source)": "/linux/proftpd", "outcome": "failure", "(user)": "eve", "unknown_user": "true", "(ip)": "192.0.2.7"}},
		"proftpd fails":     {head + `proftpd[5517]: ftp01 (::ffff:192.0.2.7[::ffff:192.0.2.7]) - USER ann (Login failed): Incorrect password.`, want{"outcome": "failure", "(user)": "ann", "unknown_user": "", "(ip)": "192.0.2.7"}},
		"proftpd, root":     {head + `proftpd[5517]: ftp01 (192.0.2.7[192.0.2.7]) - SECURITY VIOLATION: Root login attempted`, want{"outcome": "failure", "(user)": "root"}},
		"proftpd lets in":   {head + `proftpd[5517]: ftp01 (192.0.2.7[192.0.2.7]) - USER ann: Login successful.`, want{"outcome": "success", "(user)": "ann", "unknown_user": ""}},
		"proftpd, else":     {head + `proftpd[5517]: ftp01 (192.0.2.7[192.0.2.7]) - FTP session opened.`, want{"outcome": "", "(ip)": "192.0.2.7"}},
		"pure-ftpd fails":   {head + `pure-ftpd: (?@192.0.2.7) [WARNING] Authentication failed for user [ann]`, want{"(source)": "/linux/pure-ftpd", "outcome": "failure", "(user)": "ann", "(ip)": "192.0.2.7"}},
		"pure-ftpd lets in": {head + `pure-ftpd: (?@192.0.2.7) [INFO] ann is now logged in`, want{"outcome": "success", "(user)": "ann", "(ip)": "192.0.2.7"}},
		"asterisk refuses": {`[2026-03-10 08:00:00] NOTICE[1638][C-0a] chan_sip.c: Registration from '"x" <sip:1000@198.51.100.1>' failed for '192.0.2.7:5060' - Wrong password`,
			want{"(source)": "/linux/asterisk", "(time)": "2026-03-10T08:00:00Z", "outcome": "failure", "(user)": "1000", "(ip)": "192.0.2.7", "reason": "Wrong password", "unknown_user": ""}},
		"asterisk, a name that looks like an address": {`[2026-03-10 08:00:00] NOTICE[1638] chan_sip.c: Registration from '<sip:1' failed for '203.0.113.9:5060' - Wrong password@x>' failed for '192.0.2.7:5060' - No matching peer found`,
			want{"outcome": "failure", "(ip)": "192.0.2.7", "unknown_user": "true"}},
		"asterisk's security log": {`[Mar 10 08:00:00] SECURITY[77]: res_security_log.c:114 security_event_stasis_cb: SecurityEvent="ChallengeResponseFailed",EventTV="x",Severity="Error",Service="PJSIP",EventVersion="1",AccountID="6001",SessionID="2k",LocalAddress="IPV4/UDP/198.51.100.1/5060",RemoteAddress="IPV4/UDP/192.0.2.7/5063",Challenge="1"`,
			want{"(source)": "/linux/asterisk", "outcome": "failure", "(user)": "6001", "(ip)": "192.0.2.7", "security_event": "ChallengeResponseFailed"}},
		"asterisk's security log, a challenge":  {`[Mar 10 08:00:00] SECURITY[77]: res_security_log.c: SecurityEvent="ChallengeSent",EventTV="x",AccountID="6001",RemoteAddress="IPV4/UDP/192.0.2.7/5063",Challenge="1"`, want{"outcome": "", "(ip)": "192.0.2.7"}},
		"Apache, no user":                       {`[Tue Mar 10 08:00:00.123456 2026] [auth_basic:error] [pid 1:tid 2] [client 192.0.2.7:4711] AH01618: user eve not found: /`, want{"outcome": "failure", "(user)": "eve", "(ip)": "192.0.2.7"}},
		"nginx, no user":                        {`2026/03/10 08:00:00 [error] 1#0: *6 user "eve" was not found in "/etc/htpasswd", client: 192.0.2.7, server: x, request: "GET / HTTP/1.1", host: "x"`, want{"outcome": "failure", "(user)": "eve", "(ip)": "192.0.2.7"}},
		"an application that looks like a host": {`2026-03-10T08:00:00.667Z: Failed Login: username=ann ip=192.0.2.7`, want{"(time)": "2026-03-10T08:00:00.667Z", "outcome": "failure", "(user)": "ann", "(ip)": "192.0.2.7"}},
		"logfmt that names nobody":              {`t=2026-03-10T08:00:00+0000 lvl=eror msg="Invalid username or password" logger=context uname= error="User not found" remote_addr=192.0.2.7`, want{"outcome": "failure", "(ip)": "192.0.2.7"}},
		"PHP's time":                            {`[10-Mar-2026 08:00:00 +0100]: <x> IMAP Error: Login failed for ann@example.org from 192.0.2.7. AUTHENTICATE PLAIN: Authentication failed.`, want{"(time)": "2026-03-10T07:00:00Z", "outcome": "failure", "(ip)": "192.0.2.7"}},
		"nginx before a mail server":            {`2026/03/10 08:00:00 [info] 8#8: *66 client login failed: "Invalid login or password" while in http auth state, client: 192.0.2.7, server: 0.0.0.0:25, login: "ann@example.org"`, want{"(source)": "/nginx/nginx", "outcome": "failure", "(user)": "ann@example.org", "(ip)": "192.0.2.7"}},
		"nginx before it, lets in":              {`2026/03/10 08:00:00 [info] 8#8: *66 client logged in, client: 192.0.2.7, server: 0.0.0.0:25, login: "ann@example.org", upstream: 10.0.0.2:25 [192.0.2.9:4]->[10.0.0.2:25]`, want{"outcome": "success", "(ip)": "192.0.2.7"}},
		"a JSON log by its words":               {`{"timestamp":"2026-03-10 08:00:00.784","message":"[Auth] Failed login attempt for username \"ann\" from ip 192.0.2.7 (Invalid password)","level":4}`, want{"outcome": "failure", "(user)": "ann", "(ip)": "192.0.2.7"}},
		"a JSON log of other trouble":           {`{"timestamp":"2026-03-10 08:00:00.784","message":"request rejected: invalid user agent","client_ip":"192.0.2.7","level":4}`, want{"outcome": "", "(ip)": "192.0.2.7"}},
		"a time in brackets":                    {`[2026-03-10 08:00:00 +0100] info [panel] 192.0.2.7 - ann "POST /login/ HTTP/1.1" FAILED LOGIN panel: wrong password`, want{"(time)": "2026-03-10T07:00:00Z", "outcome": "failure", "(ip)": "192.0.2.7"}},
		"a time in brackets, no year":           {`[Mar 10 08:00:00] NOTICE[77]: Registration from '"9"' failed for '192.0.2.7:5060' - Wrong password`, want{"(time)": "2026-03-10T08:00:00Z"}},
		"a clock without its nought":            {`2026-03-10  8:00:00 8 [Warning] Access denied for user 'ann'@'192.0.2.7' (using password: YES)`, want{"(time)": "2026-03-10T08:00:00Z", "outcome": "failure", "(user)": "ann", "(ip)": "192.0.2.7"}},
		"a bar behind the time":                 {`2026-03-10 08:00:00.009756|INFO    |Query   |   |query from 11 192.0.2.7:48426 attempted to login with account "ann" and failed!`, want{"(time)": "2026-03-10T08:00:00.009756Z", "outcome": "failure", "(user)": "ann", "(ip)": "192.0.2.7"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all, sum := readAll(t, tc.line+"\n")
			if len(all) != 1 {
				t.Fatalf("%d records: %+v", len(all), sum)
			}
			for field, want := range tc.want {
				if got := said(all[0], field); got != want {
					t.Errorf("%s is %q, want %q", field, got, want)
				}
			}
		})
	}
}

// Whatever a source calls its address: IPv4 in IPv6 is IPv4, so that one client is one.
func TestMappedAddresses(t *testing.T) {
	t.Parallel()
	const mapped = "::ffff:192.0.2.7"
	for name, line := range map[string]string{
		"access":     mapped + ` - - [10/Mar/2026:08:00:00 +0000] "GET / HTTP/1.1" 200 1`,
		"sshd":       `Mar 10 08:00:00 h sshd[7]: Failed password for root from ` + mapped + ` port 22 ssh2`,
		"PAM":        `Mar 10 08:00:00 h x: pam_unix(x:auth): authentication failure; logname= uid=0 euid=0 tty= ruser= rhost=` + mapped,
		"words":      `Mar 10 08:00:00 h app: login failed for user ann from ` + mapped,
		"nginx":      `2026/03/10 08:00:00 [error] 1#1: *1 user "ann": password mismatch, client: ` + mapped + `, server: x, request: "GET / HTTP/1.1", host: "x"`,
		"apache":     `[Tue Mar 10 08:00:00.123456 2026] [auth_basic:error] [pid 1:tid 2] [client ` + mapped + `:4711] AH01617: user ann: authentication failure for "/": Password Mismatch`,
		"logfmt":     `time=2026-03-10T08:00:00Z level=info client_ip=` + mapped + ` msg=x`,
		"request":    `{"method":"GET","url":"/","client_ip":"` + mapped + `"}`,
		"JSON":       `{"timestamp":"2026-03-10T08:00:00Z","source":{"ip":"` + mapped + `"}}`,
		"windows":    `{"Event":{"System":{"Provider":{"#attributes":{"Name":"Microsoft-Windows-Security-Auditing"}},"EventID":4625,"Channel":"Security","Computer":"h"},"EventData":{"IpAddress":"` + mapped + `","TargetUserName":"ann"}}}`,
		"cloudtrail": `{"eventVersion":"1.08","eventSource":"s3.amazonaws.com","eventName":"GetObject","awsRegion":"x","eventTime":"2026-03-10T08:00:00Z","sourceIPAddress":"` + mapped + `"}`,
		"kubernetes": `{"kind":"Event","auditID":"1","verb":"get","requestURI":"/api","sourceIPs":["` + mapped + `"],"objectRef":{"resource":"pods"}}`,
		"suricata":   `{"timestamp":"2026-03-10T08:00:00Z","flow_id":1,"event_type":"alert","src_ip":"` + mapped + `","dest_ip":"192.0.2.9","alert":{"signature":"x"}}`,
		"firewall":   `Mar 10 08:00:00 h kernel: [1.2] [UFW BLOCK] IN=eth0 OUT= SRC=` + mapped + ` DST=192.0.2.9 PROTO=TCP SPT=1 DPT=22`,
		"CEF":        `CEF:0|V|P|1|1|x|5|src=` + mapped + ` dst=192.0.2.9`,
		"with port":  `{"timestamp":"2026-03-10T08:00:00Z","remote_addr":"` + mapped + `:4711"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all, sum := readAll(t, line+"\n")
			if len(all) != 1 {
				t.Fatalf("%d records: %+v", len(all), sum)
			}
			if all[0].SourceIP != "192.0.2.7" {
				t.Errorf("the source is %q", all[0].SourceIP)
			}
		})
	}
}

// Whatever a client sends: the address is one, and fields hold one value.
func FuzzServices(f *testing.F) {
	for _, s := range []string{
		"dovecot: imap-login: Disconnected (auth failed, 3 attempts): user=<a>, method=PLAIN, rip=192.0.2.7, lip=1", "dovecot: auth: sql(a,192.0.2.7): unknown user",
		"postfix/smtpd[1]: warning: x[192.0.2.7]: SASL LOGIN authentication failed: y, sasl_username=z", "postfix/smtpd[1]: NOQUEUE: reject: RCPT from x[192.0.2.7]: 550 5.1.1 y",
		"pvedaemon: authentication failure; rhost=192.0.2.7 user=x msg=y", `vsftpd: [pid 1] [x] FAIL LOGIN: Client "192.0.2.7"`, "exim[1]: x authenticator failed for (x) [192.0.2.7]: 535 Incorrect authentication data (set_id=x)", "proftpd[1]: x (x[192.0.2.7]) - USER x: no such user found from x", "pure-ftpd: (?@192.0.2.7) [WARNING] Authentication failed for user [x]",
		`NOTICE[1]: chan_sip.c: Registration from 'x' failed for '192.0.2.7:1' - Wrong password`, `SECURITY[1]: x.c: SecurityEvent="InvalidPassword",AccountID="x",RemoteAddress="IPV4/UDP/192.0.2.7/1"`,
		"authelia: Unsuccessful 1FA authentication attempt by user 'x': user not found",
	} {
		f.Add(s, "x")
	}
	f.Fuzz(func(t *testing.T, message, name string) {
		for _, line := range []string{"Mar 10 08:00:00 h " + message, "2026-03-10 08:00:00 " + message, "[2026-03-10 08:00:00 +0100] " + message, "c | " + message,
			`time=2026-03-10T08:00:00Z remote_ip=192.0.2.7 msg="Unsuccessful 1FA authentication attempt by user '` + name + `'"`} {
			_, err := telemetry.Parse(context.Background(), strings.NewReader(line), telemetry.Options{Now: func() time.Time { return time.Unix(1773129600, 0) }}, func(rec *cybervault.Record) error {
				if rec.SourceIP != "" {
					if ip, err := netip.ParseAddr(rec.SourceIP); err != nil || ip.Is4In6() {
						t.Errorf("the source of %q is %q", line, rec.SourceIP)
					}
				}
				switch rec.Fields[cybervault.FieldOutcome] {
				case "", cybervault.OutcomeFailure, cybervault.OutcomeSuccess, cybervault.OutcomeUnconfirmed:
				default:
					if !strings.Contains(line, cybervault.FieldOutcome) {
						t.Errorf("the outcome of %q is %q", line, rec.Fields[cybervault.FieldOutcome])
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}
