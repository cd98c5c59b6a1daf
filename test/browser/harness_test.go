package browser

import (
	"context"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/access"
	"github.com/cybervault/cybervault/internal/dashboard"
	"github.com/cybervault/cybervault/internal/dashboard/dashboardtest"
)

// patience bounds how long a flow may take; it only ends tests that hang.
const patience = 90 * time.Second

var screenshots = flag.String("screenshots", "", "directory to write a picture of every page to")

// server is a running dashboard as a flow sees it.
type server struct {
	url     string
	link    string // the log-in link
	publish func(eventType string) (eventID string)
	fake    *dashboardtest.Fake
	access  *access.Access
}

// makeOwner makes the owner's account, as whoever holds the link does.
func (s *server) makeOwner(t *testing.T) *cybervault.Session {
	t.Helper()
	from := cybervault.Caller{Address: "203.0.113.9", Agent: "test"}
	cookie, err := s.access.OperatorLogin(t.Context(), from, dashboardtest.Token)
	if err != nil {
		t.Fatal(err)
	}
	operator, err := s.access.Session(t.Context(), cookie)
	if err != nil {
		t.Fatal(err)
	}
	if cookie, err = s.access.CreateOwner(t.Context(), operator, from, dashboardtest.OwnersEmail, "Ann", dashboardtest.OwnersPassword); err != nil {
		t.Fatal(err)
	}
	owner, err := s.access.Session(t.Context(), cookie)
	if err != nil {
		t.Fatal(err)
	}
	return owner
}

// newServer starts the handler with data in memory.
func newServer(t *testing.T, change ...func(*dashboard.Config)) *server {
	t.Helper()
	f := dashboardtest.New(time.Now)
	people := dashboardtest.NewAccess(t, f)
	cfg := dashboard.Config{
		Webhooks: f, Receivers: f, Log: f, Replayer: f, Previewer: f, Catalogue: f, Keys: f, Actions: f, System: f, Fleet: f, Alerts: f, Access: people, Changes: f, Incidents: f, Rules: f, Version: "v0.1.0",
	}
	for _, c := range change {
		c(&cfg)
	}
	h, err := dashboard.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(h)
	t.Cleanup(func() {
		f.StopServer()
		s.Close()
	})
	return &server{
		url: s.URL, link: s.URL + "/login?next=/&token=" + dashboardtest.Token, fake: f, access: people,
		publish: func(eventType string) string { return f.Publish(eventType, nil).ID.String() },
	}
}

// chromium is the one browser of the test binary; each test has its own
// profile within it.
type chromium struct {
	once   sync.Once
	ctx    context.Context
	cancel func()
	err    error
}

func (c *chromium) start() (context.Context, error) {
	c.once.Do(func() {
		path, err := exec.LookPath("chromium")
		if err != nil {
			c.err = fmt.Errorf("the browser tests need Chromium: apt-get install chromium (%w)", err)
			return
		}
		dir, err := os.MkdirTemp("", "cybervault-browser-")
		if err != nil {
			c.err = err
			return
		}
		options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
			chromedp.ExecPath(path), chromedp.UserDataDir(dir), chromedp.NoSandbox)
		for _, name := range []string{"disable-gpu", "disable-quic", "no-first-run", "disable-background-networking", "disable-component-update", "disable-sync"} {
			options = append(options, chromedp.Flag(name, true))
		}
		alloc, stop := chromedp.NewExecAllocator(context.Background(), options...)
		ctx, cancel := chromedp.NewContext(alloc)
		c.ctx, c.err = ctx, chromedp.Do(ctx)
		c.cancel = func() {
			cancel()
			stop()
			_ = os.RemoveAll(dir)
		}
	})
	return c.ctx, c.err
}

var browser chromium

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if browser.cancel != nil {
		browser.cancel()
	}
	os.Exit(code)
}

// endOfConsole is what a test says last.
const endOfConsole = "end of the test"

// tab is a tab with a profile of its own. What the console says is kept.
type tab struct {
	t   *testing.T
	ctx context.Context
	s   *server

	done     chan struct{} // closed when the console is read to its end
	mu       sync.Mutex
	console  []string
	expected []string
}

// size is a window as the page sees it.
type size struct{ width, height int64 }

var (
	wide  = size{1440, 900}
	phone = size{390, 844}
)

func newTab(t *testing.T, s *server, window size) *tab {
	t.Helper()
	root, err := browser.start()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := chromedp.NewContext(root, chromedp.WithNewBrowserContext())
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(ctx, patience)
	p := &tab{t: t, ctx: ctx, s: s, done: make(chan struct{})}
	messages := chromedp.Console(ctx)
	go func() {
		defer close(p.done)
		for m, err := range messages {
			if err != nil || m.Text == endOfConsole {
				return
			}
			if m.Type == chromedp.ConsoleError || m.Type == chromedp.ConsoleWarning || m.IsException() {
				p.say(m.String() + " " + m.URL)
			}
		}
	}()
	t.Cleanup(func() {
		// Messages come in order: once this one is read, all before it are.
		if _, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`console.log("`+endOfConsole+`"), true`)); err != nil {
			t.Errorf("the console could not be read to its end: %v", err)
			stop()
		}
		<-p.done
		stop()
		cancel()
		for _, line := range p.console {
			if !p.excused(line) {
				t.Errorf("the console says %s", line)
			}
		}
	})
	p.run(chromedp.EmulateViewport(window.width, window.height))
	return p
}

func (p *tab) say(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.console = append(p.console, line)
}

// expect excuses console lines that hold part, such as a 404 that a test asks for.
func (p *tab) expect(part string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expected = append(p.expected, part)
}

func (p *tab) excused(line string) bool {
	for _, part := range p.expected {
		if strings.Contains(line, part) {
			return true
		}
	}
	return false
}

// run performs actions, and ends the test with the page's text when one fails. A
// live update may replace an element between the moment it is found and the one it
// is to be used: then nothing was done with it, and it is looked for again.
func (p *tab) run(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, 30*time.Second)
	defer cancel()
	for _, action := range actions {
		err := chromedp.Do(ctx, action)
		for err != nil && ctx.Err() == nil && strings.Contains(err.Error(), "Could not find node with given id") {
			err = chromedp.Do(ctx, action)
		}
		if err != nil {
			p.t.Fatalf("%v\nthe page is %s", err, p.page())
		}
	}
}

// page is where the tab stands, for the message of a failure.
func (p *tab) page() string {
	ctx, cancel := context.WithTimeout(p.ctx, 5*time.Second)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`location.href + "\n" + document.body.innerText.slice(0, 1500)`))
	if err != nil {
		return err.Error()
	}
	return text
}

// open shows a path of the server.
func (p *tab) open(path string) {
	p.t.Helper()
	p.run(chromedp.Navigate(p.s.url + path))
}

// login follows the log-in link, or logs in as the owner where there is one.
func (p *tab) login() {
	p.t.Helper()
	if p.s.access == nil { // the real server, which has no owner yet
		p.run(chromedp.Navigate(p.s.link))
		p.open("/")
		return
	}
	if owned, err := p.s.access.SetUp(p.ctx); err != nil {
		p.t.Fatal(err)
	} else if owned {
		p.loginAs(dashboardtest.OwnersEmail, dashboardtest.OwnersPassword)
		return
	}
	p.run(chromedp.Navigate(p.s.link))
}

// loginAs gives an email address and a password.
func (p *tab) loginAs(email, password string) {
	p.t.Helper()
	p.open("/login")
	p.fill(`#email`, email)
	p.fill(`#password`, password)
	p.follow(`.login button.primary`)
}

// eval answers with the value of a JavaScript expression. The debugger's
// evaluation is not bound by the page's policy.
func eval[T any](p *tab, expression string) T {
	p.t.Helper()
	v, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		p.t.Fatalf("%s: %v\nthe page is %s", expression, err, p.page())
	}
	return v
}

// until waits for a JavaScript expression to be true. A page that is on its
// way to another cannot be asked; it is asked again.
func (p *tab) until(what, expression string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, 20*time.Second)
	defer cancel()
	again := time.NewTicker(25 * time.Millisecond)
	defer again.Stop()
	var last error
	for {
		ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`!!(`+expression+`)`))
		if ok {
			return
		}
		if err != nil && ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			p.t.Fatalf("%s never came: %s (%v)\nthe page is %s", what, expression, last, p.page())
		case <-again.C:
		}
	}
}

// text answers with what is written in the first element that matches.
func (p *tab) text(selector string) string {
	p.t.Helper()
	return eval[string](p, fmt.Sprintf(`document.querySelector(%q)?.innerText ?? "(no %s)"`, selector, strings.ReplaceAll(selector, `"`, "'")))
}

// path is the address of the page without the server.
func (p *tab) path() string {
	p.t.Helper()
	return eval[string](p, `location.pathname + location.search`)
}

// dark asks for the dark colours as the operating system would.
func dark(on bool) chromedp.Action[chromedp.Void] {
	value := "light"
	if on {
		value = "dark"
	}
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: value}},
		})
		return err
	})
}

// follow clicks an element and waits for the page that comes of it.
func (p *tab) follow(selector string) {
	p.t.Helper()
	eval[bool](p, `window.stale = true`)
	p.run(chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
	p.until("the next page", `!window.stale && document.readyState === "complete"`)
}

// fill types into a field that is empty.
func (p *tab) fill(selector, text string) {
	p.t.Helper()
	p.run(chromedp.SendKeys(chromedp.CSS(selector), text, chromedp.NodeVisible))
}
