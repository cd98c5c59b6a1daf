package cybervault

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"
)

// ActionLine is an action as it is listed and exported: one line of JSON that holds
// all that its hash covers.
type ActionLine struct {
	Number    int64           `json:"number" doc:"1, 2, 3 … in one installation, without gaps."`
	At        time.Time       `json:"at"`
	Workspace WorkspaceID     `json:"workspace_id,omitzero"`
	Actor     ActionActor     `json:"actor"`
	Action    string          `json:"action" doc:"What was done, such as webhook.update."`
	Target    string          `json:"target" doc:"The id, or name, of what it was done to; may be empty."`
	Before    json.RawMessage `json:"before" doc:"What it was, secrets left out; null where there is nothing of interest."`
	After     json.RawMessage `json:"after" doc:"What it is now."`
	Previous  string          `json:"previous" doc:"The hash of the line before, in hexadecimal; 64 zeros for the first."`
	Hash      string          `json:"hash" doc:"SHA-256 of the line in its canonical form."`
	Withheld  bool            `json:"withheld,omitempty" doc:"The line is another workspace's: only its number and its hashes are told."`
}

// ActionActor is who did an action.
type ActionActor struct {
	Kind    ActorKind `json:"kind" doc:"user, api_key, operator (whoever holds the link that the server printed), or system."`
	ID      string    `json:"id" doc:"Of the user or the API key; empty for the others."`
	Name    string    `json:"name" doc:"The user's email address, the key's name."`
	Address string    `json:"address" doc:"Where the request came from; empty for the system."`
}

// ActionHead is the end of the chain of actions. Whoever keeps one elsewhere can tell
// later whether anything up to there was changed.
type ActionHead struct {
	Number int64  `json:"number"`
	Hash   string `json:"hash"`
}

// Line returns the action as it is exported.
func (a *Action) Line() ActionLine {
	return ActionLine{
		Number: a.Number, At: a.At.UTC(), Workspace: a.Workspace, Actor: ActionActor{a.Actor.Kind, a.Actor.ID, a.Actor.Name, a.Actor.Address},
		Action: a.Action, Target: a.Target, Before: orNull(a.Before), After: orNull(a.After),
		Previous: hex.EncodeToString(a.Previous[:]), Hash: hex.EncodeToString(a.Hash[:]),
	}
}

// Withhold leaves only what the chain needs of a line.
func (l *ActionLine) Withhold() {
	*l = ActionLine{Number: l.Number, Before: orNull(nil), After: orNull(nil), Previous: l.Previous, Hash: l.Hash, Withheld: true}
}

func orNull(doc json.RawMessage) json.RawMessage {
	if doc == nil {
		return json.RawMessage("null")
	}
	return doc
}

// Digest is what the hash of the line must be; zero for a line that withholds what it
// would take.
func (l *ActionLine) Digest() (digest [sha256.Size]byte) {
	if l.Withheld {
		return digest
	}
	a := Action{
		Number: l.Number, Workspace: l.Workspace, At: l.At, Actor: Actor(l.Actor), Action: l.Action, Target: l.Target, Before: l.Before, After: l.After,
	}
	if _, err := hex.Decode(a.Previous[:], []byte(l.Previous)); err != nil {
		return digest
	}
	return a.Digest()
}
