package dashboardtest

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/cybervault/cybervault"
)

// Threat publishes what the engine would have found, and returns it as a member of
// an incident.
func (f *Fake) Threat(g cybervault.Gist, detections ...cybervault.Detection) *cybervault.IncidentMember {
	name, field := cybervault.EventThreatDetected, "vector"
	if len(detections) > 0 && detections[0].Engine == "login" {
		name, field = cybervault.EventAuthSuspicious, "pattern"
	}
	f.mu.Lock()
	now := f.clock()
	f.mu.Unlock()
	if g.FirstSeen.IsZero() {
		g.FirstSeen, g.LastSeen = now.Add(-4*time.Minute), now
	}
	for _, d := range detections {
		g.Rules = append(g.Rules, d.Engine+":"+d.RuleID)
	}
	data, err := json.Marshal(map[string]any{
		"threat_id": g.Subject, "severity": g.Severity, field: g.Name, "source_ip": g.SourceIP, "user": g.User, "target_asset": g.Asset,
		"confidence": g.Confidence, "count": g.Count, "detections": detections,
	})
	if err != nil {
		panic(err) // a mistake in a test's own data
	}
	e := f.Publish(name, data)
	return &cybervault.IncidentMember{Subject: g.Subject, At: now, Type: name, Gist: g, Event: e.ID}
}

const (
	ruleSQLi    = "942100"
	ruleShell   = "8b1c2a52-1f0e-4a55-9b3a-7f1f5c0d9e21"
	ruleSpray   = "password_spray"
	ruleCountry = "new_country"
	ruleSudo    = "2d3f0c7e-55b1-4c0f-8a53-6f2f9a1f0b42"
	rulePaths   = "scan.sensitive_paths"
)

// seedIncidents adds what the engine made of the last two days.
func (f *Fake) seedIncidents(now time.Time) {
	sqli := cybervault.Detection{Engine: "web", RuleID: ruleSQLi, Title: "SQL Injection Attack Detected via libinjection", Level: cybervault.SeverityCritical, MitreIDs: []string{"T1190"}, Count: 214,
		Record:      `203.0.113.42 - - [26/Nov/2026:07:12:44 +0000] "GET /search?q=1%27%20UNION%20SELECT%20password%20FROM%20users-- HTTP/1.1" 200 5123 "-" "sqlmap/1.8.2#stable (https://sqlmap.org)"`,
		Explanation: "libinjection reads the parameter q as SQL: s&UEo. The learned score bears it out: 0.98."}
	paths := cybervault.Detection{Engine: "web", RuleID: rulePaths, Title: "Requests for files that nobody links to", Level: cybervault.SeverityMedium, MitreIDs: []string{"T1595.003"}, Count: 1320,
		Record: `203.0.113.42 - - [26/Nov/2026:07:09:02 +0000] "GET /.git/config HTTP/1.1" 404 153 "-" "sqlmap/1.8.2#stable (https://sqlmap.org)"`, Explanation: "61 different paths in 4 minutes, 58 of them answered 404."}
	shell := cybervault.Detection{Engine: "sigma", RuleID: ruleShell, Title: "Shell Started By A Web Server", Level: cybervault.SeverityHigh, MitreIDs: []string{"T1059.004", "T1505.003"}, Count: 3,
		Record:      `type=EXECVE msg=audit(1795763604.114:9912): argc=3 a0="sh" a1="-c" a2="id; uname -a" ppid=812 comm="sh" exe="/usr/bin/dash" uid=33`,
		Explanation: "ParentImage ends with /nginx, and Image ends with /dash."}
	spray := cybervault.Detection{Engine: "login", RuleID: ruleSpray, Title: "One password tried on many accounts", Level: cybervault.SeverityMedium, MitreIDs: []string{"T1110.003"}, Count: 87,
		Record: `Nov 26 05:58:20 vpn-gw-1 sshd[2211]: Failed password for j.meyer from 198.51.100.23 port 52114 ssh2`, Explanation: "31 accounts in 10 minutes, at most 3 tries each."}
	country := cybervault.Detection{Engine: "login", RuleID: ruleCountry, Title: "A login from a country that the account never used", Level: cybervault.SeverityMedium, MitreIDs: []string{"T1078"}, Count: 1,
		Record: `Nov 26 06:02:41 vpn-gw-1 sshd[2290]: Accepted password for a.okafor from 198.51.100.23 port 52410 ssh2`, Explanation: "BR; 214 logins from NG and GB in 90 days."}
	sudo := cybervault.Detection{Engine: "sigma", RuleID: ruleSudo, Title: "Sudoers File Changed", Level: cybervault.SeverityHigh, MitreIDs: []string{"T1548.003"}, Count: 1,
		Record: `type=PATH msg=audit(1795750000.200:7120): item=1 name="/etc/sudoers.d/deploy" nametype=CREATE`, Explanation: "TargetFilename starts with /etc/sudoers."}

	at := func(ago time.Duration) { f.setClock(now.Add(-ago)) }
	add := func(ago time.Duration, i cybervault.Incident, members ...*cybervault.IncidentMember) *cybervault.Incident {
		at(ago)
		made := f.AddIncident(i, members...)
		f.setClock(now)
		return made
	}
	at(26 * time.Minute)
	one := f.Threat(cybervault.Gist{Subject: "thr_9f1c2", Severity: cybervault.SeverityCritical, Confidence: 0.98, Name: "sql_injection", Count: 214, SourceIP: "203.0.113.42", Asset: "shop"}, sqli)
	two := f.Threat(cybervault.Gist{Subject: "thr_9f1d7", Severity: cybervault.SeverityMedium, Confidence: 0.71, Name: "reconnaissance", Count: 1320, SourceIP: "203.0.113.42", Asset: "shop"}, paths)
	three := f.Threat(cybervault.Gist{Subject: "thr_9f2a0", Severity: cybervault.SeverityHigh, Confidence: 0.83, Name: "execution", Count: 3, User: "www-data", Asset: "web-03"}, shell)
	main := add(30*time.Minute, cybervault.Incident{
		Title: "SQL injection and reconnaissance from 203.0.113.42 against shop", Severity: cybervault.SeverityCritical,
		Entities: cybervault.IncidentEntities{SourceIPs: []string{"203.0.113.42"}, Users: []string{"www-data"}, Assets: []string{"shop", "web-03"}},
		Evidence: cybervault.IncidentEvidence{Worst: cybervault.SeverityHigh, Names: []string{"sql_injection", "reconnaissance", "execution"}, Tactics: []string{"reconnaissance", "initial-access", "execution", "persistence"}, Techniques: []string{"T1190", "T1595.003", "T1059.004", "T1505.003"}},
	}, three, one, two)
	f.SetIncident(main.ID, func(i *cybervault.Incident) {
		i.Times.FirstSeen, i.Times.LastSeen, i.Times.Updated = now.Add(-34*time.Minute), now.Add(-22*time.Minute), now.Add(-21*time.Minute)
		i.History = append(i.History, cybervault.IncidentNote{At: now.Add(-26 * time.Minute), By: "engine", Text: "severity: high → critical"})
		i.Notes = append(i.Notes, cybervault.IncidentNote{At: now.Add(-21 * time.Minute), By: "ada", Text: "The shop's search is behind the WAF since Monday, but web-03 answers on its own address as well.\nTaking it out of the pool."})
	})
	at(110 * time.Minute)
	four := f.Threat(cybervault.Gist{Subject: "auth_71b2", Severity: cybervault.SeverityMedium, Confidence: 0.77, Name: ruleSpray, Count: 87, SourceIP: "198.51.100.23", Asset: "vpn-gw-1"}, spray)
	five := f.Threat(cybervault.Gist{Subject: "auth_71c9", Severity: cybervault.SeverityHigh, Confidence: 0.81, Name: ruleCountry, Count: 1, SourceIP: "198.51.100.23", User: "a.okafor", Asset: "vpn-gw-1"}, country)
	add(2*time.Hour, cybervault.Incident{
		Title: "Password spray and a new country from 198.51.100.23 against vpn-gw-1", Severity: cybervault.SeverityHigh, Status: cybervault.IncidentAcknowledged, Assignee: "ada",
		Entities: cybervault.IncidentEntities{SourceIPs: []string{"198.51.100.23"}, Users: []string{"a.okafor", "j.meyer", "root"}, Assets: []string{"vpn-gw-1"}},
		Evidence: cybervault.IncidentEvidence{Tactics: []string{"initial-access", "credential-access"}, Techniques: []string{"T1110.003", "T1078"}},
	}, five, four)
	at(5 * time.Hour)
	six := f.Threat(cybervault.Gist{Subject: "thr_80aa1", Severity: cybervault.SeverityHigh, Confidence: 0.74, Name: "privilege_escalation", Count: 1, User: "deploy", Asset: "build-12"}, sudo)
	add(5*time.Hour, cybervault.Incident{
		Title: "Privilege escalation by deploy on build-12", Status: cybervault.IncidentResolved, Resolution: cybervault.ResolvedByPerson, Disposition: cybervault.FalsePositive, Assignee: "grace",
		Entities: cybervault.IncidentEntities{Users: []string{"deploy"}, Assets: []string{"build-12"}},
		Evidence: cybervault.IncidentEvidence{Tactics: []string{"privilege-escalation"}, Techniques: []string{"T1548.003"}},
	}, six)
	for n, title := range []string{"Path traversal from 203.0.113.77 against docs", "Reconnaissance from 192.0.2.201 against shop", "Brute force from 198.51.100.8 against vpn-gw-1"} {
		add(time.Duration(3+4*n)*time.Hour, cybervault.Incident{
			Title: title, Severity: []cybervault.Severity{cybervault.SeverityHigh, cybervault.SeverityMedium, cybervault.SeverityMedium}[n], Status: []cybervault.IncidentStatus{"open", "open", "resolved"}[n],
			Resolution: []cybervault.Resolution{"", "", cybervault.ResolvedByQuiet}[n],
			Entities:   cybervault.IncidentEntities{SourceIPs: []string{fmt.Sprintf("203.0.113.%d", 77+n)}, Assets: []string{"docs"}},
			Evidence:   cybervault.IncidentEvidence{Members: 1 + n, Records: int64(40 * (n + 1)), Tactics: []string{"reconnaissance", "initial-access"}[n%2 : n%2+1], Techniques: []string{"T1083"}},
		})
	}
}
