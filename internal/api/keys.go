package api

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/cybervault/cybervault"
)

type apiKeyJSON struct {
	ID        cybervault.APIKeyID `json:"id"`
	Name      string              `json:"name"`
	Hint      string              `json:"hint" doc:"The first characters of the key, to recognise it by."`
	Scopes    []cybervault.Scope  `json:"scopes"`
	CreatedAt time.Time           `json:"created_at"`
	ExpiresAt *time.Time          `json:"expires_at" doc:"It is refused from then on; null: never."`
	RevokedAt *time.Time          `json:"revoked_at" doc:"Null where it was not revoked."`
	UsedAt    *time.Time          `json:"last_used_at" doc:"To within five minutes; null if it was never used."`
}

// newAPIKeyJSON is what creating a key answers.
type newAPIKeyJSON struct {
	apiKeyJSON
	Key string `json:"key" doc:"The key itself, shown this once."`
}

func showKey(k *cybervault.APIKey) apiKeyJSON {
	return apiKeyJSON{
		ID: k.ID, Name: k.Name, Hint: k.Hint, Scopes: append([]cybervault.Scope{}, k.Scopes...),
		CreatedAt: k.CreatedAt.UTC(), ExpiresAt: orNull(k.ExpiresAt.UTC()), RevokedAt: orNull(k.RevokedAt.UTC()), UsedAt: orNull(k.UsedAt.UTC()),
	}
}

type keyRequest struct {
	name    string
	scopes  []cybervault.Scope
	expires time.Time
}

func keyFields() fields[keyRequest] {
	return fields[keyRequest]{
		{
			name: "name", required: true, doc: "say what will use the key", schema: schema{"type": "string", "minLength": 1, "maxLength": 100},
			read: func(raw json.RawMessage, into *keyRequest) (err error) {
				into.name, err = readString(raw)
				return err
			},
		}, {
			name: "scopes", required: true, doc: "choose at least one of events:write, telemetry:write, read, admin",
			schema: schema{"type": "array", "items": enum(cybervault.Scopes()...), "minItems": 1},
			read: func(raw json.RawMessage, into *keyRequest) error {
				names, err := readStrings(raw, "scopes")
				for _, n := range names {
					into.scopes = append(into.scopes, cybervault.Scope(n))
				}
				return err
			},
		}, {
			name: "expires_at", doc: "when it is refused from; null: never", schema: schema{"type": []string{"string", "null"}, "format": "date-time"},
			read: func(raw json.RawMessage, into *keyRequest) error {
				if string(raw) == "null" {
					return nil
				}
				text, err := readString(raw)
				if err == nil {
					into.expires, err = readTime(text)
				}
				return err
			},
		},
	}
}

func (s *server) createKey(c *call) error {
	body, err := readJSON(c, MaxRequestBytes)
	if err != nil {
		return err
	}
	request, err := keyFields().decode(body, bodyOptions{})
	if err != nil {
		return err
	}
	key, plain, err := s.Keys.CreateKey(c.ctx(), c.workspace(), request.name, request.scopes, request.expires)
	if err != nil {
		return err
	}
	return writeJSON(c, http.StatusCreated, newAPIKeyJSON{apiKeyJSON: showKey(key), Key: plain})
}

func aboutCreateKey(rt *route) {
	rt.id, rt.tag, rt.summary = "createKey", tagKeys, "Create an API key"
	rt.doc = "The answer shows the key, this once: only its SHA-256 is kept."
	rt.body = &bodyDoc{media: []string{"application/json"}, schema: keyFields().describe(bodyOptions{}),
		example: schema{"name": "log shipper", "scopes": []string{"telemetry:write"}, "expires_at": "2027-06-30T00:00:00Z"}}
	rt.answers = []answer{{status: 201, doc: "Created.", schema: of[newAPIKeyJSON]()}}
	rt.errors = []int{503}
}

func (s *server) listKeys(c *call) error {
	all, err := s.Keys.Keys(c.ctx(), c.workspace())
	if err != nil {
		return err
	}
	rows, next, err := pageOf(c, "keys", all, func(k *cybervault.APIKey) cybervault.UUID { return k.ID.UUID })
	if err != nil {
		return err
	}
	answer := listJSON[apiKeyJSON]{Data: make([]apiKeyJSON, len(rows)), NextCursor: next}
	for i, k := range rows {
		answer.Data[i] = showKey(k)
	}
	return writeJSON(c, http.StatusOK, answer)
}

func aboutListKeys(rt *route) {
	rt.id, rt.tag, rt.summary = "listKeys", tagKeys, "List API keys"
	rt.doc = "Newest first, revoked ones included, without the keys themselves."
	rt.params = pageParams()
	rt.answers = []answer{{status: 200, doc: "One page of API keys.", schema: listOf[apiKeyJSON]()}}
}

func (s *server) revokeKey(c *call) error {
	id, err := pathID[cybervault.APIKeyID](c, "API key")
	if err != nil {
		return err
	}
	if err := s.Keys.Revoke(c.ctx(), c.workspace(), id); err != nil {
		return named(err, "API key", id)
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

func aboutRevokeKey(rt *route) {
	rt.id, rt.tag, rt.summary = "revokeKey", tagKeys, "Revoke an API key"
	rt.doc = "It is refused from now on; on other nodes within a second. A key may revoke itself."
	rt.answers = []answer{{status: 204, doc: "Revoked."}}
	rt.errors = []int{503}
}
