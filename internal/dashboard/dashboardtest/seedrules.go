package dashboardtest

import (
	"context"
	"fmt"
	"time"

	"github.com/cybervault/cybervault"
)

const shellYAML = `title: Shell Started By A Web Server
id: 8b1c2a52-1f0e-4a55-9b3a-7f1f5c0d9e21
status: test
description: |
    A web server runs a shell. It does so for few sites, and for whoever has found
    a way to run commands through one.
references:
    - https://attack.mitre.org/techniques/T1505/003/
author: CyberVault
tags:
    - attack.execution
    - attack.t1059.004
    - attack.persistence
    - attack.t1505.003
logsource:
    category: process_creation
    product: linux
detection:
    selection:
        ParentImage|endswith: ['/nginx', '/apache2', '/httpd', '/php-fpm']
        Image|endswith: ['/sh', '/bash', '/dash', '/zsh']
    deploy:
        CommandLine|contains: '/opt/deploy/hook'
    condition: selection and not deploy
falsepositives:
    - Sites that call programs by a shell, such as mail forms of old
level: high
`

// seedRules adds some of what such a company has loaded.
func (f *Fake) seedRules(now time.Time) {
	add := func(id, title string, level cybervault.Severity, source string, techniques ...string) {
		f.AddRule(cybervault.RuleDetail{
			RuleInfo:    cybervault.RuleInfo{ID: id, Title: title, Level: level, LogSource: source, Techniques: techniques, File: "linux/" + id[:8] + ".yml"},
			Description: title + ".", Status: "test", Author: "CyberVault", License: "Apache-2.0", Vector: "execution", Text: "title: " + title + "\nid: " + id + "\n",
		})
	}
	f.AddRule(cybervault.RuleDetail{
		RuleInfo: cybervault.RuleInfo{
			ID: ruleShell, Title: "Shell Started By A Web Server", Level: cybervault.SeverityHigh, LogSource: "linux/process_creation", Techniques: []string{"T1059.004", "T1505.003"}, File: "linux/webserver_shell.yml",
		},
		Description: "A web server runs a shell. It does so for few sites, and for whoever has found\na way to run commands through one.", Status: "test", Author: "CyberVault", License: "Apache-2.0",
		References: []string{"https://attack.mitre.org/techniques/T1505/003/"}, FalsePositives: []string{"Sites that call programs by a shell, such as mail forms of old"}, Vector: "execution", Text: shellYAML,
	})
	add(ruleSudo, "Sudoers File Changed", cybervault.SeverityHigh, "linux/auditd", "T1548.003")
	f.AddRule(cybervault.RuleDetail{
		RuleInfo: cybervault.RuleInfo{ID: "b1a5f7d4-6d2e-4d1e-8a3c-2b0e5f6a7c88", Title: "Many Accounts Added Within An Hour", Level: cybervault.SeverityMedium, LogSource: "any", Techniques: []string{"T1136.001"}, Kind: "correlation", File: "linux/many_accounts.yml"},
		Counts:   []string{"account_added"}, Vector: "persistence",
	})
	for n, title := range []string{
		"Account Created With User ID 0", "Audit Log Cleared", "Base64 Decoded Into A Shell", "Cron Job Added For Root", "Firewall Flushed", "Kernel Module Loaded From A Temporary Directory", "Password File Read By A Web Server", "SSH Key Added For Root",
	} {
		add(fmt.Sprintf("5e9a6a5c-6f0e-4d0e-9a0b-0f5a9f3a7c%02d", n), title, cybervault.Severities()[1+n%4], []string{"linux/auditd", "linux/useradd", "linux/process_creation"}[n%3], fmt.Sprintf("T1%03d", 53+n*17))
	}
	for day := range 60 { // enough for a second page
		add(fmt.Sprintf("7a0c1d2e-0000-4000-8000-0000000000%02d", day), fmt.Sprintf("Windows Service Installed From Share %02d", day+1), cybervault.SeverityLow, "windows/system", "T1543.003")
	}
	f.setClock(now.Add(-3 * 24 * time.Hour))
	for id, reason := range map[string]string{"5e9a6a5c-6f0e-4d0e-9a0b-0f5a9f3a7c03": "configuration management writes these all day", "920350": "health checks ask by address"} {
		if err := f.SetRule(context.Background(), f.Workspace, id, false, reason); err != nil {
			panic(err) // a mistake in a test's own data
		}
	}
	f.PutException(cybervault.Exception{Rule: "reconnaissance", Where: map[string][]string{"source_ip|cidr": {"192.0.2.0/24"}}, Reason: "our own scanner, ticket SEC-412", Until: now.Add(27 * 24 * time.Hour)})
	f.PutException(cybervault.Exception{Rule: ruleShell, Where: map[string][]string{"user": {"deploy"}, "CommandLine|contains": {"/opt/deploy/hook", "/opt/deploy/run"}}, Reason: "the deployment's own hook"})
	f.PutException(cybervault.Exception{Rule: "*", Where: map[string][]string{"host": {"honeypot-1"}}, Reason: "it is there to be attacked", Until: now.Add(-24 * time.Hour)})
	f.setClock(now)
}
