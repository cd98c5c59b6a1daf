package telemetry

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The same event in every shape it is shipped in says the same.
func TestWindowsShapesAgree(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		"EventID": "1", "Channel": "Microsoft-Windows-Sysmon/Operational", "Provider_Name": "Microsoft-Windows-Sysmon", "Computer": "desk7.corp.example",
		"UtcTime": "2026-03-10 08:12:33.250", "ProcessId": "4711", "Image": `C:\Tools\copy.exe`, "CommandLine": `copy.exe "C:\a b" \\srv\x`,
		"User": `CORP\ann`, "ParentImage": `C:\Windows\explorer.exe`, "Hashes": "MD5=00,IMPHASH=11", "Description": "Kopierer für Ärzte", "RuleName": "-",
	}
	for name, text := range map[string]string{
		"evtx_dump":        `{"Event":{"#attributes":{"xmlns":"http://schemas.microsoft.com/win/2004/08/events/event"},"System":{"Provider":{"#attributes":{"Name":"Microsoft-Windows-Sysmon","Guid":"5770385F"}},"EventID":1,"TimeCreated":{"#attributes":{"SystemTime":"2026-03-10T08:12:33.250Z"}},"Correlation":null,"Channel":"Microsoft-Windows-Sysmon/Operational","Computer":"desk7.corp.example"},"EventData":{"RuleName":"-","UtcTime":"2026-03-10 08:12:33.250","ProcessId":4711,"Image":"C:\\Tools\\copy.exe","Description":"Kopierer f\u00fcr Ärzte","CommandLine":"copy.exe \"C:\\a b\" \\\\srv\\x","User":"CORP\\ann","ParentImage":"C:\\Windows\\explorer.exe","Hashes":"MD5=00,IMPHASH=11"}}}`,
		"attributes apart": `{"Event":{"System":{"Provider_attributes":{"Name":"Microsoft-Windows-Sysmon"},"EventID":1,"TimeCreated_attributes":{"SystemTime":"2026-03-10T08:12:33.250Z"},"Channel":"Microsoft-Windows-Sysmon/Operational","Computer":"desk7.corp.example"},"EventData":{"RuleName":"-","UtcTime":"2026-03-10 08:12:33.250","ProcessId":4711,"Image":"C:\\Tools\\copy.exe","Description":"Kopierer für Ärzte","CommandLine":"copy.exe \"C:\\a b\" \\\\srv\\x","User":"CORP\\ann","ParentImage":"C:\\Windows\\explorer.exe","Hashes":"MD5=00,IMPHASH=11"}}}`,
		"named data": `{"Event":{"@xmlns":"x","System":{"Provider":{"@Name":"Microsoft-Windows-Sysmon"},"EventID":{"@Qualifiers":"0","#text":"1"},"TimeCreated":{"@SystemTime":"2026-03-10T08:12:33.250Z"},"Channel":"Microsoft-Windows-Sysmon/Operational","Computer":"desk7.corp.example"},"EventData":{"Data":[{"@Name":"RuleName","#text":"-"},{"@Name":"UtcTime","#text":"2026-03-10 08:12:33.250"},{"#text":"4711","@Name":"ProcessId"},{"@Name":"Nothing"},
			{"#attributes":{"Name":"Image"},"#text":"C:\\Tools\\copy.exe"},{"@Name":"Description","#text":"Kopierer für Ärzte"},{"@Name":"CommandLine","#text":"copy.exe \"C:\\a b\" \\\\srv\\x"},{"@Name":"User","#text":"CORP\\ann"},{"@Name":"ParentImage","#text":"C:\\Windows\\explorer.exe"},{"@Name":"Hashes","#text":"MD5=00,IMPHASH=11"}]}}}`,
		"Winlogbeat":     `{"@timestamp":"2026-03-10T08:12:33.250Z","host":{"name":"elsewhere"},"winlog":{"channel":"Microsoft-Windows-Sysmon/Operational","provider_name":"Microsoft-Windows-Sysmon","event_id":"1","computer_name":"desk7.corp.example","event_data":{"RuleName":"-","UtcTime":"2026-03-10 08:12:33.250","ProcessId":"4711","Image":"C:\\Tools\\copy.exe","Description":"Kopierer für Ärzte","CommandLine":"copy.exe \"C:\\a b\" \\\\srv\\x","User":"CORP\\ann","ParentImage":"C:\\Windows\\explorer.exe","Hashes":"MD5=00,IMPHASH=11"}}}`,
		"Winlogbeat 6":   `{"@timestamp":"2026-03-10T08:12:33.250Z","log_name":"Microsoft-Windows-Sysmon/Operational","source_name":"Microsoft-Windows-Sysmon","event_id":1,"computer_name":"desk7.corp.example","event_data":{"RuleName":"-","UtcTime":"2026-03-10 08:12:33.250","ProcessId":"4711","Image":"C:\\Tools\\copy.exe","Description":"Kopierer für Ärzte","CommandLine":"copy.exe \"C:\\a b\" \\\\srv\\x","User":"CORP\\ann","ParentImage":"C:\\Windows\\explorer.exe","Hashes":"MD5=00,IMPHASH=11"}}`,
		"NXLog":          `{"EventTime":"2026-03-10 10:12:33","Hostname":"desk7.corp.example","Keywords":-9223372036854775808,"EventType":"INFO","EventID":1,"SourceName":"Microsoft-Windows-Sysmon","Channel":"Microsoft-Windows-Sysmon/Operational","RuleName":"-","UtcTime":"2026-03-10 08:12:33.250","ProcessId":"4711","Image":"C:\\Tools\\copy.exe","Description":"Kopierer für Ärzte","CommandLine":"copy.exe \"C:\\a b\" \\\\srv\\x","User":"CORP\\ann","ParentImage":"C:\\Windows\\explorer.exe","Hashes":"MD5=00,IMPHASH=11"}`,
		"without a root": `{"System":{"Provider":{"Name":"Microsoft-Windows-Sysmon"},"EventID":1,"TimeCreated":{"SystemTime":"2026-03-10T08:12:33.250Z"},"Channel":"Microsoft-Windows-Sysmon/Operational","Computer":"desk7.corp.example"},"EventData":{"RuleName":"-","UtcTime":"2026-03-10 08:12:33.250","ProcessId":4711,"Image":"C:\\Tools\\copy.exe","Description":"Kopierer für Ärzte","CommandLine":"copy.exe \"C:\\a b\" \\\\srv\\x","User":"CORP\\ann","ParentImage":"C:\\Windows\\explorer.exe","Hashes":"MD5=00,IMPHASH=11"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rec := one(t, text)
			got := map[string]string{}
			for field := range want {
				got[field] = rec.Fields[field]
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
			if rec.Product != "windows" || rec.Service != "sysmon" || rec.Category != "process_creation" || rec.Host != "desk7.corp.example" || rec.User != `CORP\ann` {
				t.Errorf("%s/%s/%s of %q by %q", rec.Product, rec.Service, rec.Category, rec.Host, rec.User)
			}
			if at := time.Date(2026, 3, 10, 8, 12, 33, 25e7, time.UTC); !rec.Time.Equal(at) {
				t.Errorf("time %v, want %v", rec.Time, at)
			}
			for field, v := range rec.Fields {
				if strings.Contains(field, "#") || strings.Contains(field, "@Name") || strings.Contains(v, "schemas.microsoft.com") {
					t.Errorf("%s = %q was let through", field, v)
				}
			}
		})
	}
}

// flatEvent is an event in NXLog's shape, with some data more.
func flatEvent(channel, id, data string) string {
	return `{"EventTime":"2026-03-10T08:12:33Z","Hostname":"dc1","SourceName":"x","Channel":"` + channel + `","EventID":` + id + data + `}`
}

func TestWindowsCategories(t *testing.T) {
	t.Parallel()
	const sysmon, ps = "Microsoft-Windows-Sysmon/Operational", "Microsoft-Windows-PowerShell/Operational"
	for _, c := range []struct{ channel, id, data, service, category string }{
		{sysmon, "3", "", "sysmon", "network_connection"},
		{sysmon, "7", "", "sysmon", "image_load"},
		{sysmon, "11", "", "sysmon", "file_event"},
		{sysmon, "12", `,"EventType":"CreateKey"`, "sysmon", "registry_add"},
		{sysmon, "12", `,"EventType":"INFO","EventTypeOrignal":"DeleteValue"`, "sysmon", "registry_delete"},
		{sysmon, "12", `,"EventType":"INFO","Message":"Registry object added or deleted:\r\nRuleName: -\r\nEventType: DeleteKey\r\nUtcTime: x"`, "sysmon", "registry_delete"},
		{sysmon, "12", "", "sysmon", "registry_event"},
		{sysmon, "13", "", "sysmon", "registry_set"},
		{sysmon, "22", "", "sysmon", "dns_query"},
		{sysmon, "29", "", "sysmon", "file_executable_detected"},
		{sysmon, "255", "", "sysmon", "sysmon_error"},
		{sysmon, "99", "", "sysmon", ""},
		{ps, "4104", "", "powershell", "ps_script"},
		{"PowerShellCore/Operational", "4103", "", "powershell", "ps_module"},
		{"Windows PowerShell", "400", "", "powershell-classic", "ps_classic_start"},
		{"security", "4688", "", "security", "process_creation"},
		{"Security", "4625", "", "security", ""},
		{"System", "7045", "", "system", ""},
		{"System", "1073748869", "", "system", ""}, // 7045 with the bits of its severity
		{"Microsoft-Windows-Windows Defender/Operational", "1116", "", "windefend", ""},
		{"Some Vendor/Admin", "1", "", "", ""},
	} {
		rec := one(t, flatEvent(c.channel, c.id, c.data))
		if rec.Product != "windows" || rec.Service != c.service || rec.Category != c.category {
			t.Errorf("%s %s%s: %s, service %q, category %q; want %q, %q", c.channel, c.id, c.data, rec.Product, rec.Service, rec.Category, c.service, c.category)
		}
		if c.id == "1073748869" && rec.Fields["EventID"] != "7045" {
			t.Errorf("event id %s", rec.Fields["EventID"])
		}
	}
	if rec := one(t, `{"EventID":1,"Channel":"Linux-Sysmon/Operational","Provider_Name":"Linux-Sysmon","Image":"/bin/sh"}`); rec.Product != "linux" || rec.Category != "process_creation" {
		t.Errorf("Sysmon on Linux: %s/%s", rec.Product, rec.Category)
	}
}

// What the Security log says in its own words is said in Sysmon's too.
func TestSecurityEventsHaveSysmonNames(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text     string
		want     map[string]string
		ip, user string
	}{
		"process": {
			flatEvent("Security", "4688", `,"NewProcessName":"C:\\x.exe","NewProcessId":"0x1f4","ProcessId":"0x2b0","ProcessCommandLine":"x -y","ParentProcessName":"C:\\p.exe","SubjectUserName":"ann","SubjectDomainName":"CORP","TargetUserName":"-","TargetDomainName":"-","MandatoryLabel":"S-1-16-12288","SubjectLogonId":"0x3e7"`),
			map[string]string{"Image": `C:\x.exe`, "NewProcessName": `C:\x.exe`, "CommandLine": "x -y", "ParentImage": `C:\p.exe`, "ProcessId": "500", "ParentProcessId": "688", "User": `CORP\ann`, "IntegrityLevel": "High", "LogonId": "0x3e7"}, "", `CORP\ann`,
		},
		"registry": {
			flatEvent("Security", "4657", `,"ObjectName":"\\REGISTRY\\MACHINE\\SOFTWARE\\Run","ObjectValueName":"up","NewValue":"C:\\x.exe","ProcessName":"C:\\reg.exe","SubjectUserName":"ann"`),
			map[string]string{"TargetObject": `HKLM\SOFTWARE\Run\up`, "Details": `C:\x.exe`, "Image": `C:\reg.exe`}, "", "ann",
		},
		"connection": {
			flatEvent("Security", "5156", `,"Application":"\\device\\harddiskvolume2\\x.exe","Direction":"%%14593","SourceAddress":"192.0.2.7","DestAddress":"198.51.100.1","DestPort":"443","Protocol":"6"`),
			map[string]string{"Image": `\device\harddiskvolume2\x.exe`, "SourceIp": "192.0.2.7", "DestinationIp": "198.51.100.1", "DestinationPort": "443", "Protocol": "tcp", "Initiated": "true"}, "192.0.2.7", "",
		},
		"logon": {
			flatEvent("Security", "4625", `,"IpAddress":"::ffff:192.0.2.9","TargetUserName":"bob","TargetDomainName":"CORP","SubjectUserName":"-","LogonType":3`),
			map[string]string{"LogonType": "3"}, "192.0.2.9", `CORP\bob`,
		},
		"classic PowerShell": {
			flatEvent("Windows PowerShell", "400", `,"Message":"Engine state is changed.\r\n\r\nDetails:\r\n\tNewEngineState=Available\r\n\tHostApplication=powershell -enc AAA=\r\n\tScriptName="`),
			map[string]string{"HostApplication": "powershell -enc AAA=", "NewEngineState": "Available", "ScriptName": ""}, "", "",
		},
	} {
		rec := one(t, c.text)
		for field, want := range c.want {
			if rec.Fields[field] != want {
				t.Errorf("%s: %s = %q, want %q", name, field, rec.Fields[field], want)
			}
		}
		if rec.SourceIP != c.ip || rec.User != c.user {
			t.Errorf("%s: address %q, user %q; want %q, %q", name, rec.SourceIP, rec.User, c.ip, c.user)
		}
	}
}

// Unnamed data has one name and several values.
func TestWindowsUnnamedData(t *testing.T) {
	t.Parallel()
	rec := one(t, `{"Event":{"System":{"EventID":{"#attributes":{"Qualifiers":0},"#text":400},"Channel":"Windows PowerShell","Computer":"c"},"EventData":{"Data":{"#text":["Available","None","\tHostName=ConsoleHost\r\n\tHostApplication=cmd"]}}}}`)
	if d := cmp.Diff([]string{"Available", "None", "\tHostName=ConsoleHost\r\n\tHostApplication=cmd"}, rec.Multi["Data"]); d != "" {
		t.Error(d)
	}
	if _, both := rec.Fields["Data"]; both || rec.Fields["HostApplication"] != "cmd" || rec.Fields["EventID"] != "400" {
		t.Errorf("%v", rec.Fields)
	}
	rec = one(t, `{"Event":{"System":{"EventID":5861,"Channel":"Microsoft-Windows-WMI-Activity/Operational"},"UserData":{"Operation_X":{"#attributes":{"xmlns":"x"},"Namespace":"root"}}}}`)
	if rec.Fields["Namespace"] != "root" || rec.Service != "wmi" {
		t.Errorf("user data: %v", rec.Fields)
	}
}

func TestWindowsTimes(t *testing.T) {
	t.Parallel()
	east := time.FixedZone("east", 2*3600)
	want := time.Date(2026, 3, 10, 8, 12, 33, 0, time.UTC)
	for _, stamps := range []string{
		`"EventTime":"2026-03-10 10:12:33"`,
		`"EventTime":"2026-03-10 09:00:00","UtcTime":"2026-03-10 08:12:33.000"`,
		`"EventTime":"2026-03-10 09:00:00","@timestamp":"2026-03-10T08:12:33Z"`,
		`"TimeCreated":"2026-03-10T09:12:33+01:00","@timestamp":"2026-03-10T08:12:40Z"`,
		`"TimeCreated":"/Date(1773130353000)/"`,
		`"TimeCreated":"nonsense","TimeGenerated":"2026-03-10T08:12:33.0000000Z"`,
	} {
		out, _ := read(t, `{"EventID":1,"Channel":"x",`+stamps+`}`, Options{Location: east})
		if len(out) != 1 || !out[0].Time.Equal(want) {
			t.Errorf("%s: %v", stamps, out[0].Time)
		}
	}
}

func TestWindowsFixture(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("testdata/windows.json")
	if err != nil {
		t.Fatal(err)
	}
	out, sum := read(t, string(b), Options{})
	if len(out) != 4 || sum.Unreadable != 0 {
		t.Fatalf("%d records, %+v", len(out), sum)
	}
	var got []string
	for _, r := range out {
		got = append(got, r.Service+" "+r.Category+" "+r.Host+" "+r.Time.Format(time.RFC3339))
	}
	if d := cmp.Diff([]string{
		"sysmon process_creation desk7 2026-03-10T08:12:33Z", "sysmon registry_set desk7 2026-03-10T08:12:34Z",
		"security  dc1 2026-03-10T08:13:00Z", "powershell ps_script desk7 2026-03-10T08:13:05Z",
	}, got); d != "" {
		t.Error(d)
	}
	if out[1].Line <= out[0].Line || string(out[3].Raw[:1]) != "{" {
		t.Errorf("lines %d, %d", out[0].Line, out[1].Line)
	}
}
