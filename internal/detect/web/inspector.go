// Package web finds attacks in HTTP requests: with the OWASP Core Rule Set on
// Coraza, in process and for detection only, with the learned score of the
// model, and by watching who asks for what only a scanner asks for.
//
// It stands within the detect stage: a request goes in, the rules it matched
// come out. It never decides what is worth an event, folds nothing, blocks
// nothing, and opens no connection.
package web

import (
	"fmt"
	"net/url"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	"github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/types"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/detect/model"
)

// Request is what the rules look at. Headers are in the order sent and include
// Host, User-Agent and Referer.
type Request struct {
	Method  string
	Target  string // path and query as sent
	Version string // "HTTP/1.1"; assumed where empty
	Headers [][2]string
	Body    string
}

// Match is a rule that a request matched.
type Match struct {
	RuleID     int
	Title      string
	Level      cybervault.Severity
	Vector     string   // see Vectors
	Techniques []string // ATT&CK techniques, most telling first
	Where      string   // the part of the request, such as "ARGS:id"
	Data       string   // what matched there, shortened
	Encoding   string   // "" or the encoding the attack was hidden in beyond what CRS undoes
	Why        string   // of the learned score: what spoke for it, in words
	Score      float64  // the learned score of the request's most suspicious value; 0 where none is worth one
}

// Config says how to inspect. The zero value is right for most sites.
type Config struct {
	Paranoia   int   // CRS paranoia level, 1 to 4; 1 if 0
	CacheBytes int64 // bound of the verdict caches' keys; 32 MiB if 0
	NoGate     bool  // ask Coraza about every request, to check the gate against
}

// Inspector asks the rule set about requests. Loading it takes some 100 ms of
// processor time and 30 MB. Safe for concurrent use.
type Inspector struct {
	waf      coraza.WAF
	model    *model.Model
	gate     bool
	paranoia int
	parts    *cache[verdict] // on parts of requests, each on its own
	requests *cache[[]Match] // what a whole request matched
	screens  *screens
	inspects atomic.Int64
	asked    atomic.Int64
}

// What rules see of a request. They take some 6 µs of processor time a byte, so
// that a body of a megabyte would hold a core for seconds. Servers themselves
// take request lines and headers of 8 or 16 KiB.
const (
	maxBody    = 64 << 10
	maxTarget  = 16 << 10
	maxHeaders = 32 << 10 // names and values together
)

// bounded cuts a request to what rules see. A body that was cut is no sound JSON
// or XML any more; it is looked at as text.
func bounded(r *Request) *Request {
	size := 0
	for _, h := range r.Headers {
		size += len(h[0]) + len(h[1])
	}
	if len(r.Body) <= maxBody && len(r.Target) <= maxTarget && size <= maxHeaders {
		return r
	}
	cut := *r
	cut.Target = r.Target[:min(len(r.Target), maxTarget)]
	cut.Body = r.Body[:min(len(r.Body), maxBody)]
	cut.Headers = nil
	room := maxHeaders
	for _, h := range r.Headers {
		if len(cut.Body) < len(r.Body) && strings.EqualFold(h[0], "Content-Type") {
			h[1] = "application/x-www-form-urlencoded"
		}
		if room -= len(h[0]); room <= 0 {
			break
		}
		h[1] = h[1][:min(len(h[1]), room)]
		room -= len(h[1])
		cut.Headers = append(cut.Headers, h)
	}
	return &cut
}

// The rule files that find attacks. Method and protocol enforcement (911, 920)
// and scoring (949 and beyond) are left out: a log line has only some of a
// request's headers, a breach of policy is no threat, and confidence is not an
// anomaly score.
var ruleFiles = []string{
	"REQUEST-901-INITIALIZATION", "REQUEST-913-SCANNER-DETECTION", "REQUEST-921-PROTOCOL-ATTACK",
	"REQUEST-922-MULTIPART-ATTACK", "REQUEST-930-APPLICATION-ATTACK-LFI", "REQUEST-931-APPLICATION-ATTACK-RFI",
	"REQUEST-932-APPLICATION-ATTACK-RCE", "REQUEST-933-APPLICATION-ATTACK-PHP", "REQUEST-934-APPLICATION-ATTACK-GENERIC",
	"REQUEST-941-APPLICATION-ATTACK-XSS", "REQUEST-942-APPLICATION-ATTACK-SQLI",
	"REQUEST-943-APPLICATION-ATTACK-SESSION-FIXATION", "REQUEST-944-APPLICATION-ATTACK-JAVA",
}

// New loads the rule set. The error has code CodeInvalid for a paranoia level
// outside 1 to 4.
func New(cfg Config) (*Inspector, error) {
	if cfg.Paranoia == 0 {
		cfg.Paranoia = 1
	}
	if cfg.Paranoia < 1 || cfg.Paranoia > 4 {
		return nil, cybervault.Invalid("paranoia", "%d is not a CRS paranoia level: use 1 (few false alarms) to 4", cfg.Paranoia)
	}
	if cfg.CacheBytes <= 0 {
		cfg.CacheBytes = 32 << 20
	}
	size := strconv.Itoa(maxBody)
	directives := coraza.NewWAFConfig().WithRootFS(coreruleset.FS).WithDirectives(
		"SecRuleEngine DetectionOnly\n" +
			"SecAuditEngine Off\n" +
			"SecResponseBodyAccess Off\n" +
			"SecRequestBodyAccess On\n" +
			"SecRequestBodyLimit " + size + "\n" +
			"SecRequestBodyInMemoryLimit " + size + "\n" + // never to disk
			"SecRequestBodyLimitAction ProcessPartial\n" +
			"SecRequestBodyJsonDepthLimit 256\n" +
			`SecRule REQUEST_HEADERS:Content-Type "^(?:application(?:/soap\+|/)|text/)xml" "id:200000,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=XML"` + "\n" +
			`SecRule REQUEST_HEADERS:Content-Type "^application/(?:json|[a-z0-9.-]+[+]json)" "id:200001,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=JSON"` + "\n" +
			fmt.Sprintf(`SecAction "id:900000,phase:1,pass,t:none,nolog,setvar:tx.blocking_paranoia_level=%d,setvar:tx.detection_paranoia_level=%d"`, cfg.Paranoia, cfg.Paranoia) + "\n" +
			"SecDefaultAction \"phase:1,log,noauditlog,pass\"\nSecDefaultAction \"phase:2,log,noauditlog,pass\"\n" +
			`SecAction "id:900990,phase:1,pass,t:none,nolog,setvar:tx.crs_setup_version=4250"`)
	for _, file := range ruleFiles {
		directives = directives.WithDirectivesFromFile("@owasp_crs/" + file + ".conf")
	}
	waf, err := coraza.NewWAF(directives)
	if err != nil {
		return nil, fmt.Errorf("load the OWASP Core Rule Set: %w", err)
	}
	var sc *screens
	if !cfg.NoGate && cfg.Paranoia == 1 {
		if sc, err = newScreens(); err != nil {
			return nil, fmt.Errorf("read the OWASP Core Rule Set: %w", err)
		}
	}
	weights, err := model.Default()
	if err != nil {
		return nil, err
	}
	return &Inspector{
		screens: sc, waf: waf, model: weights, gate: !cfg.NoGate, paranoia: cfg.Paranoia,
		parts: newCache[verdict](cfg.CacheBytes / 2), requests: newCache[[]Match](cfg.CacheBytes / 2),
	}, nil
}

// Inspect returns the rules that the request matched, by rule number; a rule
// that matched in several places is there once. The answer depends on the
// request alone. The slice must not be changed.
func (in *Inspector) Inspect(r *Request) []Match {
	in.inspects.Add(1)
	if !in.gate {
		return in.inspect(r)
	}
	if in.clean(r) {
		return nil
	}
	key := r.key()
	if m, ok := in.requests.get(key); ok {
		return m
	}
	m := in.inspect(r)
	in.requests.put(key, m)
	return m
}

// Counts says how many requests were inspected, and how often the rule set had
// to be asked for that.
func (in *Inspector) Counts() (inspected, asked int64) {
	return in.inspects.Load(), in.asked.Load()
}

// inspect asks about the request as it is, and about what its values hold in
// encodings that CRS does not undo; then the model about each value. That a value
// is judged by itself is what lets the gate remember parts.
func (in *Inspector) inspect(r *Request) []Match {
	matches := in.ask(bounded(r))
	vs := values(r)
	for _, v := range views(vs) {
		for _, m := range in.ask(&Request{Method: "GET", Target: "/?v=" + url.QueryEscape(v.text), Headers: neutralHeaders}) {
			m.Encoding, m.Where = v.encoding, v.where
			matches = append(matches, m)
		}
	}
	found, score := in.score(vs)
	matches = append(matches, found...)
	sort.SliceStable(matches, func(i, j int) bool { return matches[i].RuleID < matches[j].RuleID })
	out := matches[:0]
	for _, m := range matches {
		if len(out) == 0 || out[len(out)-1].RuleID != m.RuleID {
			m.Score = score
			out = append(out, m)
		}
	}
	return out
}

// neutralHeaders stand beside a part that is looked at on its own.
var neutralHeaders = [][2]string{{"Host", neutralHost}}

const (
	neutralHost    = "host.invalid"
	neutralReferer = "http://referer.invalid/" // of another site, which is the worst case of the rules that compare it with the host
)

// ask runs the rule set on one request.
func (in *Inspector) ask(r *Request) []Match {
	in.asked.Add(1)
	tx := in.waf.NewTransaction()
	defer func() { _ = tx.Close() }()
	version := r.Version
	if version == "" {
		version = "HTTP/1.1"
	}
	tx.ProcessConnection("192.0.2.1", 1024, "192.0.2.2", 80)
	tx.ProcessURI(r.Target, r.Method, version)
	for _, h := range r.Headers {
		tx.AddRequestHeader(h[0], h[1])
	}
	tx.ProcessRequestHeaders()
	if r.Body != "" {
		// In detection-only mode the writer's interruption is always nil, and the
		// in-memory buffer cannot fail below its limit.
		_, _, _ = tx.WriteRequestBody([]byte(r.Body))
	}
	if _, err := tx.ProcessRequestBody(); err != nil {
		return nil // only the closing of the buffer fails so; nothing was judged
	}
	var out []Match
	for _, m := range tx.MatchedRules() {
		id := m.Rule().ID()
		v, known := vectorOf(id)
		if !known {
			continue
		}
		match := Match{RuleID: id, Level: level(m.Rule().Severity()), Vector: v.name, Techniques: techniquesOf(id, v)}
		for _, d := range m.MatchedDatas() {
			if match.Title == "" && d.Message() != "" {
				match.Title = d.Message()
			}
			if match.Data == "" && d.Value() != "" && d.Variable().Name() != "TX" {
				match.Where = d.Variable().Name()
				if d.Key() != "" {
					match.Where += ":" + d.Key()
				}
				match.Data = matchedData(id, d.Data(), d.Value())
			}
		}
		if match.Title != "" { // rules without a message only keep house
			out = append(out, match)
		}
	}
	return out
}

// matchedData prefers what the rule says it matched to the whole value, except
// where that is libinjection's fingerprint, which tells a person nothing.
func matchedData(rule int, logged, value string) string {
	if rest, ok := strings.CutPrefix(logged, "Matched Data: "); ok && rule != 942100 {
		if data, _, ok := strings.Cut(rest, " found within "); ok && strings.TrimSpace(data) != "" {
			value = data
		}
	}
	return printable(value, 120)
}

// printable shortens s to n bytes and shows what is no printable text as \xHH.
func printable(s string, n int) string {
	short := len(s) > n
	if short {
		s = strings.ToValidUTF8(s[:n], "")
	}
	var b strings.Builder
	for _, r := range s {
		if r < 0x20 || r == 0x7f || r == '\uFFFD' {
			fmt.Fprintf(&b, `\x%02x`, min(r, 0xff))
		} else {
			b.WriteRune(r)
		}
	}
	if short {
		b.WriteString("…")
	}
	return b.String()
}

func level(s types.RuleSeverity) cybervault.Severity {
	switch s {
	case types.RuleSeverityEmergency, types.RuleSeverityAlert, types.RuleSeverityCritical:
		return cybervault.SeverityHigh // CRS calls most of its rules critical
	case types.RuleSeverityError, types.RuleSeverityWarning:
		return cybervault.SeverityMedium
	case types.RuleSeverityNotice, types.RuleSeverityInfo, types.RuleSeverityDebug, types.RuleSeverityUnset:
		return cybervault.SeverityLow
	}
	return cybervault.SeverityMedium
}
