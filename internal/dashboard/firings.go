package dashboard

import (
	"context"
	"encoding/json"

	"github.com/cybervault/cybervault"
)

// shownRecent is how many of its latest findings a rule's page shows.
const shownRecent = 10

// firing is what one rule found lately: of the latest threats and suspicious logins
// that are stored, a page of each.
type firing struct {
	Engine   string
	Title    string
	Level    cybervault.Severity
	Findings int   // different threats and logins
	Records  int64 // that led to them
	Last     *cybervault.Event
	Recent   []recentDetection
}

type recentDetection struct {
	Event     *cybervault.Event
	Who       string
	source    string
	user      string
	Detection cybervault.Detection
}

// finding is what the pages read of an event of the threat engine.
type finding struct {
	Data struct {
		ThreatID   string                 `json:"threat_id"`
		AuthID     string                 `json:"auth_id"`
		SourceIP   string                 `json:"source_ip"`
		User       string                 `json:"user"`
		Asset      string                 `json:"target_asset"`
		Detections []cybervault.Detection `json:"detections"`
	} `json:"data"`
}

// firings counts by rule what was found lately, in how many events. An attack that
// goes on is told of several times, each time with all of it: only the latest counts.
func (d *dashboard) firings(ctx context.Context) (found map[string]*firing, looked int, err error) {
	found = map[string]*firing{}
	seen := map[string]bool{}
	for _, kind := range []string{cybervault.EventThreatDetected, cybervault.EventAuthSuspicious} {
		page, err := d.Log.Events(ctx, cybervault.EventQuery{Workspace: workspaceOf(ctx), Type: kind, Limit: cybervault.MaxPageSize})
		if err != nil {
			return nil, 0, err
		}
		for _, e := range page.Rows {
			looked++
			var f finding
			if e.Test || json.Unmarshal(e.Body, &f) != nil {
				continue // of a publisher's own
			}
			subject := f.Data.ThreatID + f.Data.AuthID
			if subject != "" && seen[subject] {
				continue
			}
			seen[subject] = true
			addFirings(found, e, &f)
		}
	}
	return found, looked, nil
}

func addFirings(found map[string]*firing, e *cybervault.Event, f *finding) {
	for i := range f.Data.Detections {
		one := &f.Data.Detections[i]
		r := found[one.RuleID]
		if r == nil {
			r = &firing{Engine: one.Engine, Title: one.Title, Level: one.Level, Last: e}
			found[one.RuleID] = r
		}
		if e.Timestamp.After(r.Last.Timestamp) {
			r.Last = e
		}
		r.Findings++
		r.Records += int64(one.Count)
		if len(r.Recent) < shownRecent {
			who := whoWords(&cybervault.Gist{SourceIP: f.Data.SourceIP, User: f.Data.User, Asset: f.Data.Asset})
			r.Recent = append(r.Recent, recentDetection{e, who, f.Data.SourceIP, f.Data.User, *one})
		}
	}
}

// words says how often: "12 findings, 340 records".
func (f *firing) words() string {
	if f == nil {
		return ""
	}
	return plural(f.Findings, "finding", "findings") + ", " + plural(f.Records, "record", "records")
}
