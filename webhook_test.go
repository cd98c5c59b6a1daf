package cybervault_test

import (
	"encoding/base64"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
)

func valid() *cybervault.Webhook {
	return &cybervault.Webhook{
		URL: "https://receiver.example/in?a=b", Events: []string{"threat.detected"}, Status: cybervault.WebhookEnabled, Accept: cybervault.AcceptDefault,
	}
}

func manyHeaders(n int) []cybervault.Header {
	headers := make([]cybervault.Header, n)
	for i := range headers {
		headers[i] = cybervault.Header{Name: fmt.Sprintf("X-Own-%d", i), Value: "v"}
	}
	return headers
}

func TestWebhookCheck(t *testing.T) {
	t.Parallel()
	url := func(s string) func(*cybervault.Webhook) { return func(w *cybervault.Webhook) { w.URL = s } }
	events := func(s ...string) func(*cybervault.Webhook) { return func(w *cybervault.Webhook) { w.Events = s } }
	header := func(name, value string) func(*cybervault.Webhook) {
		return func(w *cybervault.Webhook) { w.Headers = []cybervault.Header{{Name: name, Value: value}} }
	}
	for name, c := range map[string]struct {
		change func(*cybervault.Webhook)
		field  string // "" where it is fine
	}{
		"as it is":                  {func(*cybervault.Webhook) {}, ""},
		"no URL":                    {url(""), "url"},
		"longest URL":               {url("https://h.example/" + strings.Repeat("a", cybervault.MaxURLBytes-18)), ""},
		"longer URL":                {url("https://h.example/" + strings.Repeat("a", cybervault.MaxURLBytes-17)), "url"},
		"unreadable URL":            {url("https://h.example/%zz"), "url"},
		"relative URL":              {url("/in"), "url"},
		"ftp":                       {url("ftp://h.example/"), "url"},
		"javascript":                {url("javascript:alert(1)"), "url"},
		"http is outbound's to say": {url("http://h.example/"), ""},
		"no host":                   {url("https:///in"), "url"},
		"port and no host":          {url("https://:443/in"), "url"},
		"user and password":         {url("https://u:p@h.example/"), "url"},
		"user":                      {url("https://u@h.example/"), "url"},
		"fragment":                  {url("https://h.example/#f"), "url"},
		"IPv6 literal":              {url("https://[2001:db8::1]:8443/in"), ""},

		"no events":             {events(), "events"},
		"all":                   {events("*"), ""},
		"a namespace":           {events("threat.*"), ""},
		"a deep namespace":      {events("compliance.report.*"), ""},
		"a name":                {events("compliance.report.ready", "acme.login"), ""},
		"a star too many":       {events("threat.detected", "threat.**"), "events[1]"},
		"a star in the middle":  {events("threat.*.x"), "events[0]"},
		"a star without a dot":  {events("threat*"), "events[0]"},
		"only a dot and a star": {events(".*"), "events[0]"},
		"an empty choice":       {events("*", ""), "events[1]"},
		"one word":              {events("threat"), "events[0]"},
		"upper case":            {events("Threat.detected"), "events[0]"},
		"the test's type":       {events("webhook.test"), "events[0]"},

		"longest description": {func(w *cybervault.Webhook) { w.Description = strings.Repeat("d", cybervault.MaxDescriptionBytes) }, ""},
		"longer description":  {func(w *cybervault.Webhook) { w.Description = strings.Repeat("d", cybervault.MaxDescriptionBytes+1) }, "description"},
		"no status":           {func(w *cybervault.Webhook) { w.Status = "" }, "status"},
		"disabled":            {func(w *cybervault.Webhook) { w.Status = cybervault.WebhookDisabled }, ""},
		"any 2xx":             {func(w *cybervault.Webhook) { w.Accept = cybervault.AcceptAny2xx }, ""},
		"unknown accept":      {func(w *cybervault.Webhook) { w.Accept = "all" }, "accept"},
		"own schedule":        {func(w *cybervault.Webhook) { w.RetrySchedule = []time.Duration{time.Second} }, ""},
		"no retries":          {func(w *cybervault.Webhook) { w.RetrySchedule = []time.Duration{} }, ""},
		"bad schedule":        {func(w *cybervault.Webhook) { w.RetrySchedule = []time.Duration{-1} }, "retry_schedule"},

		"longest filter":       {func(w *cybervault.Webhook) { w.Filter = strings.Repeat("f", cybervault.MaxFilterBytes) }, ""},
		"longer filter":        {func(w *cybervault.Webhook) { w.Filter = strings.Repeat("f", cybervault.MaxFilterBytes+1) }, "filter"},
		"lowest rate":          {func(w *cybervault.Webhook) { w.RateLimit = 0.001 }, ""},
		"lower rate":           {func(w *cybervault.Webhook) { w.RateLimit = 0.0009 }, "rate_limit"},
		"highest rate":         {func(w *cybervault.Webhook) { w.RateLimit = cybervault.MaxRateLimit }, ""},
		"higher rate":          {func(w *cybervault.Webhook) { w.RateLimit = cybervault.MaxRateLimit + 1 }, "rate_limit"},
		"negative rate":        {func(w *cybervault.Webhook) { w.RateLimit = -1 }, "rate_limit"},
		"rate that is none":    {func(w *cybervault.Webhook) { w.RateLimit = math.NaN() }, "rate_limit"},
		"most at once":         {func(w *cybervault.Webhook) { w.Concurrency = cybervault.MaxConcurrency }, ""},
		"more at once":         {func(w *cybervault.Webhook) { w.Concurrency = cybervault.MaxConcurrency + 1 }, "concurrency"},
		"fewer than none":      {func(w *cybervault.Webhook) { w.Concurrency = -1 }, "concurrency"},
		"ordered":              {func(w *cybervault.Webhook) { w.Ordered = true }, ""},
		"ordered, two at once": {func(w *cybervault.Webhook) { w.Ordered, w.Concurrency = true, 2 }, "concurrency"},

		"most headers":      {func(w *cybervault.Webhook) { w.Headers = manyHeaders(cybervault.MaxWebhookHeaders) }, ""},
		"one more":          {func(w *cybervault.Webhook) { w.Headers = manyHeaders(cybervault.MaxWebhookHeaders + 1) }, "headers"},
		"longest value":     {header("Authorization", strings.Repeat("v", cybervault.MaxHeaderValueBytes)), ""},
		"longer value":      {header("Authorization", strings.Repeat("v", cybervault.MaxHeaderValueBytes+1)), `headers["Authorization"]`},
		"empty value":       {header("X-Empty", ""), ""},
		"tab in a value":    {header("X-Tab", "a\tb"), ""},
		"text in a value":   {header("X-Text", "grün"), ""},
		"line in a value":   {header("X-Line", "a\r\nHost: evil"), `headers["X-Line"]`},
		"NUL in a value":    {header("X-Nul", "a\x00b"), `headers["X-Nul"]`},
		"DEL in a value":    {header("X-Del", "a\x7fb"), `headers["X-Del"]`},
		"no name":           {header("", "v"), `headers[""]`},
		"space in a name":   {header("X Y", "v"), `headers["X Y"]`},
		"colon in a name":   {header("X:", "v"), `headers["X:"]`},
		"line in a name":    {header("X\r\nY", "v"), `headers["X\r\nY"]`},
		"Host":              {header("hOST", "v"), `headers["hOST"]`},
		"ours":              {header("x-cybervault-anything", "v"), `headers["x-cybervault-anything"]`},
		"Standard Webhooks": {header("webhook-id", "v"), `headers["webhook-id"]`},
		"signature":         {header("Webhook-Signature", "v"), `headers["Webhook-Signature"]`},
		"hop by hop":        {header("Transfer-Encoding", "chunked"), `headers["Transfer-Encoding"]`},
		"connection":        {header("connection", "close"), `headers["connection"]`},
		"content length":    {header("Content-Length", "1"), `headers["Content-Length"]`},
		"twice": {func(w *cybervault.Webhook) {
			w.Headers = []cybervault.Header{{Name: "X-Own", Value: "1"}, {Name: "x-own", Value: "2"}}
		}, `headers["x-own"]`},
	} {
		w := valid()
		c.change(w)
		err := w.Check()
		if c.field == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		e, ok := err.(*cybervault.Error) //nolint:errorlint // the outermost is what a caller is answered with
		if !ok || e.Code != cybervault.CodeInvalid || e.Field != c.field || e.Message == "" {
			t.Errorf("%s: %v, want CodeInvalid about %q", name, err, c.field)
		}
		if err != nil && strings.Contains(err.Error(), strings.Repeat("v", 100)) {
			t.Errorf("%s: the error shows the value", name)
		}
	}
}

func TestWebhookStates(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, c := range []struct {
		w          cybervault.Webhook
		live, held bool
	}{
		{cybervault.Webhook{Status: cybervault.WebhookEnabled}, true, false},
		{cybervault.Webhook{Status: cybervault.WebhookDisabled}, false, false},
		{cybervault.Webhook{Status: cybervault.WebhookEnabled, DeletedAt: now}, false, false},
		{cybervault.Webhook{Status: cybervault.WebhookEnabled, Verification: true}, true, true},
		{cybervault.Webhook{Status: cybervault.WebhookEnabled, Verification: true, VerifiedAt: now}, true, false},
		{cybervault.Webhook{Status: cybervault.WebhookEnabled, VerifiedAt: now}, true, false},
	} {
		if c.w.Live() != c.live || c.w.Held() != c.held {
			t.Errorf("%+v: live %v, held %v", c.w, c.w.Live(), c.w.Held())
		}
	}
}

func TestAttemptsAtOnce(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		tuning cybervault.Tuning
		want   int
	}{
		{cybervault.Tuning{}, cybervault.DefaultConcurrency},
		{cybervault.Tuning{Concurrency: 3}, 3},
		{cybervault.Tuning{Ordered: true}, 1},
	} {
		if got := (&cybervault.Webhook{Tuning: c.tuning}).AttemptsAtOnce(); got != c.want {
			t.Errorf("%+v: %d at once, want %d", c.tuning, got, c.want)
		}
	}
}

func TestAccepts(t *testing.T) {
	t.Parallel()
	for status := range 600 {
		if got, want := cybervault.AcceptDefault.Accepts(status), status == 200 || status == 201; got != want {
			t.Errorf("default, %d: %v", status, got)
		}
		if got, want := cybervault.AcceptAny2xx.Accepts(status), status/100 == 2; got != want {
			t.Errorf("any 2xx, %d: %v", status, got)
		}
	}
}

func TestNewSecret(t *testing.T) {
	t.Parallel()
	now := time.Now()
	a, b := cybervault.NewSecret(now), cybervault.NewSecret(now)
	if a.Value == b.Value {
		t.Error("two secrets are the same")
	}
	rest, ok := strings.CutPrefix(a.Value, "whsec_")
	if raw, err := base64.StdEncoding.DecodeString(rest); !ok || err != nil || len(raw) != 32 || !a.CreatedAt.Equal(now) || !a.ExpiresAt.IsZero() {
		t.Errorf("%q is not whsec_ and the base64 of 32 bytes: %v", a.Value, err)
	}
}
