package main

import (
	"context"
	"encoding/csv"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sort"

	"github.com/cybervault/cybervault/internal/detect/model"
	"github.com/cybervault/cybervault/internal/detect/web"
)

// paramsFigures say which values of HTTP parameters are found, by class: by a
// rule, or by a learned score that was trained without them.
type paramsFigures struct {
	Classes    []paramsClass `json:"classes"`
	LostByGate int           `json:"verdicts_changed_by_gate"`
}

type paramsClass struct {
	Class   string  `json:"class"`
	Values  int     `json:"values"`
	Matched int     `json:"matched"`
	Percent float64 `json:"percent"`
	ByRule  int     `json:"matched_by_rule"`
	Decoded int     `json:"matched_by_decoding_only"`
}

func evalParams(ctx context.Context, dir string) (paramsFigures, error) {
	var out paramsFigures
	file, err := os.Open(filepath.Join(dir, "web", "httpparams", "payload_train.csv"))
	if err != nil {
		return out, err
	}
	defer func() { _ = file.Close() }()
	rows, err := csv.NewReader(file).ReadAll()
	if err != nil {
		return out, fmt.Errorf("payload_train.csv: %w", err)
	}
	gated, err := web.New(web.Config{})
	if err != nil {
		return out, err
	}
	ungated, err := web.New(web.Config{NoGate: true})
	if err != nil {
		return out, err
	}
	held, err := heldOut(dir, len(rows)-1)
	if err != nil {
		return out, err
	}
	classes := map[string]*paramsClass{}
	for i, row := range rows[1:] {
		if err := ctx.Err(); err != nil {
			return out, err
		}
		if len(row) != 4 {
			return out, fmt.Errorf("payload_train.csv: row %d has %d columns, not 4", i+2, len(row))
		}
		c := classes[row[2]]
		if c == nil {
			c = &paramsClass{Class: row[2]}
			classes[row[2]] = c
		}
		request := &web.Request{Method: "GET", Target: "/item?q=" + url.QueryEscape(row[0]), Headers: [][2]string{
			{"Host", "www.example.com"}, {"User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:135.0) Gecko/20100101 Firefox/135.0"},
			{"Referer", "https://www.example.com/"}}}
		matches := gated.Inspect(request)
		c.Values++
		byRule, hidden := false, true
		for _, m := range matches {
			if !m.Learned() {
				byRule, hidden = true, hidden && m.Encoding != ""
			}
		}
		if byRule {
			c.ByRule++
			if hidden {
				c.Decoded++
			}
		}
		if byRule || held[i] {
			c.Matched++
		}
		// Every eighth value tells whether the gate is sound; all would double the time.
		if i%8 == 0 && !sameRules(matches, ungated.Inspect(request)) {
			out.LostByGate++
		}
	}
	for _, c := range classes {
		c.Percent = percent(c.Matched, c.Values)
		out.Classes = append(out.Classes, *c)
	}
	sort.Slice(out.Classes, func(i, j int) bool { return out.Classes[i].Class < out.Classes[j].Class })
	return out, nil
}

// heldOut says of each value, in the file's order, whether a score that was
// trained on the other folds finds it.
func heldOut(dir string, n int) ([]bool, error) {
	m, err := model.Default()
	if err != nil {
		return nil, err
	}
	scored, _, err := model.CrossValidate(dir, m.Info.Seed)
	if err != nil {
		return nil, err
	}
	found := make([]bool, n)
	next := 0
	for fold := range model.Folds { // the order in which folds are judged
		for i := fold; i < n; i += model.Folds {
			found[i] = scored[next].Attack >= scored[next].Threshold && model.Suspect(scored[next].Value)
			next++
		}
	}
	return found, nil
}
