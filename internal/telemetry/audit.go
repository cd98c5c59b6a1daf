package telemetry

import (
	"bytes"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// Bounds of audit events that are being put together.
const (
	maxAuditOpen  = 16 // of which the oldest is taken to be whole
	maxAuditLines = 300
)

// auditEvent is an event of the audit system while its lines come in: those of
// one serial number and machine are one record.
type auditEvent struct {
	key    string
	host   string
	time   time.Time
	values *values
	args   map[int]string // of EXECVE
	raw    []byte
	line   int
	lines  int
}

// auditTypes are the names of the numbers that the kernel writes where no
// audit daemon runs.
var auditTypes = map[string]string{
	"1100": "USER_AUTH", "1101": "USER_ACCT", "1103": "CRED_ACQ", "1105": "USER_START", "1106": "USER_END", "1112": "USER_LOGIN", "1123": "USER_CMD", "1130": "SERVICE_START", "1131": "SERVICE_STOP",
	"1300": "SYSCALL", "1302": "PATH", "1305": "CONFIG_CHANGE", "1306": "SOCKADDR", "1307": "CWD", "1309": "EXECVE", "1320": "EOE", "1325": "NETFILTER_CFG", "1326": "SECCOMP", "1327": "PROCTITLE",
	"1334": "BPF", "1400": "AVC", "1701": "ANOM_ABEND",
}

// auditHex are the fields that are in hexadecimal where they hold more than
// plain text, and then without quotes.
var auditHex = map[string]bool{"acct": true, "cmd": true, "comm": true, "cwd": true, "data": true, "exe": true, "key": true, "name": true, "proctitle": true}

// auditLine reports whether a line is one of the audit system's, and takes it in:
// as it stands in audit.log, with the node's name before it, or by way of syslog.
func (p *parser) auditLine(s string, line []byte) (ours bool, err error) {
	head, rest, ok := strings.Cut(s, "type=")
	if !ok || len(head) > 200 {
		return false, nil
	}
	kind, rest, ok := strings.Cut(rest, " ")
	if !ok {
		return false, nil
	}
	rest = strings.TrimPrefix(rest, "msg=")
	stamp, body, ok := strings.Cut(rest, "):")
	if stamp, found := strings.CutPrefix(stamp, "audit("); !found || !ok {
		return false, nil
	} else if at, serial, ok := auditStamp(stamp); ok {
		host, ours := p.auditHost(head)
		if !ours {
			return false, nil
		}
		if name := auditTypes[kind]; name != "" {
			kind = name
		}
		return true, p.audit(host, kind, at, serial, strings.TrimSpace(body), line)
	}
	return false, nil
}

func auditStamp(s string) (at time.Time, serial string, ok bool) {
	seconds, serial, ok := strings.Cut(s, ":")
	whole, millis, _ := strings.Cut(seconds, ".")
	sec, err := strconv.ParseInt(whole, 10, 64)
	ms, _ := strconv.Atoi(millis)
	at = time.Unix(sec, int64(ms)*int64(time.Millisecond)).UTC()
	return at, serial, ok && err == nil && digits(serial) && inRange(at)
}

// auditHost reads what stands before the type: nothing, "node=NAME ", or the
// head of a syslog line.
func (p *parser) auditHost(head string) (host string, ok bool) {
	if head == "" {
		return "", true
	}
	if node, found := strings.CutPrefix(head, "node="); found {
		return strings.TrimSpace(node), true
	}
	_, rest, ok := p.stamp(cutPriority(head))
	if !ok {
		if rest, ok = strings.CutPrefix(cutPriority(head), "1 "); !ok {
			return "", false
		}
		fields := strings.Fields(rest)
		if len(fields) < 2 {
			return "", false
		}
		return fields[1], true
	}
	host, _, _ = strings.Cut(rest, " ")
	return host, !strings.HasSuffix(host, ":")
}

// audit takes in one line. The types of user space stand alone; those that a
// system call leads to are gathered until PROCTITLE, which the kernel writes last.
func (p *parser) audit(host, kind string, at time.Time, serial string, body string, line []byte) error {
	key := host + "\x00" + serial
	e := p.auditOpen(key)
	switch kind {
	case "EOE":
		return p.auditEnd(e)
	case "SYSCALL", "EXECVE", "PATH", "CWD", "PROCTITLE", "SOCKADDR", "BPRM_FCAPS", "CAPSET", "OBJ_PID", "MMAP", "IPC", "FD_PAIR", "SECCOMP", "BPF", "KERN_MODULE", "AVC", "NETFILTER_CFG":
	default:
		e = nil
	}
	alone := e == nil && kind != "SYSCALL" && kind != "EXECVE" && kind != "PATH" && kind != "CWD" && kind != "AVC" && kind != "NETFILTER_CFG" && kind != "BPF" && kind != "KERN_MODULE"
	if e == nil {
		e = &auditEvent{key: key, host: host, time: at, values: newValues(), args: map[int]string{}, line: p.line}
		if !alone {
			if len(p.audits) == maxAuditOpen {
				if err := p.auditEnd(p.audits[0]); err != nil {
					return err
				}
			}
			p.audits = append(p.audits, e)
		}
	}
	e.add(kind, body, line)
	if alone || kind == "PROCTITLE" || e.lines >= maxAuditLines {
		return p.auditEnd(e)
	}
	return nil
}

func (p *parser) auditOpen(key string) *auditEvent {
	for _, e := range p.audits {
		if e.key == key {
			return e
		}
	}
	return nil
}

func (e *auditEvent) add(kind, body string, line []byte) {
	e.lines++
	if len(e.raw) > 0 {
		e.raw = append(e.raw, '\n')
	}
	if len(e.raw) < DefaultMaxLine {
		e.raw = append(e.raw, bytes.TrimSpace(line)...)
	}
	e.values.add("type", kind)
	pairs(body, func(name, value string, quoted bool) {
		if name == "msg" && quoted { // user space has its own pairs within
			pairs(value, func(name, value string, quoted bool) { e.pair(kind, name, value, quoted) })
			return
		}
		e.pair(kind, name, value, quoted)
	})
}

func (e *auditEvent) pair(kind, name, value string, quoted bool) {
	if kind == "EXECVE" && len(name) > 1 && name[0] == 'a' && name != "argc" {
		// "a1=…", or "a1[0]=…" in pieces where it is long; "a1_len=" is of no use.
		number, _, _ := strings.Cut(name[1:], "[")
		if n, err := strconv.Atoi(number); err == nil && n < maxPairs {
			if !quoted {
				value = unhex(value)
			}
			e.args[n] += value
		}
		return
	}
	if value == "(null)" || value == "?" {
		return
	}
	if auditHex[name] && !quoted {
		value = unhex(value)
	}
	switch {
	case name == "proctitle":
		value = strings.ReplaceAll(value, "\x00", " ")
	case name == "saddr" && kind == "SOCKADDR":
		if ip, port, ok := sockaddr(value); ok {
			e.values.add("dst_ip", ip)
			e.values.add("dst_port", port)
		}
	}
	e.values.add(name, value)
}

// unhex decodes what is in hexadecimal; anything else it leaves as it is.
func unhex(s string) string {
	b, err := hex.DecodeString(s)
	if err != nil || s == "" {
		return s
	}
	return strings.ToValidUTF8(strings.TrimRight(string(b), "\x00"), "\uFFFD")
}

// sockaddr reads an IPv4 or IPv6 socket address as x86 and ARM lay it out.
func sockaddr(s string) (ip, port string, ok bool) {
	b, err := hex.DecodeString(s)
	switch {
	case err != nil || len(b) < 8 || b[1] != 0:
		return "", "", false
	case b[0] == 2:
		ip = strconv.Itoa(int(b[4])) + "." + strconv.Itoa(int(b[5])) + "." + strconv.Itoa(int(b[6])) + "." + strconv.Itoa(int(b[7]))
	case b[0] == 10 && len(b) >= 24:
		var text []string
		for i := 8; i < 24; i += 2 {
			text = append(text, hex.EncodeToString(b[i:i+2]))
		}
		ip = strings.Join(text, ":")
	default:
		return "", "", false
	}
	ip, ok = address(ip)
	return ip, strconv.Itoa(int(b[2])<<8 | int(b[3])), ok
}

// auditEnd hands an event on.
func (p *parser) auditEnd(e *auditEvent) error {
	if e == nil {
		return nil
	}
	for i, open := range p.audits {
		if open == e {
			p.audits = append(p.audits[:i], p.audits[i+1:]...)
			break
		}
	}
	return p.emit(e.record(), e.raw, e.line)
}

func (p *parser) auditFlush() error {
	for len(p.audits) > 0 {
		if err := p.auditEnd(p.audits[0]); err != nil {
			return err
		}
	}
	return nil
}

func (e *auditEvent) record() *cybervault.Record {
	f := e.values.one
	rec := &cybervault.Record{Product: "linux", Service: "auditd", Time: e.time, Host: e.host, Fields: f, Multi: e.values.many}
	if len(e.args) > 0 {
		// SYSCALL's a0 to a3 are registers, and mean nothing beside the arguments.
		words := make([]string, 0, len(e.args))
		for i := range 4 {
			name := "a" + strconv.Itoa(i)
			delete(f, name)
			delete(rec.Multi, name)
		}
		for i := range maxPairs {
			if arg, ok := e.args[i]; ok {
				f["a"+strconv.Itoa(i)] = arg
				words = append(words, arg)
			}
		}
		rec.Category = "process_creation"
		f["CommandLine"] = strings.Join(words, " ")
		set(f, "Image", f["exe"])
		set(f, "CurrentDirectory", f["cwd"])
		set(f, "ProcessId", f["pid"])
		set(f, "ParentProcessId", f["ppid"])
	}
	rec.User = auditUser(f)
	set(f, "User", rec.User)
	for _, name := range []string{"addr", "hostname"} {
		if ip, ok := address(f[name]); ok {
			f[cybervault.FieldSourceIP] = ip
			break
		}
	}
	switch first(f, "res", "success") {
	case "failed", "no", "0":
		f[cybervault.FieldOutcome] = cybervault.OutcomeFailure
	case "success", "yes", "1":
		f[cybervault.FieldOutcome] = cybervault.OutcomeSuccess
	}
	return rec
}

// auditUser is the account: by name where the log has it, by number otherwise.
func auditUser(f map[string]string) string {
	if name := first(f, "acct", "UID"); name != "" {
		return name
	}
	if f["uid"] == "0" {
		return "root"
	}
	return f["uid"]
}
