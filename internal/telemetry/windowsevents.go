package telemetry

import (
	"strconv"
	"strings"

	"github.com/cybervault/cybervault"
)

// sysmonCategories are Sigma's categories by the number of Sysmon's event.
var sysmonCategories = [...]string{
	1: "process_creation", 2: "file_change", 3: "network_connection", 4: "sysmon_status", 5: "process_termination",
	6: "driver_load", 7: "image_load", 8: "create_remote_thread", 9: "raw_access_thread", 10: "process_access",
	11: "file_event", 12: "registry_event", 13: "registry_set", 14: "registry_rename", 15: "create_stream_hash",
	16: "sysmon_status", 17: "pipe_created", 18: "pipe_created", 19: "wmi_event", 20: "wmi_event", 21: "wmi_event",
	22: "dns_query", 23: "file_delete", 24: "clipboard_capture", 25: "process_tampering", 26: "file_delete_detected",
	27: "file_block_executable", 28: "file_block_shredding", 29: "file_executable_detected",
}

// sysmon gives a Sysmon event its category, the same on Linux as on Windows.
func (p *parser) sysmon(rec *cybervault.Record, id int) {
	f := rec.Fields
	switch {
	case id == 255:
		rec.Category = "sysmon_error"
	case id > 0 && id < len(sysmonCategories):
		rec.Category = sysmonCategories[id]
	}
	if strings.HasPrefix(f["Channel"], "Linux-") || strings.HasPrefix(f["Provider_Name"], "Linux-") {
		rec.Product = "linux"
	}
	if id >= 12 && id <= 14 {
		sysmonRegistry(rec, id)
	}
	rec.User = first(f, "User", "SourceUser")
	if id == 3 {
		rec.SourceIP = firstAddress(f, "SourceIp")
	}
}

// sysmonRegistry tells a key or value that was added from one that was removed,
// which share a number. NXLog puts its own meaning under EventType.
func sysmonRegistry(rec *cybervault.Record, id int) {
	f := rec.Fields
	if original := first(f, "EventTypeOriginal", "EventTypeOrignal"); original != "" {
		f["EventType"] = original
	} else if _, rest, ok := strings.Cut(f["Message"], "EventType: "); ok && !strings.HasSuffix(f["EventType"], "Key") && !strings.HasSuffix(f["EventType"], "Value") {
		line, _, _ := strings.Cut(rest, "\n")
		f["EventType"] = strings.TrimSpace(line)
	}
	if id != 12 {
		return
	}
	switch kind := f["EventType"]; {
	case strings.HasPrefix(kind, "Delete"):
		rec.Category = "registry_delete"
	case strings.HasPrefix(kind, "Create"):
		rec.Category = "registry_add"
	}
}

// security gives the events of the Security log that say the same as one of
// Sysmon its category and its names, beside their own.
func security(rec *cybervault.Record, id int) {
	f := rec.Fields
	switch id {
	case 4688:
		rec.Category = "process_creation"
		alias(f, "Image", "NewProcessName")
		alias(f, "CommandLine", "ProcessCommandLine", "Process Command Line")
		alias(f, "ParentImage", "ParentProcessName", "CreatorProcessName")
		if pid := first(f, "NewProcessId"); pid != "" {
			alias(f, "ParentProcessId", "ProcessId", "CreatorProcessId")
			f["ParentProcessId"], f["ProcessId"] = decimal(f["ParentProcessId"]), decimal(pid)
		}
		alias(f, "LogonId", "SubjectLogonId")
		if level := integrityLevels[f["MandatoryLabel"]]; level != "" {
			f["IntegrityLevel"] = level
		}
		rec.User = windowsUser(f)
		set(f, "User", rec.User)
	case 4657:
		rec.Category = "registry_set"
		alias(f, "Image", "ProcessName")
		alias(f, "Details", "NewValue")
		if key := registryKey(f["ObjectName"]); key != "" {
			if value := f["ObjectValueName"]; value != "" {
				key += `\` + value
			}
			f["TargetObject"] = key
		}
	case 5156:
		rec.Category = "network_connection"
		alias(f, "Image", "Application")
		alias(f, "SourceIp", "SourceAddress")
		alias(f, "DestinationIp", "DestAddress")
		alias(f, "DestinationPort", "DestPort")
		switch f["Direction"] {
		case "%%14593":
			f["Initiated"] = "true"
		case "%%14592":
			f["Initiated"] = "false"
		}
		switch f["Protocol"] {
		case "6":
			f["Protocol"] = "tcp"
		case "17":
			f["Protocol"] = "udp"
		}
	}
}

// integrityLevels are Sysmon's words for the labels of the Security log.
var integrityLevels = map[string]string{
	"S-1-16-4096": "Low", "S-1-16-8192": "Medium", "S-1-16-8448": "Medium", "S-1-16-12288": "High", "S-1-16-16384": "System",
}

// decimal turns a process id of the Security log, 0x1f4, into Sysmon's, 500.
func decimal(s string) string {
	digits, ok := strings.CutPrefix(s, "0x")
	if !ok {
		return s
	}
	n, err := strconv.ParseUint(digits, 16, 64)
	if err != nil {
		return s
	}
	return strconv.FormatUint(n, 10)
}

// registryKey shortens the kernel's name of a key to the usual one.
func registryKey(s string) string {
	for _, root := range [...][2]string{{`\REGISTRY\MACHINE`, "HKLM"}, {`\REGISTRY\USER`, "HKU"}} {
		if len(s) >= len(root[0]) && strings.EqualFold(s[:len(root[0])], root[0]) {
			return root[1] + s[len(root[0]):]
		}
	}
	return s
}

// powershell gives PowerShell's events their category. Those of the classic log
// keep everything in unnamed data, which Sigma's rules search as Data.
func powershell(rec *cybervault.Record, id int) {
	switch id {
	case 4103:
		rec.Category = "ps_module"
	case 4104:
		rec.Category = "ps_script"
	case 400:
		rec.Category = "ps_classic_start"
	case 600:
		rec.Category = "ps_classic_provider_start"
	case 800:
		rec.Category = "ps_classic_script"
	}
	f := rec.Fields
	if rec.Service != "powershell-classic" {
		alias(f, "ScriptBlockText", "powershell.file.script_block_text")
		return
	}
	if _, ok := rec.Multi["Data"]; !ok {
		alias(f, "Data", "param3", "Message")
	}
	details := rec.Multi["Data"]
	if len(details) == 0 {
		details = []string{f["Data"]}
	}
	for _, text := range details {
		for line := range strings.Lines(text) {
			if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && value != "" && token(name) {
				if _, taken := f[name]; !taken {
					f[name] = value
				}
			}
		}
	}
}
