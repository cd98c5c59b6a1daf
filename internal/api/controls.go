package api

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// Controls are what people tell the threat engine to leave out.
type Controls interface {
	Rules(ctx context.Context, ws cybervault.WorkspaceID) ([]cybervault.RuleInfo, error)
	// SetRule turns a rule on, or off for a reason, by the id that detections have.
	SetRule(ctx context.Context, ws cybervault.WorkspaceID, id string, on bool, reason string) error
	Exceptions(ctx context.Context, ws cybervault.WorkspaceID) ([]cybervault.Exception, error)
	AddException(ctx context.Context, ws cybervault.WorkspaceID, e cybervault.Exception) (*cybervault.Exception, error)
	// RemoveException removes one. CodeNotFound where there is none.
	RemoveException(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.ExceptionID) error
	PreviewException(ctx context.Context, ws cybervault.WorkspaceID, e cybervault.Exception) (*cybervault.ExceptionPreview, error)
}

type ruleJSON struct {
	ID         string              `json:"id"`
	Title      string              `json:"title"`
	Kind       string              `json:"kind" doc:"rule or correlation."`
	Level      cybervault.Severity `json:"level"`
	LogSource  string              `json:"logsource" doc:"Which records it judges, as product/category or product/service."`
	Techniques []string            `json:"techniques" doc:"ATT&CK techniques."`
	File       string              `json:"file" doc:"Where it stands: below the shipped rules, or in a directory of --rules."`
	Enabled    bool                `json:"enabled"`
	Reason     *string             `json:"reason" doc:"Why it is off; null while it is on."`
	OffSince   *time.Time          `json:"off_since"`
}

func showRule(r *cybervault.RuleInfo) ruleJSON {
	out := ruleJSON{ID: r.ID, Title: r.Title, Kind: r.Kind, Level: r.Level, LogSource: r.LogSource, Techniques: orEmpty(r.Techniques), File: r.File, Enabled: r.Off == nil}
	if r.Off != nil {
		out.Reason, out.OffSince = &r.Off.Reason, orNull(r.Off.At.UTC())
	}
	return out
}

func (s *server) listRules(c *call) error {
	f := &filters{query: c.query}
	text, enabled := strings.ToLower(f.search()), choices(f, "enabled", []string{"true", "false"})
	if err := f.wrong.err(); err != nil {
		return err
	}
	all, err := s.Controls.Rules(c.ctx(), c.workspace())
	if err != nil {
		return err
	}
	answer := listJSON[ruleJSON]{Data: []ruleJSON{}}
	for i := range all {
		r := showRule(&all[i])
		if len(enabled) == 1 && (enabled[0] == "true") != r.Enabled {
			continue
		}
		if text == "" || strings.Contains(strings.ToLower(strings.Join(append([]string{r.ID, r.Title, r.LogSource, string(r.Level), r.File}, r.Techniques...), "\n")), text) {
			answer.Data = append(answer.Data, r)
		}
	}
	return writeJSON(c, http.StatusOK, answer)
}

func aboutListRules(rt *route) {
	rt.id, rt.tag, rt.summary = "listRules", tagDetection, "List Sigma rules"
	rt.doc = "All that are loaded, by title, in one page."
	rt.params = []param{
		{"q", "Only those whose id, title, log source, level, technique or file has this text.", schema{"type": "string"}},
		{"enabled", "Only those that are on (true) or off (false).", schema{"type": "string", "enum": []string{"true", "false"}}},
	}
	rt.answers = []answer{{status: 200, doc: "The rules.", schema: listOf[ruleJSON]()}}
	rt.errors = []int{503}
}

type ruleChange struct {
	enabled bool
	reason  string
}

func ruleFields() fields[ruleChange] {
	return fields[ruleChange]{
		{
			name: "enabled", required: true, doc: "true turns the rule on, false off", schema: schema{"type": "boolean"},
			read: func(raw json.RawMessage, into *ruleChange) (err error) {
				into.enabled, err = readBool(raw)
				return err
			},
		}, {
			name: "reason", doc: "why it is off; needed for that", schema: schema{"type": "string", "maxLength": cybervault.MaxExceptionText},
			read: func(raw json.RawMessage, into *ruleChange) (err error) {
				into.reason, err = readString(raw)
				return err
			},
		},
	}
}

func (s *server) updateRule(c *call) error {
	body, err := readJSON(c, MaxRequestBytes)
	if err != nil {
		return err
	}
	change, err := ruleFields().decode(body, bodyOptions{})
	if err != nil {
		return err
	}
	if err := s.Controls.SetRule(c.ctx(), c.workspace(), c.r.PathValue("id"), change.enabled, change.reason); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

func aboutUpdateRule(rt *route) {
	rt.id, rt.tag, rt.summary = "updateRule", tagDetection, "Turn a rule on or off"
	rt.doc = "By the id that stands in a detection's rule_id: a Sigma rule's, a number of the OWASP Core Rule Set, or a login pattern. " +
		"It holds for records that are judged from now on; on other nodes within two seconds."
	rt.body = &bodyDoc{media: []string{"application/json"}, schema: ruleFields().describe(bodyOptions{}),
		example: schema{"enabled": false, "reason": "our deployment tool does this all day"}}
	rt.answers = []answer{{status: 204, doc: "Done."}}
	rt.errors = []int{409, 503}
}

type exceptionJSON struct {
	ID        cybervault.ExceptionID `json:"id"`
	Rule      string                 `json:"rule"`
	Where     map[string][]string    `json:"where"`
	Reason    string                 `json:"reason"`
	CreatedAt time.Time              `json:"created_at"`
	Until     *time.Time             `json:"until" doc:"When it ends; null for never."`
	Ended     bool                   `json:"ended"`
}

func (s *server) showException(e *cybervault.Exception) exceptionJSON {
	where := e.Where
	if where == nil {
		where = map[string][]string{}
	}
	return exceptionJSON{ID: e.ID, Rule: e.Rule, Where: where, Reason: e.Reason, CreatedAt: e.CreatedAt.UTC(), Until: orNull(e.Until.UTC()), Ended: e.Ended(s.Now())}
}

func exceptionFields() fields[cybervault.Exception] {
	return fields[cybervault.Exception]{
		{
			name: "rule", required: true, doc: "the rule's id, a vector or a login pattern, as a detection has it; * for any",
			schema: schema{"type": "string", "minLength": 1, "maxLength": cybervault.MaxRuleIDBytes},
			read: func(raw json.RawMessage, into *cybervault.Exception) (err error) {
				into.Rule, err = readString(raw)
				return err
			},
		}, {
			name: "where", doc: "fields of the record, or source_ip, user, host and source, each with the value or values of which one must match; modifiers as in Sigma, such as source_ip|cidr. All fields must match",
			schema: schema{"type": "object", "maxProperties": cybervault.MaxExceptionFields, "additionalProperties": schema{"oneOf": []schema{
				{"type": "string"}, {"type": "array", "items": schema{"type": "string"}, "minItems": 1, "maxItems": cybervault.MaxExceptionValues},
			}}},
			read: func(raw json.RawMessage, into *cybervault.Exception) (err error) {
				into.Where, err = readWhere(raw)
				return err
			},
		}, {
			name: "reason", required: true, doc: "why, for whoever reads this in a year", schema: schema{"type": "string", "minLength": 1, "maxLength": cybervault.MaxExceptionText},
			read: func(raw json.RawMessage, into *cybervault.Exception) (err error) {
				into.Reason, err = readString(raw)
				return err
			},
		}, {
			name: "until", doc: "when it ends; left out: never", schema: schema{"type": "string", "format": "date-time"},
			read: func(raw json.RawMessage, into *cybervault.Exception) error {
				text, err := readString(raw)
				if err == nil {
					into.Until, err = readTime(text)
				}
				return err
			},
		},
	}
}

// readWhere reads an object of strings, or lists of them.
func readWhere(raw json.RawMessage) (map[string][]string, error) {
	var values map[string]json.RawMessage
	if raw[0] != '{' || json.Unmarshal(raw, &values) != nil {
		return nil, cybervault.Errorf(cybervault.CodeInvalid, "is %s: give an object of fields with their values", kindOf(raw))
	}
	out := make(map[string][]string, len(values))
	for field, value := range values {
		value = bytes.TrimSpace(value)
		if value[0] == '"' {
			one, err := readString(value)
			if err != nil {
				return nil, err
			}
			out[field] = []string{one}
			continue
		}
		many, err := readStrings(value, field)
		if err != nil {
			return nil, err
		}
		out[field] = many
	}
	return out, nil
}

func (s *server) exceptionOf(c *call) (cybervault.Exception, error) {
	body, err := readJSON(c, MaxRequestBytes)
	if err != nil {
		return cybervault.Exception{}, err
	}
	e, err := exceptionFields().decode(body, bodyOptions{})
	if err != nil {
		return cybervault.Exception{}, err
	}
	return e, nil
}

func (s *server) createException(c *call) error {
	e, err := s.exceptionOf(c)
	if err != nil {
		return err
	}
	made, err := s.Controls.AddException(c.ctx(), c.workspace(), e)
	if err != nil {
		return err
	}
	return writeJSON(c, http.StatusCreated, s.showException(made))
}

func exceptionBody() *bodyDoc {
	return &bodyDoc{media: []string{"application/json"}, schema: exceptionFields().describe(bodyOptions{}),
		example: schema{"rule": "reconnaissance", "where": schema{"source_ip|cidr": "198.51.100.0/24"}, "reason": "our own scanner, ticket SEC-412", "until": "2027-06-30T00:00:00Z"}}
}

func aboutCreateException(rt *route) {
	rt.id, rt.tag, rt.summary = "createException", tagDetection, "Add an exception"
	rt.doc = "What the rule finds in records that match is left out of threats and incidents from now on, and counted; on other nodes within two seconds."
	rt.body = exceptionBody()
	rt.answers = []answer{{status: 201, doc: "Added.", schema: of[exceptionJSON]()}}
	rt.errors = []int{409, 503}
}

func (s *server) previewException(c *call) error {
	e, err := s.exceptionOf(c)
	if err != nil {
		return err
	}
	preview, err := s.Controls.PreviewException(c.ctx(), c.workspace(), e)
	if err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, preview)
}

func aboutPreviewException(rt *route) {
	rt.id, rt.tag, rt.summary = "previewException", tagDetection, "What an exception would hide"
	rt.doc = "Replays the detections of stored events, the latest 1,000 threats and as many suspicious logins. A detection shows its first record alone: others of it may differ. Nothing is changed."
	rt.body = exceptionBody()
	rt.answers = []answer{{status: 200, doc: "What it would have hidden.", schema: of[cybervault.ExceptionPreview]()}}
	rt.errors = []int{503}
}

func (s *server) listExceptions(c *call) error {
	all, err := s.Controls.Exceptions(c.ctx(), c.workspace())
	if err != nil {
		return err
	}
	rows, next, err := pageOf(c, "exceptions", all, func(e cybervault.Exception) cybervault.UUID { return e.ID.UUID })
	if err != nil {
		return err
	}
	answer := listJSON[exceptionJSON]{Data: make([]exceptionJSON, len(rows)), NextCursor: next}
	for i := range rows {
		answer.Data[i] = s.showException(&rows[i])
	}
	return writeJSON(c, http.StatusOK, answer)
}

func aboutListExceptions(rt *route) {
	rt.id, rt.tag, rt.summary = "listExceptions", tagDetection, "List exceptions"
	rt.doc = "Newest first, those that have ended included."
	rt.params = pageParams()
	rt.answers = []answer{{status: 200, doc: "One page of exceptions.", schema: listOf[exceptionJSON]()}}
	rt.errors = []int{503}
}

func (s *server) deleteException(c *call) error {
	id, err := pathID[cybervault.ExceptionID](c, "exception")
	if err != nil {
		return err
	}
	if err := s.Controls.RemoveException(c.ctx(), c.workspace(), id); err != nil {
		return named(err, "exception", id)
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

func aboutDeleteException(rt *route) {
	rt.id, rt.tag, rt.summary = "deleteException", tagDetection, "Remove an exception"
	rt.doc = "What it hid stays hidden; what is judged from now on is told of again."
	rt.answers = []answer{{status: 204, doc: "Removed."}}
	rt.errors = []int{409, 503}
}
