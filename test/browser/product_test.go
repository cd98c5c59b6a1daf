package browser

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/cybervault/cybervault/test/testenv"
)

var dashboardLink = regexp.MustCompile(`Dashboard: (http://\S+)/login(\?token=\S+)`)

// What the mission asks of its user, on the real server: follow the link that
// serve prints, add a webhook with verification, see the secret, see what is
// delivered as it happens, look at an attempt, replay it.
func TestFirstWebhookOnTheRealServer(t *testing.T) {
	t.Parallel()
	product := testenv.StartServer(t, testenv.ServerOptions{Args: []string{"--allow-destination", "127.0.0.0/8"}})
	receiver := testenv.NewReceiver(t)
	link := dashboardLink.FindStringSubmatch(product.Log())
	if link == nil {
		t.Fatalf("serve printed no link to the dashboard:\n%s", product.Log())
	}
	p := newTab(t, &server{url: link[1], link: link[1] + "/login" + link[2]}, wide)
	p.login()
	p.follow(`a.nav[href="` + hooks + `"]`)
	p.follow(`a[href="` + hooks + `/new"]`)
	p.fill(`#url`, receiver.URL+"/hook")
	p.run(chromedp.Click(chromedp.CSS(`input[value="*"]`)))
	p.run(chromedp.Click(chromedp.CSS(`input[name=verification]`)))
	p.run(chromedp.Click(chromedp.CSS(`#advanced summary`)))
	p.run(chromedp.SetValue(chromedp.CSS(`#ca_certificate`), receiver.CAPEM))
	p.follow(`form.form button.primary`)
	secret := p.text(`#secret-text`)
	if !strings.HasPrefix(secret, "whsec_") {
		t.Fatalf("the secret is shown as %q", secret)
	}
	if text := p.text(`main`); !strings.Contains(text, "200 OK") {
		t.Errorf("the verification is not shown: %s", text)
	}
	if got := receiver.Received(); len(got) != 1 || got[0].Header.Get("X-CyberVault-Event") != "webhook.test" {
		t.Errorf("to verify, the receiver was sent %d requests, want the test payload once", len(got))
	}

	p.open("/deliveries")
	p.until("the test's row", rows+` === 1`)
	status, answer := product.Do(http.MethodPost, "/v1/events", `{"event":"threat.detected","data":{"threat_id":"thr_1","severity":"critical","vector":"sql_injection","confidence":0.98}}`)
	if status != http.StatusAccepted {
		t.Fatalf("publish: %d %s", status, answer)
	}
	p.until("the delivery, live", rows+` === 2 && document.querySelector("#list").innerText.includes("threat.detected")`)
	receiver.WaitFor(30*time.Second, 2)
	p.follow(`#list .row-link`)
	p.until("the attempt", `document.querySelector("main").innerText.includes("200 OK")`)
	for _, want := range []string{"threat.detected", "sql_injection", "X-CyberVault-Signature", "webhook-signature"} {
		if text := eval[string](p, `document.querySelector("main").textContent`); !strings.Contains(text, want) {
			t.Errorf("the delivery's page does not show %s", want)
		}
	}
	p.follow(`form[action$="/replay"] button`)
	got := receiver.WaitFor(30*time.Second, 3)
	if string(got[1].Body) != string(got[2].Body) || got[1].Header.Get("webhook-id") != got[2].Header.Get("webhook-id") {
		t.Error("the replay differs from what was delivered")
	}
	var envelope struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(got[2].Body, &envelope); err != nil || envelope.ID != got[2].Header.Get("webhook-id") {
		t.Errorf("the replay's body: %v %s", err, got[2].Body)
	}
}
