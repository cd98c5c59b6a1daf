package browser

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// audit asks axe-core for what WCAG 2.2 AA would fault on the page.
const audit = `axe.run(document, {runOnly: {type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}, resultTypes: ["violations"]})
	.then(r => r.violations.map(v => v.id + ": " + v.help + "\n    " + v.nodes.slice(0, 3).map(n => n.html.slice(0, 200) + " " + n.any.slice(0, 1).map(a => a.message)).join("\n    ")).join("\n"))`

// Every page, in both themes, wide and as on a phone, has nothing that axe-core
// faults by WCAG 2.2 AA. What a program cannot tell, such as whether the focus can be
// followed, is in TestKeyboard.
func TestAccessibility(t *testing.T) {
	t.Parallel()
	axe := axeScript(t)
	s := newServer(t)
	s.fake.Seed()
	s.populate(t)
	pages := tour(t, s)
	for _, look := range []struct {
		window size
		dark   bool
	}{{wide, false}, {phone, true}} {
		for names := range slices.Chunk(slices.Sorted(maps.Keys(pages)), 10) {
			// A tab has only so much time, which ends with its own test.
			t.Run(fmt.Sprint(look.window.width, " from ", names[0]), func(t *testing.T) {
				p := newTab(t, s, look.window)
				p.expect("the server responded with a status of 404")
				p.run(dark(look.dark))
				p.open("/login")
				p.faultless("login", axe, look.window)
				p.login()
				for _, name := range names {
					p.open(pages[name])
					p.faultless(name, axe, look.window)
				}
			})
		}
	}
}

// axeScript is axe-core, as it is vendored.
func axeScript(t *testing.T) string {
	t.Helper()
	axe, err := os.ReadFile("testdata/axe.min.js")
	if err != nil {
		t.Fatal(err)
	}
	table, err := os.ReadFile("testdata/VENDOR.md")
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(axe); !strings.Contains(string(table), hex.EncodeToString(sum[:])) {
		t.Errorf("VENDOR.md does not name the SHA-256 %x of axe.min.js", sum)
	}
	return string(axe)
}

// faultless asks axe-core about the page, with all that is folded open: that is a page
// of its own to whoever opens it.
func (p *tab) faultless(name, axe string, window size) {
	p.t.Helper()
	eval[bool](p, `document.querySelectorAll("main details").forEach(d => { d.open = true }), true`)
	eval[bool](p, axe+"; true")
	faults, err := chromedp.Run(p.ctx, chromedp.Evaluate[string](audit, chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatalf("%s: %v", name, err)
	}
	if faults != "" {
		p.t.Errorf("%s, %d px wide:\n  %s", name, window.width, faults)
	}
}
