package telemetry

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/cybervault/cybervault"
)

// sshdForm is one form of message. In its pattern the named groups user,
// unknown, ip, port, method and n give the fields.
type sshdForm struct {
	event string
	kind  sshdKind
	part  string // of every message of the form: cheaper to look for than the pattern
	re    *regexp.Regexp
}

// sshdKind says what a form means for the connection it belongs to.
type sshdKind int

const (
	isFailure     sshdKind = iota // a failure, whatever came before
	isUnconfirmed                 // a failure once a later line of the connection confirms it
	isSuccess
	isKeyFailure // clients offer one key after another: a failure only for an account that does not exist
	isPending    // a failure, but the line has no address: the next line that has one carries it
	isClose      // a failure if the connection is still without one and has not logged in
	isCloseAfter // a failure only if one is pending
	isOpen       // a connection begins
	isNothing    // tells the address or user, no more
)

// addr is an address or name as sshd writes it; port the port where it is given.
const (
	addr = `(?P<ip>[0-9A-Za-z_.:%-]+)`
	port = `(?: port (?P<port>\d{1,5}))?`
	end  = `(?: \[preauth\])?\s*$`

	thePort = ` port (?P<port>\d{1,5})` // where a name stands before the address, which could pass for it
)

// sshdForms are tried in order. The text that a client chooses (user names,
// banners) is matched so that it cannot pass for the address that follows it.
var sshdForms = []sshdForm{
	{cybervault.SSHDAccepted, isSuccess, "Accepted ", regexp.MustCompile(`^Accepted (?P<method>\S+) for (?P<user>.*?) from ` + addr + port + `(?: ssh\d*)?(?:: .*)?$`)},
	{cybervault.SSHDPublicKey, isKeyFailure, "Failed ", regexp.MustCompile(`^Failed (?P<method>publickey|none) for (?P<unknown>(?:invalid|illegal) user )?(?P<user>\S*) from ` + addr + port + `(?: ssh\d*)?(?:: .*)?` + end)},
	{cybervault.SSHDPassword, isFailure, "Failed ", regexp.MustCompile(`^Failed (?P<method>\S+) for (?P<unknown>(?:invalid|illegal) user )?(?P<user>\S*|<invalid username>) from ` + addr + port + `(?: ssh\d*)?(?:: .*)?` + end)},
	{cybervault.SSHDPassword, isFailure, "Failed ", regexp.MustCompile(`^Failed (?P<method>\S+) for (?P<unknown>(?:invalid|illegal) user )?(?P<user>.*) from ` + addr + port + `(?: ssh\d*)?` + end)},
	{cybervault.SSHDUnknownUser, isFailure, " user ", regexp.MustCompile(`^(?P<unknown>Invalid|Illegal) user (?P<user>.*) from ` + addr + port + end)},
	{cybervault.SSHDPAM, isFailure, "PAM: ", regexp.MustCompile(`^(?:error: )?PAM: (?:(?i:authentication (?:failure|error))|User not known to the underlying authentication module|Permission denied|User account has expired|Maximum number of retries exceeded|Have exhausted maximum number of retries for service) for (?P<unknown>(?:invalid|illegal) user )?(?P<user>.*) from ` + addr + `(?: via \S+)?` + end)},
	{cybervault.SSHDPAMModule, isUnconfirmed, "rhost=", regexp.MustCompile(`^(?:pam_\w+\(sshd:auth\):|PAM (?P<n>\d+) more) authentication failures?;.* rhost=` + addr + `(?:\s+user=(?P<user>.*?))?` + end)},
	{cybervault.SSHDTooMany, isFailure, "maximum auth", regexp.MustCompile(`^(?:error: )?maximum authentication attempts exceeded for (?P<unknown>(?:invalid|illegal) user )?(?P<user>.*) from ` + addr + port + `(?: ssh\d*)?` + end)},
	{cybervault.SSHDNotAllowed, isFailure, " not allowed because ", regexp.MustCompile(`^User (?P<user>.*) from ` + addr + ` not allowed because .*$`)},
	{cybervault.SSHDNotAllowed, isFailure, "", regexp.MustCompile(`^(?i:ROOT LOGIN REFUSED FROM) ` + addr + port + end)},
	{cybervault.SSHDNotAllowed, isPending, " not allowed because ", regexp.MustCompile(`^User (?P<user>.*) not allowed because .*$`)},
	{cybervault.SSHDRefused, isFailure, "refused connect from ", regexp.MustCompile(`^refused connect from (?:.* \()?` + addr + `\)?` + port + end)},
	{cybervault.SSHDDisconnected, isFailure, "Received disconnect from ", regexp.MustCompile(`^(?:error: )?Received disconnect from ` + addr + port + `: ?3: .*: Auth fail` + end)},
	{cybervault.SSHDDisconnected, isFailure, "Received disconnect from ", regexp.MustCompile(`^(?:error: )?Received disconnect from ` + addr + port + `: ?14: No (?:supported )?authentication methods available` + end)},
	{cybervault.SSHDDisconnected, isCloseAfter, "Received disconnect from ", regexp.MustCompile(`^(?:error: )?Received disconnect from ` + addr + port + `: ?\d+: .*$`)},
	{cybervault.SSHDDisconnected, isFailure, "Disconnecting ", regexp.MustCompile(`^Disconnecting (?:authenticating user|(?P<unknown>invalid user)) (?P<user>.*) ` + addr + thePort + `: Change of username or service not allowed: .*$`)},
	{cybervault.SSHDTooMany, isClose, "Disconnecting ", regexp.MustCompile(`^Disconnecting (?:authenticating user|(?P<unknown>invalid user)) (?P<user>.*) ` + addr + thePort + `: Too many authentication failures` + end)},
	{cybervault.SSHDTooMany, isPending, "Disconnecting: ", regexp.MustCompile(`^Disconnecting: Too many authentication failures(?: for (?P<unknown>(?:invalid|illegal) user )?(?P<user>.*?))?` + end)},
	{cybervault.SSHDDisconnected, isFailure, "Connection ", regexp.MustCompile(`^Connection (?:closed|reset) by (?:authenticating user|(?P<unknown>invalid user)) (?P<user>.*) ` + addr + thePort + end)},
	// The client left without trying: a person who thought better of it.
	{cybervault.SSHDDisconnected, isCloseAfter, "Disconnected from ", regexp.MustCompile(`^Disconnected from (?:authenticating user|(?P<unknown>invalid user)) (?P<user>.*) ` + addr + thePort + end)},
	{cybervault.SSHDDisconnected, isClose, "onnect", regexp.MustCompile(`^(?:Connection (?:closed|reset) by|Disconnected from) ` + addr + port + ` \[preauth\]$`)},
	{cybervault.SSHDDisconnected, isCloseAfter, "onnect", regexp.MustCompile(`^(?:Connection (?:closed|reset) by|Disconnected from) ` + addr + port + `$`)},
	{cybervault.SSHDSilent, isFailure, "Did not receive ", regexp.MustCompile(`^(?:error: )?Did not receive identification string from ` + addr + port + end)},
	{cybervault.SSHDProtocol, isFailure, "Bad protocol ", regexp.MustCompile(`^(?:error: )?Bad protocol version identification '.*' from ` + addr + port + end)},
	{cybervault.SSHDProtocol, isFailure, "Unable to negotiate with ", regexp.MustCompile(`^(?:fatal: )?Unable to negotiate with ` + addr + port + `: no matching .*$`)},
	{cybervault.SSHDProtocol, isFailure, "banner exchange: ", regexp.MustCompile(`^(?:error: )?banner exchange: Connection from ` + addr + port + `: .*$`)},
	{cybervault.SSHDProtocol, isFailure, "ssh_dispatch_run_fatal: ", regexp.MustCompile(`^(?:error: )?ssh_dispatch_run_fatal: Connection from (?:(?:authenticating|(?P<unknown>invalid)) user (?P<user>.*) )?` + addr + thePort + `: .*\[preauth\]$`)},
	{cybervault.SSHDProtocol, isFailure, "Timeout before ", regexp.MustCompile(`^(?:fatal: )?Timeout before authentication for (?:connection from )?` + addr + port + `(?: to .*)?$`)},
	{cybervault.SSHDProtocol, isPending, "fatal: ", regexp.MustCompile(`^fatal: (?:Read from socket failed: .*|Unable to negotiate a key exchange method.*|no matching .*)$`)},
	{cybervault.SSHDProtocol, isPending, "kex_exchange_identification: ", regexp.MustCompile(`^(?:error: )?kex_exchange_identification: .*$`)},
	{"", isOpen, "Connection from ", regexp.MustCompile(`^Connection from ` + addr + port + `(?: on .*)?$`)},
	{"", isNothing, "SSH: Server;", regexp.MustCompile(`^SSH: Server;Ltype: \w+;Remote: (?P<ip>[0-9A-Fa-f.:]+)-(?P<port>\d+);.*$`)},
	{"", isNothing, "Postponed ", regexp.MustCompile(`^Postponed \S+ for (?P<unknown>(?:invalid|illegal) user )?(?P<user>.*) from ` + addr + port + `.*$`)},
}

// sshdConnections remembers, for the connections lately seen, what one line
// says that another of the same process needs: the address, a failure that was
// logged without one. The oldest are forgotten first.
type sshdConnections struct {
	byPID map[string]*sshdConnection
	order []string // ring of the keys in byPID, in order of arrival
	next  int
}

type sshdConnection struct {
	ip, name, port string
	user           string
	pending        bool // a failure waits for an address
	failed         bool // a failure has been told
	accepted       bool
	pamUser        string // of the last unconfirmed failure
	unconfirmed    int
}

const maxSSHDConnections = 4096

func newSSHDConnections() *sshdConnections {
	return &sshdConnections{byPID: make(map[string]*sshdConnection)}
}

// of returns the connection that a line belongs to. Without a process id each
// line is a connection of its own.
func (c *sshdConnections) of(rec *cybervault.Record) *sshdConnection {
	pid := rec.Fields[cybervault.FieldPID]
	if pid == "" {
		return &sshdConnection{}
	}
	key := rec.Host + "\x00" + pid
	if conn := c.byPID[key]; conn != nil {
		return conn
	}
	conn := &sshdConnection{}
	if len(c.order) < maxSSHDConnections {
		c.order = append(c.order, key)
	} else {
		delete(c.byPID, c.order[c.next])
		c.order[c.next] = key
		c.next = (c.next + 1) % maxSSHDConnections
	}
	c.byPID[key] = conn
	return conn
}

// "message repeated 3 times: [ Failed password for … ]", as rsyslog folds lines.
var repeated = regexp.MustCompile(`^message repeated (\d{1,6}) times: \[ ?(.*?) ?\]$`)

// read sets the fields of an sshd record from its message.
func (c *sshdConnections) read(rec *cybervault.Record) {
	f := rec.Fields
	message := f[cybervault.FieldMessage]
	times := 1
	if strings.HasPrefix(message, "message repeated ") {
		if m := repeated.FindStringSubmatch(message); m != nil {
			times, _ = strconv.Atoi(m[1])
			message = m[2]
		}
	}
	conn := c.of(rec)
	for i := range sshdForms {
		form := &sshdForms[i]
		if !strings.Contains(message, form.part) {
			continue
		}
		m := form.re.FindStringSubmatch(message)
		if m == nil {
			continue
		}
		for g, name := range form.re.SubexpNames() {
			switch v := strings.TrimSpace(m[g]); name {
			case "ip":
				if ip, ok := address(v); ok {
					f[cybervault.FieldSourceIP] = ip
				} else {
					set(f, cybervault.FieldSourceName, v)
				}
			case "port":
				set(f, cybervault.FieldSourcePort, v)
			case "user":
				set(f, cybervault.FieldUser, v)
			case "unknown":
				if v != "" {
					f[cybervault.FieldUnknownUser] = "true"
				}
			case "method":
				set(f, cybervault.FieldMethod, v)
			case "n":
				if n, err := strconv.Atoi(v); err == nil && n > 0 && n < 1000 {
					times *= n
				}
			}
		}
		if f[cybervault.FieldUser] == "<invalid username>" {
			delete(f, cybervault.FieldUser)
			f[cybervault.FieldUnknownUser] = "true"
		}
		set(f, cybervault.FieldEvent, form.event)
		conn.judge(form.kind, f)
		break
	}
	if times > 1 && f[cybervault.FieldOutcome] != "" {
		f[cybervault.FieldAttempts] = strconv.Itoa(times)
	}
}

// judge settles what the line's form means in its connection, and lends the
// line what the connection knows.
func (conn *sshdConnection) judge(kind sshdKind, f map[string]string) {
	if f[cybervault.FieldSourceIP] == "" && f[cybervault.FieldSourceName] == "" {
		set(f, cybervault.FieldSourceIP, conn.ip)
		set(f, cybervault.FieldSourceName, conn.name)
		set(f, cybervault.FieldSourcePort, conn.port)
	} else if kind == isOpen || kind != isClose && kind != isCloseAfter &&
		f[cybervault.FieldSourcePort] != "" && conn.port != "" && f[cybervault.FieldSourcePort] != conn.port {
		// Process ids come round again: a new port is a new connection, except
		// on a line that ends one.
		*conn = sshdConnection{pending: conn.pending && kind != isOpen}
	}
	known := f[cybervault.FieldSourceIP] != "" || f[cybervault.FieldSourceName] != ""
	if known {
		conn.ip, conn.name = f[cybervault.FieldSourceIP], f[cybervault.FieldSourceName]
		if f[cybervault.FieldSourcePort] != "" {
			conn.port = f[cybervault.FieldSourcePort]
		}
	}
	if f[cybervault.FieldUser] == "" {
		set(f, cybervault.FieldUser, conn.user)
	} else {
		conn.user = f[cybervault.FieldUser]
	}
	failure := false
	switch kind {
	case isFailure:
		failure = true
	case isKeyFailure:
		failure = f[cybervault.FieldUnknownUser] != ""
	case isPending:
		failure = known
		conn.pending = !known
	case isClose:
		failure = conn.pending || !conn.failed && !conn.accepted
	case isCloseAfter:
		failure = conn.pending
	case isUnconfirmed:
		f[cybervault.FieldOutcome] = cybervault.OutcomeUnconfirmed
		user := f[cybervault.FieldUser]
		if user == "" || strings.Contains(f[cybervault.FieldMessage], "ruser="+user+" ") {
			user = ruser(f[cybervault.FieldMessage])
		}
		if conn.unconfirmed > 0 && user != "" && conn.pamUser != "" && user != conn.pamUser {
			failure = true // a second user in one connection: nobody mistypes that
		}
		if user != "" {
			conn.pamUser = user
		}
		conn.unconfirmed++
	case isSuccess:
		f[cybervault.FieldOutcome] = cybervault.OutcomeSuccess
		if conn.unconfirmed > 0 && conn.pamUser != "" && conn.pamUser != f[cybervault.FieldUser] {
			f[cybervault.FieldConfirms] = strconv.Itoa(conn.unconfirmed)
		}
		*conn = sshdConnection{ip: conn.ip, name: conn.name, port: conn.port, accepted: true}
	case isOpen, isNothing:
	}
	if failure {
		f[cybervault.FieldOutcome] = cybervault.OutcomeFailure
		conn.failed, conn.pending = true, false
	}
	if kind == isClose || kind == isCloseAfter {
		*conn = sshdConnection{}
	}
}

// ruser is the name that PAM says the client gave, where it knows no user.
func ruser(message string) string {
	_, rest, ok := strings.Cut(message, "ruser=")
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(rest, " ")
	return name
}
