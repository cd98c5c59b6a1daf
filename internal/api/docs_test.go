package api_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/api"
)

func readDocs(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// curlCall finds the method, the path and the JSON body of an example.
var (
	curlLine   = regexp.MustCompile(`(?m)^(?:[^#\n]*\| )?curl ((?:[^\n\\']|\\\n|'[^']*')*)`)
	curlMethod = regexp.MustCompile(`-X (\w+)`)
	curlPath   = regexp.MustCompile(`"\$CV([^"]*)"`)
	curlJSON   = regexp.MustCompile(`(?s)--json '([^']*)'`)
	curlFilter = regexp.MustCompile(`-d '([^']*)'`)
)

// Every curl example of the documentation is a call that succeeds.
func TestExamplesOfTheDocumentation(t *testing.T) {
	t.Parallel()
	examples := curlLine.FindAllStringSubmatch(readDocs(t), -1)
	if len(examples) < 15 {
		t.Fatalf("found %d examples only", len(examples))
	}
	for _, example := range examples {
		text := example[1]
		path := curlPath.FindStringSubmatch(text)
		if path == nil {
			t.Errorf("no path in %q", text)
			continue
		}
		if strings.Contains(path[1], "cursor=") || strings.Contains(text, "Last-Event-ID") {
			continue // made up to be read
		}
		r := request{call: strings.NewReplacer("$ID", webhook1.String(), "$DELIVERY", dlv1.String(), "$INCIDENT", incident1.String()).Replace(path[1])}
		method := "GET"
		if body := curlJSON.FindStringSubmatch(text); body != nil {
			method, r.body = "POST", body[1]
		} else if strings.Contains(text, "--data-binary") {
			method, r.body, r.media = "POST", `{"event":"threat.detected","data":{}}`, "application/x-ndjson"
		}
		if filters := curlFilter.FindAllStringSubmatch(text, -1); strings.Contains(text, "-G") {
			r.call += "?"
			for _, f := range filters {
				r.call += f[1] + "&"
			}
			r.call = strings.TrimSuffix(r.call, "&")
		}
		if m := curlMethod.FindStringSubmatch(text); m != nil {
			method = m[1]
		}
		r.call = method + " " + r.call
		if w := setUp(t).do(r); w.Code >= 400 {
			t.Errorf("%s\nwas answered %d: %s", text, w.Code, w.Body)
		}
	}
}

// Every call, every code of a problem and every status of a delivery is explained.
func TestDocumentationIsComplete(t *testing.T) {
	t.Parallel()
	docs := readDocs(t)
	for _, rt := range api.Routes() {
		if !strings.Contains(docs, "`"+rt.Method+" "+rt.Pattern+"`") && !strings.Contains(docs, "`"+rt.Method+" "+rt.Pattern+"?source=NAME`") {
			t.Errorf("%s %s is not explained", rt.Method, rt.Pattern)
		}
	}
	for _, code := range []cybervault.Code{
		cybervault.CodeInvalid, cybervault.CodeNotFound, cybervault.CodeConflict, cybervault.CodeUnauthorized, cybervault.CodeForbidden,
		cybervault.CodeTooLarge, cybervault.CodeGone, cybervault.CodeUnavailable, cybervault.CodeInternal, "method_not_allowed", "unsupported_media_type",
	} {
		if !strings.Contains(docs, "\n### "+string(code)+"\n") {
			t.Errorf("the code %s has no heading that a problem's type could lead to", code)
		}
	}
	for _, status := range cybervault.DeliveryStatuses() {
		if !strings.Contains(docs, "| `"+string(status)+"` |") {
			t.Errorf("the status %s is not explained", status)
		}
	}
}
