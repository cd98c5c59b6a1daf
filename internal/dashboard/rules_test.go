package dashboard_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
)

const sigma1 = "8b1c2a52-1f0e-4a55-9b3a-7f1f5c0d9e21"

func rule(id, title string, level cybervault.Severity) cybervault.RuleDetail {
	return cybervault.RuleDetail{
		RuleInfo:    cybervault.RuleInfo{ID: id, Title: title, Level: level, LogSource: "linux/sshd", Techniques: []string{"T1059.004"}, File: "own/a.yml"},
		Description: "Somebody\nis root.", Author: "Ada", License: "MIT", FalsePositives: []string{"the night job"}, References: []string{"https://example.com/why"}, Vector: "initial_access",
		Text: "title: '<b>'\nlevel: high",
	}
}

// threat publishes a finding of two rules.
func (s *site) threat(subject, source string, count int) *cybervault.IncidentMember {
	s.t.Helper()
	return s.fake.Threat(cybervault.Gist{Subject: subject, Severity: cybervault.SeverityHigh, Name: "execution", Count: count, SourceIP: source, Asset: "shop"},
		cybervault.Detection{Engine: "sigma", RuleID: sigma1, Title: "Root logs in", Level: cybervault.SeverityHigh, Count: count, Record: "sshd: root from " + source, Explanation: "keywords"},
		cybervault.Detection{Engine: "web", RuleID: "942100", Title: "SQL found", Level: cybervault.SeverityCritical, MitreIDs: []string{"T1190"}, Count: 1, Record: "GET /"})
}

var ruleTitle = regexp.MustCompile(`class="row-link" href="/rules/[^"]+"><span class="name">([^<]+)`)

func titles(a answer) []string {
	list := []string{}
	for _, m := range ruleTitle.FindAllStringSubmatch(a.body, -1) {
		list = append(list, m[1])
	}
	return list
}

func TestRulesList(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	s.get("/rules").want(t, 200, "No Sigma rules are loaded")
	s.get("/rules?show=fired").want(t, 200, "Nothing fired")
	s.get("/rules?show=off").want(t, 200, "All rules are on")
	s.fake.AddRule(rule(sigma1, "Root logs in", cybervault.SeverityHigh))
	s.fake.AddRule(rule("b", "Audit log cleared", cybervault.SeverityLow))
	many := rule("c", "Many of them", cybervault.SeverityMedium)
	many.Kind = "correlation"
	s.fake.AddRule(many)
	s.threat("thr_1", "203.0.113.9", 3)
	s.threat("thr_1", "203.0.113.9", 40) // the same grows
	s.threat("thr_2", "203.0.113.8", 2)
	for id, reason := range map[string]string{"c": "too loud", "new_country": "we travel"} {
		if err := s.fake.SetRule(t.Context(), s.fake.Workspace, id, false, reason); err != nil {
			t.Fatal(err)
		}
	}
	all := s.get("/rules").want(t, 200, "3 rules", "latest 3 findings", "2 findings, 42 records", ">correlation<", "too loud", "linux/sshd · ", ">T1059.004<", `action="/rules/`+sigma1+`/status"`)
	if diff := cmp.Diff([]string{"Audit log cleared", "Many of them", "Root logs in"}, titles(all)); diff != "" {
		t.Error(diff)
	}
	s.get("/rules?show=fired").want(t, 200, `<span class="tag">web</span>`)
	for query, want := range map[string][]string{
		"show=fired": {"Root logs in", "SQL found"}, "show=off": {"Many of them", "new_country"}, "q=ROOT": {"Root logs in"}, "q=t1059&level=low": {"Audit log cleared"}, "q=sql": {"SQL found"},
		"level=high,critical": {"Root logs in", "SQL found"}, "q=nothing": {}, "show=off&q=country": {"new_country"},
	} {
		a := s.get("/rules?"+query).want(t, 200)
		if diff := cmp.Diff(want, titles(a)); diff != "" {
			t.Errorf("%s: %s", query, diff)
		}
		if len(want) == 0 {
			a.want(t, 200, "Nothing matches")
		}
	}
	s.get("/rules?level=bad").want(t, http.StatusUnprocessableEntity, `role="alert"`)
}

func TestManyRulesArePaged(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	for n := range 120 {
		s.fake.AddRule(rule(fmt.Sprint("rule-", n), fmt.Sprintf("Rule %03d", n), cybervault.SeverityLow))
	}
	for page, want := range map[string][]string{"": {"Rule 000", "Rule 049"}, "2": {"Rule 050", "Rule 099"}, "3": {"Rule 100", "Rule 119"}, "99": {"Rule 100", "Rule 119"}} {
		a := s.get("/rules?q=rule&page=" + page)
		got := titles(a)
		if diff := cmp.Diff(want, []string{got[0], got[len(got)-1]}); diff != "" {
			t.Errorf("page %q: %s", page, diff)
		}
		if more := strings.Contains(a.body, `rel="next" href="/rules?page=`); more != (want[1] != "Rule 119") {
			t.Errorf("page %q: another one follows: %v", page, more)
		}
	}
}

func TestRulePage(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	s.fake.AddRule(rule(sigma1, "Root logs in", cybervault.SeverityHigh))
	path := "/rules/" + sigma1
	s.get(path).want(t, 200, "None is stored", "Nothing in the latest 0 findings", "None: all that it finds is told of")
	m := s.threat("thr_1", "203.0.113.9", 40)
	s.get(path).want(t, 200, "Root logs in", ">High<", ">On<", "Somebody\nis root.", "the night job", "title: &#39;&lt;b&gt;&#39;", `data-copy="rule-text"`, "attack.mitre.org/techniques/T1059/004", "https://example.com/why", "initial access",
		"linux/sshd", "own/a.yml", "Ada", "MIT", "1 finding, 40 records in the latest 1 finding", "203.0.113.9 → shop", "sshd: root from 203.0.113.9", "/events/"+m.Event.String(),
		`href="/rules/`+sigma1+`?field=source_ip&amp;value=203.0.113.9#except"`)
	s.get(path+"?field=source_ip&value=203.0.113.9").want(t, 200, `name="field" value="source_ip"`, `name="value" value="203.0.113.9"`, `name="rule" value="`+sigma1+`"`)
	s.get("/rules/942100").want(t, 200, "<h1>SQL found</h1>", "No Sigma rule has this id", "1 finding, 1 record", "attack.mitre.org/techniques/T1190").without(t, "Logic")
	s.get("/rules/no%2Fsuch%20thing").want(t, 200, "<h1>no/such thing</h1>", "None is stored", `action="/rules/no%2Fsuch%20thing/status"`)
	s.get("/rules/"+strings.Repeat("x", 201)).want(t, http.StatusNotFound)

	s.post(path+"/status", url.Values{"status": {"off"}}).want(t, http.StatusUnprocessableEntity, "say why it is off", "<h1>Root logs in", `data-replace="`+path+`"`)
	s.post(path+"/status", url.Values{"status": {"perhaps"}}).want(t, http.StatusUnprocessableEntity, "choose on or off")
	s.post(path+"/status", url.Values{"status": {"off"}, "reason": {" too loud "}}).leadsTo(t, path+"?done=off")
	s.get(path+"?done=off").want(t, 200, "The rule is off.", ">Off<", ": too loud", "Turn on").without(t, "Turn it off")
	s.post(path+"/status", url.Values{"status": {"on"}}).leadsTo(t, path+"?done=on")
	s.get(path).want(t, 200, "Turn it off").without(t, "too loud")
}

func TestExceptions(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	s.fake.AddRule(rule(sigma1, "Root logs in", cybervault.SeverityHigh))
	s.threat("thr_1", "203.0.113.9", 40)
	s.threat("thr_2", "203.0.113.8", 40)
	path, list := "/rules/"+sigma1, "/rules/exceptions"
	s.get(list).want(t, 200, "No exceptions", `id="except-rule"`)
	form := url.Values{"from": {sigma1}, "rule": {sigma1}, "field": {"source_ip", "", "source_ip", "user"}, "value": {"203.0.113.9", "", "203.0.113.7", "root"}, "reason": {"our own\r\nscanner"}, "until": {"30d"}}

	s.do(http.MethodPost, list+"/preview", form, "HX-Request", "true").want(t, 200, "Would have hidden 0 of the latest 2 findings, and a part of 1 more", ">a part<", "threat.detected").without(t, "<html", "<form")
	form.Set("reason", "")
	s.post(list+"/preview", form).want(t, 200, "and a part of 1 more", "<h1>Root logs in", `name="value" value="203.0.113.7"`, `name="until" value="30d"`)
	s.post(list, form).want(t, http.StatusUnprocessableEntity, "Reason: say why", "<h1>Root logs in", `name="value" value="203.0.113.7"`)
	form.Set("reason", "our own\r\nscanner")
	s.post(list, form).leadsTo(t, path+"?done=excepted")
	all, err := s.fake.Exceptions(t.Context(), s.fake.Workspace)
	if err != nil || len(all) != 1 {
		t.Fatalf("%v (%v)", all, err)
	}
	e := all[0]
	if diff := cmp.Diff(map[string][]string{"source_ip": {"203.0.113.9", "203.0.113.7"}, "user": {"root"}}, e.Where); diff != "" || e.Rule != sigma1 || e.Reason != "our own\nscanner" {
		t.Errorf("it was added as %+v: %s", e, diff)
	}
	if in := time.Until(e.Until); in < 30*24*time.Hour-time.Minute || in > 30*24*time.Hour {
		t.Errorf("it ends in %v", in)
	}
	s.get(path+"?done=excepted").want(t, 200, "The exception is added", "source_ip: 203.0.113.9, 203.0.113.7", "user: root", "our own\nscanner", `name="from" value="`+sigma1+`"`)

	s.fake.PutException(cybervault.Exception{Rule: "*", Where: map[string][]string{"host": {"a", "b", "c", "d"}}, Reason: "a honeypot", Until: time.Now().Add(-time.Hour)})
	s.fake.PutException(cybervault.Exception{Rule: "initial_access", Reason: "by its vector"})
	s.fake.PutException(cybervault.Exception{Rule: "942100", Reason: "of another"})
	s.get(path).want(t, 200, "a honeypot", "by its vector", "host: a, b, c, &#43;1", ">Ended<").without(t, "of another")
	s.get(list).want(t, 200, "of another", "Any rule", `href="/rules/942100"`)

	for what, change := range map[string]url.Values{
		"Rule: name the rule": {"rule": {""}}, "needs fields": {"rule": {"*"}, "field": {}}, "has no field": {"field": {""}}, "is not a time": {"until": {"soon"}}, "is past": {"until": {"2020-01-01"}},
	} {
		typed := url.Values{"rule": {"x"}, "field": {"a"}, "value": {"my value"}, "reason": {"my reason"}}
		maps.Copy(typed, change)
		s.post(list, typed).want(t, http.StatusUnprocessableEntity, what, "my reason", "<h1>Exceptions", `data-replace="`+list+`"`)
		s.do(http.MethodPost, list+"/preview", typed, "HX-Request", "true").want(t, 200, what, `class="error"`)
	}
	s.post(list+"/"+e.ID.String()+"/remove", url.Values{"from": {sigma1}}).leadsTo(t, path+"?done=removed")
	s.post(list+"/"+e.ID.String()+"/remove", nil).want(t, http.StatusNotFound)
	s.post(list+"/nonsense/remove", nil).want(t, http.StatusNotFound)
	if all, _ = s.fake.Exceptions(t.Context(), s.fake.Workspace); len(all) != 3 {
		t.Errorf("%d exceptions are left, want 3", len(all))
	}
}
