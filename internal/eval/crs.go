package main

import (
	"context"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"slices"
	"sort"
	"strings"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	"github.com/corazawaf/coraza-coreruleset/v4/tests"
	"github.com/corazawaf/coraza/v3"
	"github.com/goccy/go-yaml"

	"github.com/cybervault/cybervault/internal/detect/web"
)

// crsFigures compare the inspector with Coraza as its makers set it up, on the
// regression tests of the rule set: both at paranoia level 4, rules of the
// families that find attacks, stages that a request alone decides.
type crsFigures struct {
	Stages   int      `json:"stages"`
	Stock    int      `json:"stock_right"`
	Ours     int      `json:"ours_right"`
	Lost     []string `json:"lost"`   // right by stock Coraza, wrong here
	Gained   int      `json:"gained"` // the other way round
	Families []string `json:"families"`
}

// crsTest is a file of tests, as far as it is read here.
type crsTest struct {
	RuleID int `yaml:"rule_id"`
	Tests  []struct {
		ID     int        `yaml:"test_id"`
		Stages []crsStage `yaml:"stages"`
	} `yaml:"tests"`
}

type crsStage struct {
	Input struct {
		Method       string        `yaml:"method"`
		URI          string        `yaml:"uri"`
		Version      string        `yaml:"version"`
		Headers      yaml.MapSlice `yaml:"headers"`
		Data         any           `yaml:"data"`
		Encoded      string        `yaml:"encoded_request"`
		Autocomplete *bool         `yaml:"autocomplete_headers"`
	} `yaml:"input"`
	Output struct {
		Log struct {
			Expect   []int  `yaml:"expect_ids"`
			NoExpect []int  `yaml:"no_expect_ids"`
			Match    string `yaml:"match_regex"`
			NoMatch  string `yaml:"no_match_regex"`
		} `yaml:"log"`
	} `yaml:"output"`
}

// decided reports whether the rules that the request matches decide the stage.
func (s *crsStage) decided() bool {
	l := s.Output.Log
	return s.Input.Encoded == "" && l.Match == "" && l.NoMatch == "" && len(l.Expect)+len(l.NoExpect) > 0
}

// request is the one that the tests' runner would send: it adds what a client
// does.
func (s *crsStage) request() *web.Request {
	r := &web.Request{Method: s.Input.Method, Target: s.Input.URI, Version: s.Input.Version}
	if r.Method == "" {
		r.Method = "GET"
	}
	if r.Target == "" {
		r.Target = "/"
	}
	if r.Version == "" {
		r.Version = "HTTP/1.1"
	}
	if s.Input.Data != nil {
		r.Body = fmt.Sprint(s.Input.Data)
	}
	typed, sized := false, false
	for _, h := range s.Input.Headers {
		name := fmt.Sprint(h.Key)
		typed = typed || strings.EqualFold(name, "Content-Type")
		sized = sized || strings.EqualFold(name, "Content-Length")
		r.Headers = append(r.Headers, [2]string{name, fmt.Sprint(h.Value)})
	}
	if auto := s.Input.Autocomplete; r.Body != "" && (auto == nil || *auto) {
		if !typed {
			r.Headers = append(r.Headers, [2]string{"Content-Type", "application/x-www-form-urlencoded"})
			if values, err := url.ParseQuery(r.Body); err == nil && !strings.Contains(r.Body, "%") {
				r.Body = values.Encode()
			}
		}
		if !sized {
			r.Headers = append(r.Headers, [2]string{"Content-Length", fmt.Sprint(len(r.Body))})
		}
	}
	return r
}

func (s *crsStage) right(matched map[int]bool) bool {
	for _, id := range s.Output.Log.Expect {
		if !matched[id] {
			return false
		}
	}
	return !slices.ContainsFunc(s.Output.Log.NoExpect, func(id int) bool { return matched[id] })
}

func evalCRS(ctx context.Context) (crsFigures, error) {
	var out crsFigures
	ours, err := web.New(web.Config{Paranoia: 4})
	if err != nil {
		return out, err
	}
	stock, err := coraza.NewWAF(coraza.NewWAFConfig().WithRootFS(coreruleset.FS).WithDirectives(
		"Include @coraza.conf-recommended\nSecRuleEngine DetectionOnly\nInclude @crs-setup.conf.example\n" +
			`SecAction "id:900000,phase:1,pass,t:none,nolog,setvar:tx.blocking_paranoia_level=4,setvar:tx.detection_paranoia_level=4"` +
			"\nInclude @owasp_crs/REQUEST-*.conf"))
	if err != nil {
		return out, fmt.Errorf("load Coraza as its makers set it up: %w", err)
	}
	families := map[string]bool{}
	err = fs.WalkDir(tests.FS, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(name) != ".yaml" {
			return err
		}
		family := strings.TrimPrefix(name, "REQUEST-")[:3]
		if family < "913" || family > "944" || family == "920" || strings.HasPrefix(name, "RESPONSE") {
			return ctx.Err()
		}
		raw, err := fs.ReadFile(tests.FS, name)
		if err != nil {
			return err
		}
		var file crsTest
		if err := yaml.Unmarshal(raw, &file); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		families[family] = true
		for _, t := range file.Tests {
			for i := range t.Stages {
				out.compare(&t.Stages[i], ours, stock, fmt.Sprintf("%d-%d", file.RuleID, t.ID))
			}
		}
		return ctx.Err()
	})
	for f := range families {
		out.Families = append(out.Families, f)
	}
	sort.Strings(out.Families)
	return out, err
}

func (out *crsFigures) compare(s *crsStage, ours *web.Inspector, stock coraza.WAF, name string) {
	if !s.decided() {
		return
	}
	r := s.request()
	here := map[int]bool{}
	for _, m := range ours.Inspect(r) {
		// What stands in an encoding that stock Coraza leaves alone is no false alarm of the rule.
		here[m.RuleID] = here[m.RuleID] || m.Encoding == ""
	}
	out.Stages++
	mine, theirs := s.right(here), s.right(askStock(stock, r))
	switch {
	case mine && !theirs:
		out.Gained++
	case theirs && !mine:
		out.Lost = append(out.Lost, name)
	}
	if mine {
		out.Ours++
	}
	if theirs {
		out.Stock++
	}
}

// askStock returns the rules that a request matches.
func askStock(waf coraza.WAF, r *web.Request) map[int]bool {
	tx := waf.NewTransaction()
	defer func() { _ = tx.Close() }()
	tx.ProcessConnection("127.0.0.1", 1024, "127.0.0.1", 80)
	tx.ProcessURI(r.Target, r.Method, r.Version)
	for _, h := range r.Headers {
		tx.AddRequestHeader(h[0], h[1])
	}
	tx.ProcessRequestHeaders()
	matched := map[int]bool{}
	if _, _, err := tx.WriteRequestBody([]byte(r.Body)); err != nil {
		return matched
	}
	if _, err := tx.ProcessRequestBody(); err != nil {
		return matched
	}
	for _, m := range tx.MatchedRules() {
		matched[m.Rule().ID()] = true
	}
	return matched
}
