package deliver //nolint:testpackage // judge is the rule itself

import (
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
)

func TestEveryAnswerIsJudgedInWords(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		accept  cybervault.Accept
		x       cybervault.Exchange
		failure cybervault.Failure
		says    string
	}{
		{x: cybervault.Exchange{Status: 200}},
		{x: cybervault.Exchange{Status: 201}},
		{x: cybervault.Exchange{Status: 204}, failure: "status", says: "answered 204; this webhook counts only 200 and 201 as success: change it under Accept"},
		{accept: cybervault.AcceptAny2xx, x: cybervault.Exchange{Status: 204}},
		{x: cybervault.Exchange{Status: 302, Answer: []cybervault.Header{{Name: "location", Value: "http://169.254.169.254/latest"}}}, failure: "redirect",
			says: `answered 302 Found, which leads to "http://169.254.169.254/latest"; redirects are never followed: give the webhook the final URL`},
		{x: cybervault.Exchange{Status: 308, Answer: []cybervault.Header{{Name: "Location", Value: strings.Repeat("x\n", 1000)}}}, failure: "redirect", says: "never followed"},
		{x: cybervault.Exchange{Status: 304}, failure: "redirect", says: "no answer to a POST"},
		{x: cybervault.Exchange{Status: 401}, failure: "status", says: "signing secret"},
		{x: cybervault.Exchange{Status: 404}, failure: "status", says: "check the URL"},
		{x: cybervault.Exchange{Status: 405}, failure: "status", says: "no POST"},
		{x: cybervault.Exchange{Status: 410}, failure: "status", says: "disabled"},
		{x: cybervault.Exchange{Status: 413}, failure: "status", says: "256 KiB"},
		{x: cybervault.Exchange{Status: 418}, failure: "status", says: "answered 418 I'm a teapot"},
		{x: cybervault.Exchange{Status: 429, RetryAfter: 2 * time.Minute}, failure: "status", says: "answered 429 Too Many Requests; the receiver asks for a pause of 2m"},
		{x: cybervault.Exchange{Status: 503, RetryAfter: cybervault.MaxRetryAfter}, failure: "status", says: "a day is waited"},
		{x: cybervault.Exchange{Status: 500}, failure: "status", says: "its own log"},
		{x: cybervault.Exchange{Status: 599}, failure: "status", says: "answered 599: the receiver failed"},
		{x: cybervault.Exchange{Failure: "timeout", Error: "no answer"}, failure: "timeout", says: "no answer"},
	} {
		x := c.x
		judge(&cybervault.Webhook{Accept: c.accept}, &x)
		if x.Failure != c.failure || !strings.Contains(x.Error, c.says) || (c.failure == "") != (x.Error == "") || len(x.Error) > 500 || strings.ContainsRune(x.Error, '\n') {
			t.Errorf("%d is judged %q: %q, want %q that says %q", c.x.Status, x.Failure, x.Error, c.failure, c.says)
		}
	}
}
