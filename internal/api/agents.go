package api

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// Fleet knows the agents. An id that the workspace does not have is an error of
// CodeNotFound.
type Fleet interface {
	// NewToken makes a token by which machines enrol, and returns it in clear. Of t the
	// name, the labels, the pace, the uses and the end are read.
	NewToken(ctx context.Context, t *cybervault.AgentToken) (plain string, err error)
	Tokens(ctx context.Context, ws cybervault.WorkspaceID) ([]*cybervault.AgentToken, error)
	DeleteToken(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.AgentTokenID) error
	// Enrol takes a machine in; CodeUnauthorized for a token that is not good.
	Enrol(ctx context.Context, token string, facts cybervault.HostFacts) (a *cybervault.Agent, key string, err error)
	// Beat takes a heartbeat; key is the one to use from now on, empty for the same.
	Beat(ctx context.Context, a *cybervault.Agent, facts cybervault.HostFacts) (key string, err error)
	Agents(ctx context.Context, q cybervault.AgentQuery) (cybervault.Page[*cybervault.Agent], error)
	Agent(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.AgentID) (*cybervault.Agent, error)
	Remove(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.AgentID) error
}

type agentJSON struct {
	ID         cybervault.AgentID     `json:"id"`
	Hostname   string                 `json:"hostname"`
	Status     cybervault.AgentStatus `json:"status" doc:"online; offline, after so many heartbeats that did not come; enrolled, before the first one."`
	OS         string                 `json:"os"`
	Version    string                 `json:"version" doc:"Of the agent."`
	Addresses  []string               `json:"addresses"`
	Labels     map[string]string      `json:"labels"`
	Interval   string                 `json:"interval" doc:"Between two heartbeats."`
	Missed     int                    `json:"missed" doc:"After so many heartbeats that did not come it is offline."`
	EnrolledAt time.Time              `json:"enrolled_at"`
	LastSeenAt *time.Time             `json:"last_seen_at" doc:"To within a few seconds; null before the first heartbeat."`
	ChangedAt  time.Time              `json:"status_since"`
	Packages   *packagesJSON          `json:"packages" doc:"How the packages of its machine stand; null: it has not told."`
}

func showAgent(a *cybervault.Agent) agentJSON {
	return agentJSON{
		ID: a.ID, Hostname: a.Hostname, Status: a.Status, OS: a.OS, Version: a.Version, Addresses: orEmpty(a.Addresses), Labels: labelsJSON(a.Labels),
		Interval: cybervault.FormatDuration(a.Interval), Missed: a.Missed, EnrolledAt: a.EnrolledAt.UTC(), LastSeenAt: orNull(a.LastSeen.UTC()), ChangedAt: a.ChangedAt.UTC(), Packages: showPackages(&a.Packages),
	}
}

func labelsJSON(labels map[string]string) map[string]string {
	if labels == nil {
		return map[string]string{}
	}
	return maps.Clone(labels)
}

// factFields are what an agent says of its machine.
func factFields() fields[cybervault.HostFacts] {
	text := func(name, doc string, most int, required bool, into func(*cybervault.HostFacts) *string) field[cybervault.HostFacts] {
		return field[cybervault.HostFacts]{
			name: name, doc: doc, required: required, schema: schema{"type": "string", "maxLength": most},
			read: func(raw json.RawMessage, f *cybervault.HostFacts) (err error) {
				*into(f), err = readString(raw)
				return err
			},
		}
	}
	return fields[cybervault.HostFacts]{
		text("hostname", "the machine's name", cybervault.MaxHostnameBytes, true, func(f *cybervault.HostFacts) *string { return &f.Hostname }),
		text("os", "name and version of the operating system", cybervault.MaxAgentTextBytes, false, func(f *cybervault.HostFacts) *string { return &f.OS }),
		text("version", "of the agent", cybervault.MaxAgentTextBytes, false, func(f *cybervault.HostFacts) *string { return &f.Version }),
		{
			name: "addresses", doc: "IPv4 and IPv6 addresses that others reach it by", schema: schema{"type": "array", "items": schema{"type": "string"}, "maxItems": cybervault.MaxAddresses},
			read: func(raw json.RawMessage, f *cybervault.HostFacts) (err error) {
				f.Addresses, err = readStrings(raw, "addresses")
				return err
			},
		},
	}
}

// enrolledJSON is what enrolling answers.
type enrolledJSON struct {
	agentJSON
	Key string `json:"key" doc:"The agent's own key, shown this once."`
}

// bearerOf is what stands in the Authorization header.
func bearerOf(r *http.Request) string {
	scheme, bearer, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(bearer)
}

func (s *server) enrolAgent(c *call) error {
	body, err := readJSON(c, MaxRequestBytes)
	if err != nil {
		return err
	}
	facts, err := factFields().decode(body, bodyOptions{})
	if err != nil {
		return err
	}
	ctx := cybervault.WithActor(c.ctx(), cybervault.Actor{Kind: cybervault.ActorAgent, Address: addressOf(c.r)})
	a, key, err := s.Fleet.Enrol(ctx, bearerOf(c.r), facts)
	if err != nil {
		if cybervault.ErrorCode(err) == cybervault.CodeUnauthorized {
			c.w.Header().Set("WWW-Authenticate", `Bearer realm="cybervault"`)
		}
		return err
	}
	return writeJSON(c, http.StatusCreated, enrolledJSON{agentJSON: showAgent(a), Key: key})
}

func aboutEnrolAgent(rt *route) {
	rt.id, rt.tag, rt.summary = "enrolAgent", tagAgents, "Enrol a machine"
	rt.doc = "With an enrolment token in place of an API key: `Authorization: Bearer cve_…`. The answer shows the agent's own key, this once, and at which pace it is to send heartbeats."
	rt.body = &bodyDoc{media: []string{"application/json"}, schema: factFields().describe(bodyOptions{}),
		example: schema{"hostname": "web-02.example.com", "os": "Debian GNU/Linux 12", "version": "v0.1.0", "addresses": []string{"192.0.2.17"}}}
	rt.answers = []answer{{status: 201, doc: "Enrolled.", schema: of[enrolledJSON]()}}
	rt.errors = []int{401, 409, 503}
}

type beatJSON struct {
	Interval string  `json:"interval" doc:"Between two heartbeats, from now on."`
	Missed   int     `json:"missed"`
	Key      *string `json:"key" doc:"The key to use from now on; null: the one that it has. The old one is good until the new one was used."`
}

func (s *server) beat(c *call) error {
	id, err := pathID[cybervault.AgentID](c, "agent")
	if err != nil {
		return err
	}
	if c.key.Agent == nil || c.key.Agent.ID != id {
		return cybervault.Errorf(cybervault.CodeForbidden, "an agent sends its own heartbeats, with its own key")
	}
	body, err := readJSON(c, MaxRequestBytes)
	if err != nil {
		return err
	}
	facts, err := factFields().decode(body, bodyOptions{})
	if err != nil {
		return err
	}
	key, err := s.Fleet.Beat(c.ctx(), c.key.Agent, facts)
	if err != nil {
		return err
	}
	answer := beatJSON{Interval: cybervault.FormatDuration(c.key.Agent.Interval), Missed: c.key.Agent.Missed}
	if key != "" {
		answer.Key = &key
	}
	return writeJSON(c, http.StatusOK, answer)
}

func aboutBeat(rt *route) {
	rt.id, rt.tag, rt.summary = "sendHeartbeat", tagAgents, "Send a heartbeat"
	rt.doc = "By the agent itself, with its own key. A key that is 30 days old is followed by another one."
	rt.body = &bodyDoc{media: []string{"application/json"}, schema: factFields().describe(bodyOptions{}), example: schema{"hostname": "web-02.example.com"}}
	rt.answers = []answer{{status: 200, doc: "Heard.", schema: of[beatJSON]()}}
	rt.errors = []int{503}
}

func (s *server) listAgents(c *call) error {
	f := &filters{query: c.query}
	l := newList(c, "agents")
	q := cybervault.AgentQuery{Workspace: c.workspace(), Limit: f.limit(), Before: cybervault.AgentID{UUID: l.before(f)}, Text: f.search()}
	if statuses := choices(f, "status", cybervault.AgentStatuses()); len(statuses) > 1 {
		f.refusef("status", "has more than one value: give one")
	} else if len(statuses) == 1 {
		q.Status = statuses[0]
	}
	if err := f.wrong.err(); err != nil {
		return err
	}
	page, err := s.Fleet.Agents(c.ctx(), q)
	if err != nil {
		return err
	}
	answer := listJSON[agentJSON]{Data: make([]agentJSON, len(page.Rows))}
	for i, a := range page.Rows {
		answer.Data[i] = showAgent(a)
	}
	if page.More && len(page.Rows) > 0 {
		answer.NextCursor = l.cursor(page.Rows[len(page.Rows)-1].ID.UUID)
	}
	return writeJSON(c, http.StatusOK, answer)
}

func aboutListAgents(rt *route) {
	rt.id, rt.tag, rt.summary = "listAgents", tagAgents, "List agents"
	rt.doc = "Newest first."
	rt.params = append(pageParams(),
		param{"q", "Only those whose host name, addresses or labels have this text.", schema{"type": "string"}},
		param{"status", "Only those of a status.", enum(cybervault.AgentStatuses()...)})
	rt.answers = []answer{{status: 200, doc: "One page of agents.", schema: listOf[agentJSON]()}}
	rt.errors = []int{503}
}

func (s *server) getAgent(c *call) error {
	id, err := pathID[cybervault.AgentID](c, "agent")
	if err != nil {
		return err
	}
	a, err := s.Fleet.Agent(c.ctx(), c.workspace(), id)
	if err != nil {
		return named(err, "agent", id)
	}
	return writeJSON(c, http.StatusOK, showAgent(a))
}

func aboutGetAgent(rt *route) {
	rt.id, rt.tag, rt.summary = "getAgent", tagAgents, "Read an agent"
	rt.answers = []answer{{status: 200, doc: "The agent.", schema: of[agentJSON]()}}
}

func (s *server) deleteAgent(c *call) error {
	id, err := pathID[cybervault.AgentID](c, "agent")
	if err != nil {
		return err
	}
	if err := s.Fleet.Remove(c.ctx(), c.workspace(), id); err != nil {
		return named(err, "agent", id)
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

func aboutDeleteAgent(rt *route) {
	rt.id, rt.tag, rt.summary = "deleteAgent", tagAgents, "Remove an agent"
	rt.doc = "Its key ends at once, and nothing is told of it any more."
	rt.answers = []answer{{status: 204, doc: "Removed."}}
	rt.errors = []int{503}
}

type agentTokenJSON struct {
	ID        cybervault.AgentTokenID `json:"id"`
	Name      string                  `json:"name"`
	Labels    map[string]string       `json:"labels" doc:"That its agents get."`
	Interval  string                  `json:"interval"`
	Missed    int                     `json:"missed"`
	Uses      int                     `json:"uses" doc:"That are left."`
	CreatedAt time.Time               `json:"created_at"`
	CreatedBy string                  `json:"created_by"`
	ExpiresAt time.Time               `json:"expires_at"`
}

func showAgentToken(t *cybervault.AgentToken) agentTokenJSON {
	return agentTokenJSON{
		ID: t.ID, Name: t.Name, Labels: labelsJSON(t.Labels), Interval: cybervault.FormatDuration(t.Interval), Missed: t.Missed, Uses: t.Uses,
		CreatedAt: t.CreatedAt.UTC(), CreatedBy: t.By, ExpiresAt: t.ExpiresAt.UTC(),
	}
}

// newAgentTokenJSON is what making a token answers.
type newAgentTokenJSON struct {
	agentTokenJSON
	Token string `json:"token" doc:"The token itself, shown this once."`
}

type tokenRequest struct {
	cybervault.AgentToken
	life time.Duration
}

func tokenFields() fields[tokenRequest] {
	length := func(raw json.RawMessage) (time.Duration, error) {
		text, err := readString(raw)
		if err != nil {
			return 0, err
		}
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 {
			return 0, cybervault.Errorf(cybervault.CodeInvalid, "%q is no length of time: use a number and a unit, such as 30s or 24h", shorten(text))
		}
		return d, nil
	}
	number := func(raw json.RawMessage) (n int, err error) {
		if err := json.Unmarshal(raw, &n); err != nil {
			return 0, cybervault.Errorf(cybervault.CodeInvalid, "is no whole number")
		}
		return n, nil
	}
	return fields[tokenRequest]{
		{
			name: "name", doc: "what it is for", schema: schema{"type": "string", "maxLength": cybervault.MaxAgentTextBytes},
			read: func(raw json.RawMessage, into *tokenRequest) (err error) {
				into.Name, err = readString(raw)
				return err
			},
		}, {
			name: "labels", doc: "names and values that its agents get", schema: schema{"type": "object", "additionalProperties": schema{"type": "string"}, "maxProperties": cybervault.MaxLabels},
			read: func(raw json.RawMessage, into *tokenRequest) error {
				if json.Unmarshal(raw, &into.Labels) != nil {
					return cybervault.Errorf(cybervault.CodeInvalid, "is no object of names and texts")
				}
				return nil
			},
		}, {
			name: "interval", doc: "between two heartbeats of its agents; 30s if absent", schema: schema{"type": "string"},
			read: func(raw json.RawMessage, into *tokenRequest) (err error) {
				into.Interval, err = length(raw)
				return err
			},
		}, {
			name: "missed", doc: "after so many heartbeats that did not come an agent is offline; 3 if absent", schema: schema{"type": "integer", "minimum": cybervault.MinMissed, "maximum": cybervault.MaxMissed},
			read: func(raw json.RawMessage, into *tokenRequest) (err error) {
				into.Missed, err = number(raw)
				return err
			},
		}, {
			name: "uses", doc: "how many machines may enrol by it; one if absent", schema: schema{"type": "integer", "minimum": 1, "maximum": cybervault.MaxTokenUses},
			read: func(raw json.RawMessage, into *tokenRequest) (err error) {
				into.Uses, err = number(raw)
				if err == nil && into.Uses == 0 {
					err = cybervault.Errorf(cybervault.CodeInvalid, "is 0: give a number from 1 to %d", cybervault.MaxTokenUses)
				}
				return err
			},
		}, {
			name: "expires_in", doc: "for how long it may be used, a year at most; 24h if absent", schema: schema{"type": "string"},
			read: func(raw json.RawMessage, into *tokenRequest) (err error) {
				into.life, err = length(raw)
				return err
			},
		},
	}
}

func (s *server) createAgentToken(c *call) error {
	body, err := readJSON(c, MaxRequestBytes)
	if err != nil {
		return err
	}
	request, err := tokenFields().decode(body, bodyOptions{})
	if err != nil {
		return err
	}
	t := &request.AgentToken
	t.Workspace = c.workspace()
	if request.life > 0 {
		t.ExpiresAt = s.Now().Add(request.life)
	}
	plain, err := s.Fleet.NewToken(c.ctx(), t)
	if err != nil {
		return err
	}
	return writeJSON(c, http.StatusCreated, newAgentTokenJSON{agentTokenJSON: showAgentToken(t), Token: plain})
}

func aboutCreateAgentToken(rt *route) {
	rt.id, rt.tag, rt.summary = "createAgentToken", tagAgents, "Make an enrolment token"
	rt.doc = "By which machines enrol as agents. The answer shows it, this once: only its SHA-256 is kept."
	rt.body = &bodyDoc{media: []string{"application/json"}, schema: tokenFields().describe(bodyOptions{}),
		example: schema{"name": "web servers", "labels": schema{"role": "web"}, "uses": 20, "expires_in": "24h"}}
	rt.answers = []answer{{status: 201, doc: "Made.", schema: of[newAgentTokenJSON]()}}
	rt.errors = []int{409, 503}
}

func (s *server) listAgentTokens(c *call) error {
	all, err := s.Fleet.Tokens(c.ctx(), c.workspace())
	if err != nil {
		return err
	}
	rows, next, err := pageOf(c, "agent-tokens", all, func(t *cybervault.AgentToken) cybervault.UUID { return t.ID.UUID })
	if err != nil {
		return err
	}
	answer := listJSON[agentTokenJSON]{Data: make([]agentTokenJSON, len(rows)), NextCursor: next}
	for i, t := range rows {
		answer.Data[i] = showAgentToken(t)
	}
	return writeJSON(c, http.StatusOK, answer)
}

func aboutListAgentTokens(rt *route) {
	rt.id, rt.tag, rt.summary = "listAgentTokens", tagAgents, "List enrolment tokens"
	rt.doc = "Newest first, those that may still be used, without the tokens themselves."
	rt.params = pageParams()
	rt.answers = []answer{{status: 200, doc: "One page of tokens.", schema: listOf[agentTokenJSON]()}}
}

func (s *server) deleteAgentToken(c *call) error {
	id, err := pathID[cybervault.AgentTokenID](c, "enrolment token")
	if err != nil {
		return err
	}
	if err := s.Fleet.DeleteToken(c.ctx(), c.workspace(), id); err != nil {
		return named(err, "enrolment token", id)
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

func aboutDeleteAgentToken(rt *route) {
	rt.id, rt.tag, rt.summary = "deleteAgentToken", tagAgents, "End an enrolment token"
	rt.doc = "Agents that came by it stay."
	rt.answers = []answer{{status: 204, doc: "Ended."}}
	rt.errors = []int{503}
}
