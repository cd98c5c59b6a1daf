package telemetry

import (
	"strings"

	"github.com/cybervault/cybervault"
)

// Names under which common sources, ECS and OCSF among them, keep who acted,
// from where, on which machine, and when.
var (
	genericTimes     = []string{"@timestamp", "timestamp", "eventTime", "event_time", "time", "ts", "datetime", "date", "created_at", "createdAt", "published", "_time", "event.created", "TimeGenerated", "metadata.original_time", "occurred_at", "t.$date"}
	genericAddresses = []string{"source.ip", "client.ip", "src_endpoint.ip", "src_ip", "source_ip", "sourceIp", "sourceIPAddress", "client_ip", "clientIp", "remote_addr", "remote_ip", "ip_address", "ipAddress", "IpAddress", "ip", "c-ip", "actor_ip", "SourceIp", "attr.remote", "remoteAddr", "remoteAddress"}
	genericUsers     = []string{"user.name", "actor.user.name", "user.email", "username", "user_name", "userName", "user", "User", "actor", "account", "email", "actor.email", "login", "principal", "userId", "user_id", "attr.principalName", "attr.user"}
	genericHosts     = []string{"host.name", "host.hostname", "device.hostname", "hostname", "host", "Hostname", "Computer", "computer", "agent.name", "server"}
)

// processAliases are the names of Sigma's process_creation for ECS and OCSF.
var processAliases = [][]string{
	{"Image", "process.executable", "process.file.path", "process.name"},
	{"CommandLine", "process.command_line", "process.cmd_line"},
	{"ProcessId", "process.pid"},
	{"CurrentDirectory", "process.working_directory"},
	{"OriginalFileName", "process.pe.original_file_name"},
	{"ParentImage", "process.parent.executable", "process.parent_process.file.path", "actor.process.file.path", "process.parent.name"},
	{"ParentCommandLine", "process.parent.command_line", "process.parent_process.cmd_line", "actor.process.cmd_line"},
	{"ParentProcessId", "process.parent.pid", "process.parent_process.pid", "actor.process.pid"},
	{"IntegrityLevel", "process.integrity", "winlog.event_data.IntegrityLevel"},
	{"User", "user.name", "actor.user.name"},
}

// generic reads an object of no known source: its values under their own names,
// and what is asked of every record where a common name tells it. One that packs
// another record is read as that.
func (p *parser) generic() (*cybervault.Record, string) {
	rec := p.json.record()
	f := rec.Fields
	p.who(rec, genericTimes, genericAddresses, genericUsers, genericHosts)
	if first(f, "process.command_line", "process.cmd_line") != "" {
		for _, names := range processAliases {
			alias(f, names[0], names[1:]...)
		}
		if f["event.category"] == "process" || f["class_uid"] == "1007" || f["event.type"] == "start" {
			rec.Category = "process_creation"
		}
		switch first(f, "host.os.family", "host.os.type", "device.os.type", "device.os.name") {
		case "windows", "Windows":
			rec.Product = "windows"
		case "linux", "Linux":
			rec.Product = "linux"
		case "macos", "darwin", "macOS":
			rec.Product = "macos"
		}
		return rec, ""
	}
	if inner, whole := p.wrapped(); inner != "" {
		if out := p.unwrap(inner, whole, rec); out != rec {
			return out, ""
		}
	}
	toldOf(rec)
	return rec, ""
}

// toldOf reads what a record with a message of its own tells of a login: by the
// form where the service is known, by its words otherwise.
func toldOf(rec *cybervault.Record) {
	f := rec.Fields
	if f[cybervault.FieldOutcome] != "" || loggedService(rec) {
		return
	}
	message := first(f, cybervault.FieldMessage, "msg")
	if len(message) < 8 || !strings.Contains(message, " ") {
		return
	}
	if rec.SourceIP != "" {
		set(f, cybervault.FieldSourceIP, rec.SourceIP)
	}
	loginWords(rec, message)
	if f[cybervault.FieldUser] == "" && rec.User == "" && !strings.Contains(strings.ToLower(message), "password") {
		delete(f, cybervault.FieldOutcome) // a program's own trouble, more likely than a person's
	}
}
