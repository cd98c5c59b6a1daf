package browser

import (
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/test/testenv"
)

// attack adds an incident with one detection.
func (s *server) attack(title string) *cybervault.Incident {
	return s.fake.AddIncident(cybervault.Incident{
		Title: title, Entities: cybervault.IncidentEntities{SourceIPs: []string{"203.0.113.9"}, Assets: []string{"shop"}},
		Evidence: cybervault.IncidentEvidence{Tactics: []string{"initial-access"}, Techniques: []string{"T1190"}},
	}, s.finding("thr_1", "sql_injection", "GET /?q=1 UNION SELECT"))
}

func (s *server) finding(subject, name, record string) *cybervault.IncidentMember {
	return s.fake.Threat(cybervault.Gist{Subject: subject, Severity: cybervault.SeverityHigh, Confidence: 0.9, Name: name, Count: 3, SourceIP: "203.0.113.9", Asset: "shop"},
		cybervault.Detection{Engine: "web", RuleID: "942100", Title: "SQL found", Level: cybervault.SeverityCritical, Count: 3, Record: record, Explanation: "it reads as SQL"})
}

// A person is called: an incident appears on the board, is acknowledged, read, and
// grows while a note is typed; its rule is looked at and an exception tried; in the
// end it is a false positive and resolved.
func TestTriageAnIncident(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := newTab(t, s, wide)
	p.login()
	p.follow(`a.nav[href="/incidents"]`)
	p.until("the stream is open", `document.querySelector("[data-live-switch]").dataset.state === "on"`)
	p.until("nothing there", `document.querySelector("#list").innerText.includes("No incidents")`)
	eval[bool](p, `window.same = true`)
	i := s.attack("SQL injection from 203.0.113.9 against shop")
	p.until("the incident, live", `window.same && document.querySelectorAll(".board .incident").length === 1`)
	p.follow(`.incident .row-link`)
	if text := p.text(`#incident .attempt[open]`); !strings.Contains(text, "GET /?q=1 UNION SELECT") || !strings.Contains(text, "203.0.113.9 → shop") {
		t.Errorf("the evidence is %s", text)
	}
	p.follow(`#acknowledge`)
	if text := p.text(`main`); !strings.Contains(text, "Acknowledged") || !strings.Contains(text, "Status: open → acknowledged") {
		t.Errorf("acknowledged, the page is %s", text)
	}

	p.fill(`#note`, "asked the shop's people")
	s.fake.AddMember(i.ID, s.finding("thr_2", "path_traversal", "GET /../../etc/passwd"))
	p.until("it says so, or shows it", `document.querySelector("[data-live-word]").innerText === "New activity" || document.querySelectorAll("#incident .attempt").length === 2`)
	eval[bool](p, `scrollTo(0, 0), true`)
	p.until("the evidence grows", `document.querySelectorAll("#incident .attempt").length === 2 && document.querySelector("#incident-facts").hasAttribute("hx-swap-oob") === false && document.querySelector("#incident").innerText.includes("Path traversal")`)
	if typed := eval[string](p, `document.querySelector("#note").value + document.activeElement.id`); typed != "asked the shop's peoplenote" {
		t.Errorf("of the note is left %q", typed)
	}
	p.follow(`#add-note button`)
	if text := p.text(`.timeline .note`); !strings.Contains(text, "asked the shop's people") {
		t.Errorf("the note is %s", text)
	}

	p.follow(`#incident .attempt[open] a[href="/rules/942100?field=source_ip&value=203.0.113.9#except"]`)
	p.submit(`#except [formaction]`)
	p.until("what it would hide", `document.querySelector("#exception-preview").innerText.includes("Would have hidden 2 of the latest 2 findings")`)
	p.fill(`#except-reason`, "our own scanner")
	p.follow(`#except button.primary`)
	if text := p.text(`.exceptions`); !strings.Contains(text, "source_ip: 203.0.113.9") || !strings.Contains(text, "our own scanner") {
		t.Errorf("the exceptions are %s", text)
	}

	p.open("/incidents/" + i.ID.String())
	p.run(chromedp.SetValue(chromedp.CSS(`#disposition`), "false_positive"), chromedp.Click(chromedp.CSS(`#verdict input[type=checkbox]`)))
	p.fill(`#verdict-note`, "our own scanner")
	p.follow(`#verdict button`)
	if text := p.text(`#incident-head`); !strings.Contains(text, "Resolved") || !strings.Contains(text, "False positive") || !strings.Contains(text, "Open again") {
		t.Errorf("in the end the head is %s", text)
	}
	p.open("/incidents")
	p.until("the last column", `document.querySelector("#column-resolved").parentElement.innerText.includes("SQL injection") && !document.querySelector("#column-open").parentElement.querySelector(".incident")`)
}

// On a phone the board is one list, and the filter works as one types.
func TestIncidentsOnAPhone(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.attack("SQL injection against shop")
	over := s.attack("Path traversal against docs")
	s.fake.SetIncident(over.ID, func(i *cybervault.Incident) { i.Status = cybervault.IncidentResolved })
	p := newTab(t, s, phone)
	p.login()
	p.open("/incidents")
	if lefts := eval[int](p, `new Set([...document.querySelectorAll(".incident")].map(e => e.getBoundingClientRect().left)).size`); lefts != 1 {
		t.Errorf("the cards stand in %d columns", lefts)
	}
	p.fill(`#q`, "traversal")
	p.until("one is left", `document.querySelectorAll(".incident").length === 1 && location.search === "?q=traversal"`)
	eval[bool](p, `document.querySelector("#tab-Open").click(), true`) // in one step: a live update may replace it between press and release
	p.until("none that is open", `location.search === "?q=traversal&status=open" && document.querySelector("#list").innerText.includes("Nothing matches")`)
}

// The real server: what it finds in a log is an incident with its records and rules,
// and a person's word about it is kept.
func TestTriageOnTheRealServer(t *testing.T) {
	t.Parallel()
	product := testenv.StartServer(t, testenv.ServerOptions{})
	link := dashboardLink.FindStringSubmatch(product.Log())
	if link == nil {
		t.Fatalf("serve printed no link to the dashboard:\n%s", product.Log())
	}
	p := newTab(t, &server{url: link[1], link: link[1] + "/login" + link[2]}, wide)
	p.login()
	p.open("/incidents")
	p.until("the stream is open", `document.querySelector("[data-live-switch]").dataset.state === "on"`)
	const line = `203.0.113.7 - - [10/Mar/2026:09:12:33 +0100] "GET /?id=1%27%20UNION%20SELECT%20password%20FROM%20users--%20 HTTP/1.1" 200 5 "-" "x"` + "\n"
	if status, answer := product.Do(http.MethodPost, "/v1/telemetry?source=shop", strings.Repeat(line, 3)); status != http.StatusOK {
		t.Fatalf("telemetry: %d %s", status, answer)
	}
	p.until("the incident, live", `document.querySelectorAll(".board .incident").length === 1`)
	p.follow(`.incident .row-link`)
	if text := p.text(`main`); !strings.Contains(text, "SQL injection from 203.0.113.7 against shop") || !strings.Contains(text, "UNION%20SELECT") || !strings.Contains(text, "T1190") {
		t.Errorf("the incident is %s", text)
	}
	at := p.path()
	p.follow(`#incident .attempt[open] a.id`)
	if text := p.text(`main`); !strings.Contains(text, "3 records") || !strings.Contains(text, "203.0.113.7 → shop") {
		t.Errorf("its rule is %s", text)
	}
	p.open(at)
	p.run(chromedp.SetValue(chromedp.CSS(`#disposition`), "true_positive"))
	p.follow(`#verdict button`)
	p.follow(`#resolve`)
	if text := p.text(`#incident-head`); !strings.Contains(text, "Resolved") || !strings.Contains(text, "True positive") {
		t.Errorf("in the end the head is %s", text)
	}
	if status, answer := product.Do(http.MethodGet, "/v1/incidents?status=resolved", ""); status != http.StatusOK || !strings.Contains(string(answer), `"true_positive"`) || !strings.Contains(string(answer), `"person"`) {
		t.Errorf("the API says %d %s", status, answer)
	}

	p.open("/rules?q=user+id+0")
	p.follow(`.rules .row-link`)
	if text := p.text(`#rule-text`); !strings.HasPrefix(text, "title: ") || !strings.Contains(text, "detection:") {
		t.Errorf("the text of a shipped rule is %q", text)
	}
	p.fill(`#off-reason`, "a test")
	p.follow(`#turn-off button`)
	if text := p.text(`main`); !strings.Contains(text, "The rule is off.") || !strings.Contains(text, ": a test") {
		t.Errorf("turned off, the page is %s", text)
	}
}
