package browser

import (
	"context"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/cybervault/cybervault"
)

// From the catalogue to a type of one's own: a mistake is told of beside its field, and
// nothing that was typed is lost.
func TestAddAnEventType(t *testing.T) {
	t.Parallel()
	p := newTab(t, newServer(t), wide)
	p.login()
	p.open("/settings/event-types")
	p.follow(`a[href="/settings/event-types/new"]`)
	p.fill(`#type`, "door.opened")
	p.fill(`#schema`, "{")
	p.expect("422")
	p.follow(`form[action="/settings/event-types"] button[type=submit]`)
	if text := p.text(`#schema-error`); !strings.Contains(text, "not JSON") {
		t.Errorf("a schema that is none is answered with %q", text)
	}
	if got := eval[string](p, `document.querySelector("#type").value`); got != "door.opened" {
		t.Errorf("the name is %q after a mistake elsewhere", got)
	}
	eval[string](p, `document.querySelector("#schema").value = '{"type":"object"}'`)
	p.follow(`form[action="/settings/event-types"] button[type=submit]`)
	if at := p.path(); !strings.HasPrefix(at, "/settings/event-types/door.opened") {
		t.Fatalf("after adding the type the page is %s", at)
	}
	if text := p.text(`main`); !strings.Contains(text, "The event type is saved") || !strings.Contains(text, "No webhook chose it") {
		t.Errorf("the page of the type says %s", text)
	}
}

// Exact times are said in the zone of whoever looks, with UTC as their title.
func TestTimesInTheViewersZone(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	event := s.fake.Publish(cybervault.EventThreatDetected, nil)
	p := newTab(t, s, wide)
	p.run(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: "Asia/Kolkata"})
		return err
	}))
	p.login()
	p.open("/events/" + event.ID.String())
	text, title := eval[string](p, `document.querySelector("time[data-exact]").textContent`), eval[string](p, `document.querySelector("time[data-exact]").title`)
	stamp, _ := strings.CutSuffix(title, " UTC")
	at := event.ID.Time()
	if !strings.HasSuffix(text, " UTC+05:30") || !strings.HasSuffix(title, " UTC") || strings.HasPrefix(text, stamp) {
		t.Errorf("in India the time %s is %q, titled %q", at, text, title)
	}
	if got := eval[bool](p, `(() => { const t = document.querySelector("time[data-exact]"); return Date.parse(t.textContent.replace(" UTC", "").replace(" ", "T")) === Date.parse(t.dateTime); })()`); !got {
		t.Errorf("%q is another moment than %q", text, title)
	}
}
