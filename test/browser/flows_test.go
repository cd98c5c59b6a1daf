package browser

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/dashboard"
	"github.com/cybervault/cybervault/internal/dashboard/dashboardtest"
)

const hooks = "/settings/integrations/webhooks"

func TestLoginByLink(t *testing.T) {
	t.Parallel()
	p := newTab(t, newServer(t), wide)
	p.open("/deliveries")
	if at := p.path(); at != "/login?next=%2Fdeliveries" {
		t.Fatalf("without a session the page is %s", at)
	}
	p.login()
	if at := eval[string](p, `location.href`); strings.Contains(at, "token") {
		t.Errorf("the address still holds the token: %s", at)
	}
	if c := eval[string](p, `document.cookie`); c != "" {
		t.Errorf("a script can read the cookie %q", c)
	}
	p.open("/deliveries")
	p.follow(`form[action="/logout"] button`)
	p.open("/deliveries")
	if at := p.path(); at != "/login?next=%2Fdeliveries" {
		t.Errorf("after logging out the page is %s", at)
	}
	p.expect("401")
	p.fill(`#token`, "mistyped")
	p.follow(`form[action="/login"] button`)
	if text := p.text(`.error`); !strings.Contains(text, "not right") {
		t.Errorf("a wrong token is answered with %q", text)
	}
}

func TestAddWebhookAndSeeItsSecretOnce(t *testing.T) {
	t.Parallel()
	p := newTab(t, newServer(t), wide)
	p.login()
	p.follow(`a.nav[href="` + hooks + `"]`)
	p.follow(`a[href="` + hooks + `/new"]`)
	p.fill(`#url`, "http://plain.example.com/in")
	p.fill(`#description`, "My receiver")
	p.run(chromedp.Click(chromedp.CSS(`input[value="threat.*"]`)))
	if !eval[bool](p, `document.querySelector('input[value="threat.detected"]').disabled`) {
		t.Error("threat.* does not cover threat.detected")
	}
	p.expect("422")
	p.follow(`form.form button.primary`)
	if text := p.text(`#url-error`); !strings.Contains(text, "only https://") {
		t.Errorf("the URL's error is %q", text)
	}
	if kept := eval[string](p, `[...document.querySelectorAll("input:checked")].map(e => e.value) + " " + document.querySelector("#description").value + " " + document.activeElement.id`); kept != "threat.* My receiver url" {
		t.Errorf("kept is %q", kept)
	}
	eval[string](p, `document.querySelector("#url").value = ""`)
	p.fill(`#url`, "https://receiver.example.com/in")
	p.run(chromedp.Click(chromedp.CSS(`input[name=verification]`)))
	p.follow(`form.form button.primary`)
	secret := p.text(`#secret-text`)
	if !strings.HasPrefix(secret, "whsec_") || len(secret) < 40 {
		t.Fatalf("the secret is shown as %q", secret)
	}
	if text := p.text(`main`); !strings.Contains(text, "Test payload") || !strings.Contains(text, "200 OK") {
		t.Errorf("the verification is not shown: %s", text)
	}
	p.until("the copy button", `!document.querySelector('[data-copy="secret-text"]').hidden`)
	p.run(chromedp.Click(chromedp.CSS(`[data-copy="secret-text"]`)))
	p.until("its answer", `/Copied|Selected/.test(document.querySelector('[data-copy="secret-text"]').innerText)`)
	at := p.path()
	if !strings.HasPrefix(at, hooks+"/whk_") {
		t.Errorf("the address is %s", at)
	}
	p.run(chromedp.Reload())
	if text := eval[string](p, `document.documentElement.innerHTML`); strings.Contains(text, secret) {
		t.Error("a reload shows the secret again")
	}
	p.open(hooks)
	if text := p.text(`main`); strings.Count(text, "My receiver") != 1 {
		t.Errorf("the list is %s", text)
	}
}

// rows is how many rows the list shows.
const rows = `document.querySelectorAll("#list .row-link").length`

func TestFilterDeliveries(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.fake.Hook("https://a.example.com/in", "Hook A", dashboardtest.OK, "*")
	s.fake.Hook("https://b.example.com/in", "Hook B", dashboardtest.Down, "patch.*")
	for range 3 {
		s.publish(cybervault.EventThreatDetected)
	}
	s.publish(cybervault.EventPatchFailed)
	p := newTab(t, s, wide)
	p.login()
	p.open("/deliveries")
	p.until("all rows", rows+` === 5`)
	eval[bool](p, `window.same = true`)

	p.run(chromedp.SetValue(chromedp.CSS(`select[name=event]`), "patch.*"))
	eval[bool](p, `document.querySelector("select[name=event]").dispatchEvent(new Event("change", {bubbles: true}))`)
	p.until("the two of patch.*", rows+` === 2 && window.same && location.search === "?event=patch.%2A"`)
	p.run(chromedp.Click(chromedp.CSS(`#tab-Pending`)))
	p.until("the retrying one", rows+` === 1 && document.querySelector(".badge.warn").innerText === "Retrying"`)
	p.fill(`#q`, "no such text")
	p.until("none", `document.querySelector("#list").innerText.includes("Nothing matches") && location.search.includes("q=no+such+text")`)
	p.open("/deliveries?event=patch.*&status=pending")
	p.until("the address alone brings the filter back", rows+` === 1 && document.querySelector("select[name=event]").value === "patch.*"`)
	p.run(chromedp.NavigateBack())
	p.until("the page before", `document.querySelector("#list").innerText.includes("Nothing matches") && document.querySelector("#q").value === "no such text"`)
}

func TestTypingFiltersWithoutAReload(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.fake.Hook("https://a.example.com/in", "", dashboardtest.OK, "*")
	s.publish(cybervault.EventThreatDetected)
	s.publish(cybervault.EventPatchFailed)
	p := newTab(t, s, wide)
	p.login()
	p.open("/deliveries?status=delivered")
	eval[bool](p, `window.same = true`)
	p.fill(`#q`, "openssl")
	p.until("one row on the same page", rows+` === 1 && window.same && location.search === "?q=openssl&status=delivered"`)
	if focus := eval[string](p, `document.activeElement.id`); focus != "q" {
		t.Errorf("the cursor is in %q", focus)
	}
}

func TestOpenADelivery(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	w := s.fake.Hook("https://a.example.com/in", "Hook A", dashboardtest.Down, "*")
	s.publish(cybervault.EventThreatDetected)
	p := newTab(t, s, wide)
	p.login()
	p.open("/deliveries")
	p.follow(`.row-link`)
	text := p.text(`main`)
	for _, part := range []string{"Retrying", "Attempt 1", "Answered 503 Service Unavailable", "awselb/2.0", "X-CyberVault-Signature", "sql_injection", "Timing"} {
		if !strings.Contains(text, part) {
			t.Errorf("the page lacks %q", part)
		}
	}
	s.fake.SetAnswer(w.ID, dashboardtest.OK)
	p.follow(`form[action$="/cancel"] button`)
	p.follow(`form[action$="/replay"] button`)
	if text := p.text(`main`); !strings.Contains(text, "Replay started") || !strings.Contains(text, "Delivered") {
		t.Errorf("the replay is %s", text)
	}
}

func TestLiveUpdateArrives(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.fake.Hook("https://a.example.com/in", "", dashboardtest.OK, "*")
	s.publish(cybervault.EventThreatDetected)
	s.publish(cybervault.EventPatchDeployed)
	p := newTab(t, s, wide)
	p.login()
	p.open("/deliveries?event=threat.detected")
	p.until("the stream is open", `document.querySelector("[data-live-switch]").dataset.state === "on"`)
	eval[bool](p, `window.same = true`)
	p.run(chromedp.Focus(chromedp.CSS(`.row-link`)))
	focus := eval[string](p, `document.activeElement.id`)

	s.publish(cybervault.EventPatchDeployed)
	s.publish(cybervault.EventThreatDetected)
	p.until("the new delivery, and only that", rows+` === 2 && window.same`)
	if got := eval[string](p, `document.activeElement.id`); got != focus {
		t.Errorf("the cursor went from %q to %q", focus, got)
	}

	p.run(chromedp.Click(chromedp.CSS(`[data-live-switch]`)))
	p.until("it pauses", `document.querySelector("[data-live-word]").innerText === "Paused"`)
	s.publish(cybervault.EventThreatDetected)
	p.waitNobodyWatches()
	p.run(chromedp.Click(chromedp.CSS(`[data-live-switch]`)))
	p.until("it catches up", rows+` === 3`)
}

// waitNobodyWatches waits until the server has noticed that the stream is closed.
func (p *tab) waitNobodyWatches() {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, 20*time.Second)
	defer cancel()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for p.s.fake.Watchers() > 0 {
		select {
		case <-ctx.Done():
			p.t.Fatal("the stream stays open")
		case <-again.C:
		}
	}
}

func TestLiveUpdateDoesNotMoveAReader(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.fake.Hook("https://a.example.com/in", "", dashboardtest.OK, "*")
	for range 49 {
		s.publish(cybervault.EventPatchDeployed)
	}
	p := newTab(t, s, wide)
	p.login()
	p.open("/deliveries")
	p.until("the stream is open", `document.querySelector("[data-live-switch]").dataset.state === "on"`)
	before := eval[string](p, `scrollTo(0, 900), [...document.querySelectorAll(".row-link")].map(e => e.id).join()`)
	s.publish(cybervault.EventPatchDeployed)
	p.until("it says that there is more", `document.querySelector("[data-live-word]").innerText === "New activity"`)
	if after := eval[string](p, `[...document.querySelectorAll(".row-link")].map(e => e.id).join()`); after != before {
		t.Error("the rows moved under the reader")
	}
	p.run(chromedp.Click(chromedp.CSS(`[data-live-switch]`)))
	p.until("the new row, at the top", rows+` === 50 && scrollY === 0`)
}

// An answer that comes once the reader has begun to read does not move them either.
func TestALateLiveUpdateDoesNotMoveAReader(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.fake.Hook("https://a.example.com/in", "", dashboardtest.OK, "*")
	for range 49 {
		s.publish(cybervault.EventPatchDeployed)
	}
	p := newTab(t, s, wide)
	p.login()
	p.open("/deliveries")
	p.until("the stream is open", `document.querySelector("[data-live-switch]").dataset.state === "on"`)
	p.run(chromedp.Click(chromedp.CSS(`[data-live-switch]`)))
	p.until("it is paused", `document.querySelector("[data-live-switch]").dataset.state === "paused"`)
	s.publish(cybervault.EventPatchDeployed)
	const ids = `[...document.querySelectorAll(".row-link")].map(e => e.id).join()`
	// The update is asked for first, and can be answered only after the scrolling.
	before := eval[string](p, `document.addEventListener("htmx:afterRequest", () => { document.body.dataset.answered = "yes" }),
		htmx.trigger(document.querySelector("[data-live]"), "live"), scrollTo(0, 900), `+ids)
	p.until("the answer has come", `document.body.dataset.answered === "yes" || (htmx.trigger(document.querySelector("[data-live]"), "live"), false)`)
	if after := eval[string](p, ids); after != before {
		t.Error("the rows moved under the reader")
	}
	p.run(chromedp.Click(chromedp.CSS(`[data-live-switch]`))) // which stands at the top
	p.until("the new row", rows+` === 50`)
}

// What is pressed when an update comes stays until it is let go: else it is never clicked.
func TestALiveUpdateDoesNotSwallowAClick(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.fake.Hook("https://a.example.com/in", "", dashboardtest.OK, "*")
	s.publish(cybervault.EventPatchDeployed)
	p := newTab(t, s, wide)
	p.login()
	p.open("/deliveries")
	p.until("the stream is open", `document.querySelector("[data-live-switch]").dataset.state === "on"`)
	eval[bool](p, `window.pressed = document.querySelector(".row-link"),
		window.pressed.dispatchEvent(new PointerEvent("pointerdown", { bubbles: true })),
		document.addEventListener("htmx:afterRequest", () => { window.answered = true }), true`)
	// Asked for until it is: a part that was put in place just now does not listen yet.
	p.until("the answer to an update", `window.answered === true || (htmx.trigger(document.querySelector("[data-live]"), "live"), false)`)
	if !eval[bool](p, `window.pressed.isConnected`) {
		t.Error("what was pressed is gone")
	}
	eval[bool](p, `window.pressed.dispatchEvent(new PointerEvent("pointerup", { bubbles: true }))`)
	p.until("the update, after that", `!window.pressed.isConnected && document.querySelectorAll(".row-link").length === 1`)
}

func TestDeliveryPageFollowsItsAttempts(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.fake.Hook("https://a.example.com/in", "", dashboardtest.Down, "*")
	s.publish(cybervault.EventThreatDetected)
	p := newTab(t, s, wide)
	p.login()
	p.open("/deliveries")
	p.follow(`.row-link`)
	if !eval[bool](p, `document.querySelector(".attempt").open`) {
		t.Fatal("the newest attempt is not open")
	}
	list, err := s.fake.Deliveries(context.Background(), cybervault.DeliveryQuery{Workspace: s.fake.Workspace, Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	id := list.Rows[0].ID
	s.fake.AddAttempt(id, dashboardtest.OK(2))
	s.fake.SetDelivery(id, func(d *cybervault.Delivery) {
		d.Status, d.Attempts, d.LastFailure, d.FinishedAt = cybervault.DeliveryDelivered, 2, "", time.Now()
	})
	p.until("the end of it", `document.querySelector(".head-badges").innerText.includes("Delivered") && document.querySelectorAll(".attempt").length === 2`)
	if !eval[bool](p, `document.querySelectorAll(".attempt")[1].open`) {
		t.Error("the attempt that was being read has closed")
	}
}

func TestThemeToggle(t *testing.T) {
	t.Parallel()
	p := newTab(t, newServer(t), wide)
	p.login()
	const background = `getComputedStyle(document.body).backgroundColor`
	p.run(dark(false))
	light := eval[string](p, background)
	p.run(dark(true))
	p.until("the system's choice is followed", background+` !== "`+light+`"`)
	darkness := eval[string](p, background)
	p.run(chromedp.Click(chromedp.CSS(`.themes button[value=light]`)))
	p.until("light at once", background+` === "`+light+`"`)
	p.until("and kept", `document.querySelector(".themes button[value=light]").getAttribute("aria-pressed") === "true"`)
	p.keptTheme("light")
	if got := eval[string](p, background); got != light {
		t.Errorf("the next page is %s, want %s", got, light)
	}
	p.run(dark(false), chromedp.Click(chromedp.CSS(`.themes button[value=dark]`)))
	p.until("dark at once", background+` === "`+darkness+`"`)
	p.keptTheme("dark")
}

// keptTheme reloads until the server has taken the choice in.
func (p *tab) keptTheme(theme string) {
	p.t.Helper()
	p.until("the server keeps the theme", `(() => { const r = new XMLHttpRequest(); r.open("GET", "/events", false); r.send(); return r.responseText.includes('data-theme="`+theme+`"'); })()`)
	p.open("/events")
}

func TestWithoutJavaScript(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.fake.Hook("https://a.example.com/in", "Hook A", dashboardtest.OK, "*")
	s.publish(cybervault.EventThreatDetected)
	s.publish(cybervault.EventPatchFailed)
	p := newTab(t, s, wide)
	p.run(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
		return err
	}))
	p.login()
	p.open("/deliveries")
	p.fill(`#q`, "openssl")
	p.submit(`#filters button`)
	p.until("the filter", rows+` === 1`)
	p.submit(`.themes button[value=dark]`)
	p.until("the theme", `document.documentElement.dataset.theme === "dark" && location.pathname === "/deliveries"`)
	if text := p.text(`main`); strings.Contains(text, "Live") || strings.Contains(text, "Copy") {
		t.Error("a button that needs JavaScript is shown without it")
	}
	p.open(hooks + "/new")
	p.fill(`#url`, "https://b.example.com/in")
	p.run(chromedp.Click(chromedp.CSS(`[data-all]`)))
	p.submit(`form.form button.primary`)
	p.until("the secret", `document.querySelector("#secret-text")?.innerText.startsWith("whsec_")`)
}

// submit clicks; the until after it waits for what comes of it.
func (p *tab) submit(selector string) {
	p.t.Helper()
	p.run(chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
}

func TestPhone(t *testing.T) {
	t.Parallel()
	p := newTab(t, newServer(t), phone)
	p.login()
	if eval[bool](p, `document.querySelector(".side-body").checkVisibility()`) {
		t.Error("the menu stands open")
	}
	p.run(chromedp.Click(chromedp.CSS(`.menu-label`)))
	p.follow(`a.nav[href="/events"]`)
	if at := p.path(); at != "/events" {
		t.Errorf("the menu led to %s", at)
	}
	p.run(chromedp.Focus(chromedp.CSS(`#menu`)))
	eval[bool](p, `document.querySelector("#menu").focus({focusVisible: true}), true`)
	if outline := eval[string](p, `getComputedStyle(document.querySelector(".menu-label")).outlineStyle`); outline != "solid" {
		t.Errorf("the focused menu has the outline %q", outline)
	}
}

func TestKeyboard(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.fake.Hook("https://a.example.com/in", "Hook A", dashboardtest.OK, "*")
	s.publish(cybervault.EventThreatDetected)
	p := newTab(t, s, wide)
	p.login()
	p.open("/deliveries")
	reached := map[string]bool{}
	for range 60 {
		p.run(chromedp.KeyEvent("\t"))
		at := eval[string](p, `(() => { const e = document.activeElement, s = getComputedStyle(e), a = getComputedStyle(e, "::after");
			if (e === document.body) return "body";
			const shown = s.outlineStyle !== "none" || a.outlineStyle !== "none" || s.boxShadow !== "none";
			return (shown ? "" : "unseen ") + (e.getAttribute("href") ?? e.name ?? e.className); })()`)
		if strings.HasPrefix(at, "unseen") {
			t.Errorf("the focus cannot be seen on %s", at)
		}
		reached[at] = true
	}
	for _, want := range []string{"#main", "/", "/incidents", "/rules", "/deliveries", "/events", hooks, "/settings/event-types", "/settings/api-keys", "theme", "q", "event", "webhook", "since", "until", "/deliveries?status=held"} {
		if !reached[want] {
			t.Errorf("Tab never reaches %s: %v", want, reached)
		}
	}
}

func TestHostileDataRunsNoScript(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	const attack = `"><script>window.pwned=1</script><img src=x onerror="window.pwned=1"><svg onload="window.pwned=1"><a href="javascript:window.pwned=1">x</a>{{.}}` + "\u202e\x1b[31m"
	w := s.fake.Hook("https://a.example.com/in", attack, func(int) cybervault.Exchange {
		return cybervault.Exchange{
			Status: 500, Failure: cybervault.FailureStatus, Error: attack, Body: []byte(attack), Elapsed: time.Second,
			Answer: []cybervault.Header{{Name: "X-" + attack, Value: attack}},
		}
	}, "*")
	s.fake.Publish(cybervault.EventThreatDetected, []byte(fmt.Sprintf(`{"title":%q,"hx-get":"/logout"}`, strings.ReplaceAll(strings.ReplaceAll(attack, "\x1b", ""), "\u202e", ""))))
	bad := cybervault.IncidentEntities{SourceIPs: []string{attack}, Users: []string{attack}, Assets: []string{strings.Repeat("wide", 200)}}
	i := s.fake.AddIncident(cybervault.Incident{Title: attack, Assignee: attack, Entities: bad, Notes: []cybervault.IncidentNote{{By: attack, Text: attack + strings.Repeat("wide", 200)}}},
		s.fake.Threat(cybervault.Gist{Subject: attack, Name: attack, SourceIP: attack}, cybervault.Detection{RuleID: "r" + attack[:40], Title: attack, Record: attack + strings.Repeat("wide", 2000), Explanation: attack}))
	s.fake.AddRule(cybervault.RuleDetail{RuleInfo: cybervault.RuleInfo{ID: "hostile", Title: attack, LogSource: attack, Techniques: []string{attack}}, Description: attack, Text: attack, References: []string{"javascript:window.pwned=1"}})
	s.fake.PutException(cybervault.Exception{Rule: "hostile", Where: map[string][]string{attack: {attack}}, Reason: attack})
	p := newTab(t, s, phone)
	p.login()
	paths := []string{"/", "/incidents", "/incidents?status=open", "/incidents/" + i.ID.String(), "/rules", "/rules?show=fired", "/rules/hostile", "/rules/exceptions", "/deliveries", "/events", hooks, hooks + "/" + w.ID.String(), hooks + "/" + w.ID.String() + "/edit", "/deliveries?q=" + "%22%3E%3Cscript%3Ewindow.pwned%3D1%3C/script%3E"}
	for _, list := range []string{"/deliveries", "/events"} {
		p.open(list)
		paths = append(paths, eval[string](p, `document.querySelector(".row-link").getAttribute("href")`))
	}
	for _, path := range paths {
		p.open(path)
		p.until("the page", `document.readyState === "complete"`)
		if eval[bool](p, `"pwned" in window || !!document.querySelector("main script, main img, [onerror], [onload], a[href^=javascript]")`) {
			t.Errorf("%s became markup", path)
		}
		if over := eval[int](p, `document.documentElement.scrollWidth - innerWidth`); over > 0 {
			t.Errorf("%s is %d px too wide: %s", path, over, eval[string](p, widest))
		}
	}
}

func TestThePolicyStopsWhatWouldGetThrough(t *testing.T) {
	t.Parallel()
	var p *tab
	t.Cleanup(func() { // the last to run: the console is read to its end by then
		if p != nil && len(p.console) < 3 {
			t.Errorf("the browser reports the refusals %q, want three: does the console reach the test?", p.console)
		}
	})
	p = newTab(t, newServer(t), wide)
	p.expect("Content Security Policy")
	p.login()
	eval[bool](p, `(() => { const s = document.createElement("script"); s.textContent = "window.pwned = 1"; document.body.append(s);
		const d = document.createElement("div"); d.setAttribute("onclick", "window.pwned = 1"); document.body.append(d); d.click();
		const i = document.createElement("img"); i.src = "https://evil.invalid/x.png"; document.body.append(i); return true; })()`)
	if eval[bool](p, `"pwned" in window`) {
		t.Error("an inline script ran")
	}
}

func TestExpiredSessionLeadsToTheLogin(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := newTab(t, s, wide)
	p.login()
	p.open("/deliveries")
	p.until("the stream is open", `document.querySelector("[data-live-switch]").dataset.state === "on"`)
	p.expect("401")
	s.makeOwner(t) // which ends the session of whoever came by the link
	s.publish(cybervault.EventThreatDetected)
	p.until("the log-in page", `location.pathname === "/login" && location.search === "?next=%2Fdeliveries"`)
}

func TestDevBannerIsSeen(t *testing.T) {
	t.Parallel()
	p := newTab(t, newServer(t, func(c *dashboard.Config) { c.Dev = true }), phone)
	p.login()
	if text := p.text(`.devbar`); !strings.Contains(text, "Development mode") {
		t.Errorf("the banner says %q", text)
	}
}

// What is ticked is not lost to a live update, and one click replays it.
func TestTickAndReplay(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.fake.Hook("https://a.example.com/in", "", dashboardtest.OK, "*")
	for range 3 {
		s.publish(cybervault.EventThreatDetected)
	}
	p := newTab(t, s, wide)
	p.login()
	p.open("/deliveries")
	p.until("the stream is open", `document.querySelector("[data-live-switch]").dataset.state === "on"`)
	p.until("nothing can be done with nothing", `[...document.querySelectorAll("[data-bulk] button")].every(b => b.disabled)`)
	p.run(chromedp.Click(chromedp.CSS(`.tick input`)))
	s.publish(cybervault.EventThreatDetected)
	p.until("it waits", `document.querySelector("[data-live-word]").innerText === "New activity"`)
	p.until("the tick stays", `document.querySelector("[data-ticked]").innerText === "1 ticked:" && `+rows+` === 3`)
	p.run(chromedp.Click(chromedp.CSS(`[data-tick-all]`)))
	p.until("all are ticked", `document.querySelector("[data-ticked]").innerText === "3 ticked:"`)
	p.follow(`[data-bulk] button[value="replay"]`)
	if text := p.text(`main`); !strings.Contains(text, "3 replayed.") {
		t.Errorf("the page says %s", text)
	}
	p.until("what was replayed is in the list", rows+` === 7`)
}
