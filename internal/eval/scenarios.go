package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/detect"
	"github.com/cybervault/cybervault/internal/telemetry"
	"github.com/cybervault/cybervault/rules"
)

// scenariosFigures say in how many of CrowdSec's tests of attack scenarios each
// address that attacked is that of an event of the right class: of a login where
// passwords were guessed. Tests are taken whose log is read: more than half of its
// lines are records that name an address.
type scenariosFigures struct {
	Scenarios int            `json:"scenarios"`
	Found     int            `json:"found"`
	Outside   int            `json:"outside"` // of those not found, the ones that are not meant to be
	Missed    []string       `json:"missed"`
	Each      []scenarioTest `json:"each"`
}

// scenarioTest is one test: what was to be found and what was.
type scenarioTest struct {
	Test     string              `json:"test"`
	Scenario string              `json:"scenario"`
	Found    bool                `json:"found"`
	Events   map[string][]string `json:"events,omitempty"` // of the attacking addresses, by address: type and vector or pattern
	Why      string              `json:"why,omitempty"`    // it was not found
}

// outside are tests that are not meant to be found, with the reason. They count
// among the scenarios all the same.
var outside = map[string]string{
	"caddy-basic-auth-bf": "outside: the requests bring no credentials, which the log would show; each is only asked for them",
	"ssh-generic-test":    "outside: one line with a name that CrowdSec's users try to see that their installation works; it is no attack",
}

// below are tests that show less than is told of, with the reason.
var below = map[string]string{
	"audiobookshelf-bf":     "below: four tries at two names",
	"dovecot-slow-bf":       "below: four tries at one account in half an hour, as a mail program with an old password makes them",
	"dovecot-spam":          "below: one of the three addresses tries twice; four lines tell of it",
	"dovecot-time-based-bf": "below: four tries at three names, half an hour apart",
	"joplin-server-bf":      "below: five tries at one account in a quarter of an hour",
	"postfix-sasl-bf":       "below: three tries, as a mail program makes that goes from one method to the next",
	"teamspeak-bf":          "below: four tries at one account",
}

var (
	logFileLine = regexp.MustCompile(`(?m)^log_file:\s*(\S+)`)
	logTypeLine = regexp.MustCompile(`(?m)^log_type:\s*(\S+)`)
	sourceLine  = regexp.MustCompile(`^"([0-9a-fA-F.:]+)" in results`)
	resultLine  = regexp.MustCompile(`results\[(\d+)\]\.Overflow\.Alert\.GetScenario\(\) == "([^"]+)"`)
	// guessing are the names of scenarios that find logins; those named by a CVE find its use.
	guessing = regexp.MustCompile(`^[^/]*/(?:[a-z0-9]+[-_])+(?:bf|enum|bruteforce|impossible-travel)\b|(?:dovecot|exim)-spam|auth[-_]bf`)
)

func evalScenarios(ctx context.Context, dir string) (scenariosFigures, error) {
	var out scenariosFigures
	tests, err := filepath.Glob(filepath.Join(dir, "crowdsec-hub", "tests", "*", "scenario.assert"))
	if err != nil {
		return out, err
	}
	sort.Strings(tests)
	for _, assert := range tests {
		folder := filepath.Dir(assert)
		config, err := os.ReadFile(filepath.Join(folder, "config.yaml"))
		if err != nil {
			return out, err
		}
		file, kind := logFileLine.FindSubmatch(config), logTypeLine.FindSubmatch(config)
		if file == nil || kind == nil {
			continue
		}
		log, err := os.ReadFile(filepath.Join(folder, string(file[1])))
		if err != nil {
			continue // a test without its log
		}
		expected, err := os.ReadFile(assert)
		if err != nil {
			return out, err
		}
		t := scenarioTest{Test: filepath.Base(folder)}
		sources := expectedSources(string(expected), &t)
		if len(sources) == 0 {
			continue
		}
		found, read, err := attackers(ctx, log)
		if err != nil {
			return out, fmt.Errorf("%s: %w", folder, err)
		}
		if read {
			out.add(t, sources, found)
		}
	}
	return out, nil
}

// expectedSources are the addresses of a test's alerts, in their usual form.
func expectedSources(assert string, t *scenarioTest) []string {
	var out []string
	for line := range strings.SplitSeq(assert, "\n") {
		if m := sourceLine.FindStringSubmatch(line); m != nil {
			if ip, err := netip.ParseAddr(m[1]); err == nil && !slices.Contains(out, ip.Unmap().String()) {
				out = append(out, ip.Unmap().String())
			}
		}
		if m := resultLine.FindStringSubmatch(line); m != nil && !strings.Contains(t.Scenario, m[2]) {
			t.Scenario = strings.TrimPrefix(t.Scenario+", "+m[2], ", ")
		}
	}
	return out
}

func (s *scenariosFigures) add(t scenarioTest, sources []string, found map[string][]string) {
	t.Events = map[string][]string{}
	for _, ip := range sources {
		events := found[ip]
		if len(events) > 0 {
			t.Events[ip] = events
		}
		right := slices.ContainsFunc(events, func(e string) bool {
			return !guessing.MatchString(t.Scenario) || strings.HasPrefix(e, cybervault.EventAuthSuspicious)
		})
		if !right && t.Why == "" {
			t.Why = ip + " is in no event"
			if len(events) > 0 {
				t.Why = ip + " is in an event of another class: " + strings.Join(events, ", ")
			}
		}
	}
	s.Scenarios++
	if t.Found = t.Why == ""; t.Found {
		s.Found++
	} else {
		if why := outside[t.Test]; why != "" {
			s.Outside++
			t.Why = why
		} else if why := below[t.Test]; why != "" {
			t.Why = why
		}
		s.Missed = append(s.Missed, fmt.Sprintf("%s (%s): %s", t.Test, t.Scenario, t.Why))
	}
	s.Each = append(s.Each, t)
}

// attackers runs the engine over a log and returns what its events are, by
// address, and whether most of the log was read.
func attackers(ctx context.Context, log []byte) (map[string][]string, bool, error) {
	shipped, _, err := detect.LoadRules(detect.RuleSource{FS: rules.FS()})
	if err != nil {
		return nil, false, err
	}
	e, err := detect.New(detect.Config{Rules: shipped})
	if err != nil {
		return nil, false, err
	}
	b := e.Begin(cybervault.WorkspaceID{})
	judged := 0
	sum, err := telemetry.Parse(ctx, bytes.NewReader(log), telemetry.Options{Now: func() time.Time {
		return time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	}}, func(rec *cybervault.Record) error {
		if rec.SourceIP != "" {
			judged++
		}
		return b.Add(ctx, rec)
	})
	if err != nil {
		return nil, false, err
	}
	findings, err := b.End(ctx)
	if err != nil {
		return nil, false, err
	}
	found := map[string][]string{}
	for _, f := range findings {
		if what := f.Type + " " + f.Gist.Name; f.Gist.SourceIP != "" && !slices.Contains(found[f.Gist.SourceIP], what) {
			found[f.Gist.SourceIP] = append(found[f.Gist.SourceIP], what)
		}
	}
	return found, judged*2 > sum.Records+sum.Unreadable, nil
}

// evalScenariosAlone prints what each scenario came to.
func evalScenariosAlone(ctx context.Context, dir string, asJSON bool, out io.Writer) error {
	s, err := evalScenarios(ctx, dir)
	if err != nil {
		return err
	}
	if asJSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(s)
	}
	w := &lines{out: out}
	for _, t := range s.Each {
		switch {
		case t.Found:
			w.print("found  %-36s %s: %v", t.Test, t.Scenario, t.Events)
		default:
			w.print("missed %-36s %s: %s", t.Test, t.Scenario, t.Why)
		}
	}
	s.table(w)
	return w.err
}

func (s *scenariosFigures) table(w *lines) {
	w.print("CrowdSec scenarios of sources that are read: address and class found in %d of %d, %d of the others are outside", s.Found, s.Scenarios, s.Outside)
	for _, m := range s.Missed {
		w.print("    missed %s", m)
	}
}
