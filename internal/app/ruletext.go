package app

import (
	"bytes"
	"context"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/detect"
	"github.com/cybervault/cybervault/internal/detect/sigma"
)

// maxRuleText bounds the text of a rule that is shown.
const maxRuleText = 64 << 10

// RulesOff lists the rules that people have turned off, Sigma's and others.
func (c *controls) RulesOff(ctx context.Context, ws cybervault.WorkspaceID) (map[string]cybervault.RuleOff, error) {
	stored, err := c.read(ctx, ws)
	if err != nil {
		return nil, err
	}
	return stored.Off, nil
}

// Rule tells all there is to read about a rule, by the id that detections have. Of
// one that is not Sigma's that is little more than whether it is on.
func (c *controls) Rule(ctx context.Context, ws cybervault.WorkspaceID, id string) (*cybervault.RuleDetail, error) {
	stored, err := c.read(ctx, ws)
	if err != nil {
		return nil, err
	}
	if info := c.find(id); info != nil {
		return c.detail(info, stored), nil
	}
	detail := &cybervault.RuleDetail{RuleInfo: cybervault.RuleInfo{ID: id}}
	if off, is := stored.Off[id]; is {
		detail.Off = &off
	}
	return detail, nil
}

func (c *controls) find(id string) *sigma.RuleInfo {
	if c.rules == nil {
		return nil
	}
	for _, r := range slices.Concat(c.rules.Rules(), c.rules.Correlations()) {
		if r.ID == id {
			return r
		}
	}
	return nil
}

func (c *controls) detail(r *sigma.RuleInfo, stored *cybervault.Controls) *cybervault.RuleDetail {
	var meta sigma.Meta
	d := &cybervault.RuleDetail{RuleInfo: ruleInfo(r, stored), Vector: detect.VectorOf(r), Silent: r.Silent}
	if r.Rule != nil {
		meta = r.Rule.Meta
	} else if r.Correlation != nil {
		meta, d.Counts = r.Correlation.Meta, r.Correlation.Rules
	}
	d.Description, d.Status, d.Author, d.License = meta.Description, meta.Status, meta.Author, meta.License
	d.References, d.FalsePositives, d.Tags = meta.References, meta.FalsePositives, meta.Tags
	d.Text = ruleText(c.sources, meta.Pos)
	return d
}

// ruleText reads a rule as it stands in its file: the document that begins about
// there. It is "" where that file is not there any more.
func ruleText(sources []detect.RuleSource, at sigma.Position) string {
	for _, s := range slices.Backward(sources) {
		name, below := at.File, true
		if s.Name != "" {
			name, below = strings.CutPrefix(at.File, strings.TrimSuffix(path.Join(s.Name, "x"), "x")) // as the loader joins them
		}
		if !below {
			continue
		}
		if data, err := fs.ReadFile(s.FS, name); err == nil { // else the next: it may be another source's
			return documentAt(data, at.Line)
		}
	}
	return ""
}

// documentAt is the YAML document that a line of a file belongs to, shortened.
func documentAt(data []byte, line int) string {
	var doc [][]byte
	for n, text := range bytes.Split(data, []byte("\n")) {
		if text = bytes.TrimRight(text, "\r"); bytes.Equal(text, []byte("---")) || bytes.HasPrefix(text, []byte("--- ")) {
			if n+1 > line {
				break
			}
			doc = doc[:0]
			continue
		}
		doc = append(doc, text)
	}
	whole := bytes.TrimSpace(bytes.Join(doc, []byte("\n")))
	if len(whole) > maxRuleText {
		return strings.ToValidUTF8(string(whole[:maxRuleText]), "") + "…"
	}
	return strings.ToValidUTF8(string(whole), "\uFFFD")
}
