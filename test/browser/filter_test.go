package browser

import (
	"encoding/json"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/cybervault/cybervault"
)

// The button beside the filter says what it would have matched, in the page as
// it is; Enter in a field still saves.
func TestTryAFilter(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for _, address := range []string{"203.0.113.1", "203.0.113.2", "198.51.100.1"} {
		s.fake.Publish(cybervault.EventThreatDetected, json.RawMessage(`{"source_ip":"`+address+`"}`))
	}
	p := newTab(t, s, wide)
	p.login()
	p.open(hooks + "/new")
	p.fill(`#url`, "https://receiver.example.com/in")
	p.run(chromedp.Click(chromedp.CSS(`input[value="threat.*"]`)), chromedp.Click(chromedp.CSS(`#advanced summary`)))
	p.fill(`#filter`, "203.0")
	p.submit(`[formaction]`)
	p.until("the preview", `document.querySelector("#filter-preview").innerText.includes("Would have matched 2 of the last 3 events")`)
	if typed := eval[string](p, `location.pathname + document.querySelector("#url").value`); typed != hooks+"/newhttps://receiver.example.com/in" {
		t.Errorf("the page is %q", typed)
	}
	p.run(chromedp.SendKeys(chromedp.CSS(`#url`), kb.Enter))
	p.until("the secret", `document.querySelector("#secret-text")?.innerText.startsWith("whsec_")`)
}
