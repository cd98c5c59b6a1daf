package telemetry

import (
	"strconv"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// windows reads an event of the Windows event log in one of the shapes it is
// shipped in: the event's own structure, as evtx_dump and converters of its XML
// write it; Winlogbeat's; or flat, as NXLog, Fluent Bit and Get-WinEvent have it.
// All come out alike: the event's data under its own names, which are the ones
// Sigma's rules use, and the system's part as EventID, Channel, Provider_Name,
// Computer and so on.
func (p *parser) windows(m jsonMarks) (*cybervault.Record, string) {
	switch {
	case m&markEVTX != 0:
		p.json.nameEVTX()
	case m&markWinlogbeat != 0:
		p.json.nameWinlogbeat()
	}
	rec := p.json.record()
	f := rec.Fields
	alias(f, "EventID", "EventCode", "event_id", "Id", "event.code")
	alias(f, "Channel", "LogName")
	alias(f, "Provider_Name", "SourceName", "ProviderName", "EventSourceName", "event.provider")
	alias(f, "Computer", "Hostname", "MachineName", "ComputerName", "host.name", "HostName")
	rec.Product, rec.Host = "windows", f["Computer"]
	rec.Service = windowsService(f["Channel"], f["Provider_Name"])
	id := windowsEventID(f)
	switch rec.Service {
	case "sysmon":
		p.sysmon(rec, id)
	case "security":
		security(rec, id)
	case "powershell", "powershell-classic":
		powershell(rec, id)
	}
	if rec.User == "" {
		rec.User = windowsUser(f)
	}
	if rec.SourceIP == "" {
		rec.SourceIP = firstAddress(f, "IpAddress", "ClientAddress", "SourceAddress", "SourceNetworkAddress", "RemoteAddress", "source.ip")
	}
	rec.Time = p.windowsTime(f)
	return rec, ""
}

// windowsEventID returns the event's number without the bits that say how bad
// it is, which some sources leave in.
func windowsEventID(f map[string]string) int {
	n, err := strconv.ParseUint(f["EventID"], 10, 32)
	if err != nil {
		return -1
	}
	if n > 0xffff {
		n &= 0xffff
		f["EventID"] = strconv.FormatUint(n, 10)
	}
	return int(n)
}

// windowsUser names the account an event is about: the one that logs in or is
// changed, or else the one that acts.
func windowsUser(f map[string]string) string {
	for _, who := range [...][2]string{
		{"TargetUserName", "TargetDomainName"}, {"SubjectUserName", "SubjectDomainName"},
		{"User", ""}, {"user.name", "user.domain"}, {"AccountName", "Domain"},
	} {
		if name := first(f, who[0]); name != "" {
			if domain := first(f, who[1]); domain != "" && domain != "." {
				return domain + `\` + name
			}
			return name
		}
	}
	return ""
}

// windowsTime prefers what names its zone, since the sender's is not known
// here: the event's own stamp, Sysmon's (UTC by its definition), the shipper's.
func (p *parser) windowsTime(f map[string]string) time.Time {
	var local time.Time
	for _, name := range [...]string{"TimeCreated", "SystemTime", "UtcTime", "@timestamp", "TimeGenerated", "EventTime"} {
		s := f[name]
		if s == "" {
			continue
		}
		if n, ok := strings.CutPrefix(s, "/Date("); ok { // ConvertTo-Json's
			s, _, _ = strings.Cut(n, ")")
		}
		if name == "UtcTime" {
			s += "Z"
		}
		t, ok := p.anyTime(s)
		if !ok {
			continue
		}
		if zoned(s) {
			return t
		}
		if local.IsZero() {
			local = t
		}
	}
	return local
}

// zoned reports whether a stamp says which zone it is in; a number does.
func zoned(s string) bool {
	if len(s) <= 19 || s[4] != '-' {
		return digits(s)
	}
	return s[len(s)-1] == 'Z' || strings.LastIndexAny(s, "+-") > 18
}

// nameEVTX gives the values of an event's own structure their short names:
// those of its data the name they have there, those of its system part theirs.
func (s *jsonScan) nameEVTX() {
	named := s.namedData()
	for i := range s.values {
		v := &s.values[i]
		name := strings.TrimPrefix(v.name, "Event.")
		if rest, ok := strings.CutPrefix(name, "System."); ok {
			v.name = systemName(rest)
			continue
		}
		rest, ok := strings.CutPrefix(name, "EventData.")
		if !ok {
			if rest, ok = strings.CutPrefix(name, "UserData."); ok {
				_, rest, _ = strings.Cut(rest, ".") // the element that holds the data
			} else {
				rest = name
			}
		}
		switch {
		case strings.HasSuffix(rest, "attributes.xmlns"), strings.HasSuffix(rest, "@xmlns"), isAttribute(rest, "Name"):
			v.name = ""
		case strings.HasSuffix(rest, ".#text"):
			v.name = strings.TrimSuffix(rest, ".#text")
			if v.name == "Data" && named[v.elem] != "" {
				v.name = named[v.elem]
			}
		default:
			v.name = rest
		}
	}
}

// namedData finds the names of data that come as a list of elements with a name
// and a text each: by the element.
func (s *jsonScan) namedData() map[int32]string {
	var named map[int32]string
	for i := range s.values {
		v := &s.values[i]
		_, rest, ok := strings.Cut(v.name, "EventData.Data.")
		if !ok || !isAttribute(rest, "Name") {
			continue
		}
		if named == nil {
			named = make(map[int32]string, 16)
		}
		named[v.elem] = v.value
	}
	return named
}

// isAttribute reports whether a member stands for an XML attribute of the name,
// as one converter or another writes it.
func isAttribute(member, name string) bool {
	rest, ok := strings.CutSuffix(member, name)
	if !ok {
		return false
	}
	return rest == "" || rest == "@" || strings.HasSuffix(rest, ".@") || strings.HasSuffix(rest, "attributes.")
}

// systemName is the name Sigma has for a member of an event's system part.
func systemName(rest string) string {
	element, attr, ok := strings.Cut(rest, ".")
	if !ok || attr == "#text" {
		return element
	}
	attr = strings.TrimPrefix(strings.TrimPrefix(attr, "#attributes."), "@")
	element = strings.TrimSuffix(element, "_attributes")
	if element == "Provider" {
		return "Provider_" + attr
	}
	return attr // SystemTime, ProcessID, ThreadID, UserID, ActivityID, Qualifiers
}

// nameWinlogbeat does the same for Winlogbeat, old and new. What else it has, in
// the names of ECS, keeps them.
func (s *jsonScan) nameWinlogbeat() {
	for i := range s.values {
		v := &s.values[i]
		name := strings.TrimPrefix(v.name, "winlog.")
		if rest, ok := strings.CutPrefix(name, "event_data."); ok {
			v.name = rest
			continue
		}
		if rest, ok := strings.CutPrefix(name, "user_data."); ok {
			v.name = rest
			continue
		}
		if len(name) == len(v.name) && strings.IndexByte(name, '.') >= 0 {
			continue
		}
		switch name {
		case "channel", "log_name":
			v.name = "Channel"
		case "event_id":
			v.name = "EventID"
		case "provider_name", "source_name":
			v.name = "Provider_Name"
		case "provider_guid":
			v.name = "Provider_Guid"
		case "computer_name":
			v.name = "Computer"
		case "record_id", "record_number":
			v.name = "EventRecordID"
		case "process.pid":
			v.name = "ProcessID"
		case "process.thread.id":
			v.name = "ThreadID"
		case "user.identifier":
			v.name = "UserID"
		case "task":
			v.name = "Task"
		case "opcode":
			v.name = "Opcode"
		case "keywords":
			v.name = "Keywords"
		case "message":
			v.name = "Message"
		}
	}
}
