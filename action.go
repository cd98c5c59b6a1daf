package cybervault

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"
)

// ActorKind says what kind of doer an action has.
type ActorKind string

// The kinds of actors.
const (
	ActorUser     ActorKind = "user"     // a person with an account
	ActorOperator ActorKind = "operator" // whoever holds the link that the server printed
	ActorAPIKey   ActorKind = "api_key"  // a program
	ActorAgent    ActorKind = "agent"    // a managed machine
	ActorSystem   ActorKind = "system"   // CyberVault itself
)

// Actor is who does something.
type Actor struct {
	Kind    ActorKind
	ID      string // of the user or the API key; empty for the others
	Name    string // the user's email address, the key's name
	Address string // where the request came from, without its port; empty for the system
}

type actorKey struct{}

// WithActor returns a context in which actor does what is done.
func WithActor(ctx context.Context, actor Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, actor)
}

// ActorOf returns who does what is done in a context: CyberVault itself, unless
// WithActor has said otherwise.
func ActorOf(ctx context.Context) Actor {
	if a, ok := ctx.Value(actorKey{}).(Actor); ok {
		return a
	}
	return Actor{Kind: ActorSystem, Name: "cybervault"}
}

// Deed is an action that is not done yet.
type Deed struct {
	Action, Target string
	Before, After  any // marshalled as JSON; they hold no secret
}

type deedKey struct{}

// WithDeed returns a context in which what is stored is stored as part of a deed: the
// store writes it down in the same transaction.
func WithDeed(ctx context.Context, deed Deed) context.Context {
	return context.WithValue(ctx, deedKey{}, deed)
}

// DeedOf returns the deed that a context was given, if it was.
func DeedOf(ctx context.Context) (Deed, bool) {
	d, ok := ctx.Value(deedKey{}).(Deed)
	return d, ok
}

// Action is one line of the log of who did what: a change, or a log-in. Lines are
// chained: each holds the hash of the one before, so that none can be changed,
// removed or put between without changing all that follow.
type Action struct {
	Number    int64 // 1, 2, 3 … in one installation, without gaps
	Workspace WorkspaceID
	At        time.Time // in microseconds
	Actor     Actor
	Action    string          // what was done, such as "webhook.update"
	Target    string          // the id, or name, of what it was done to; may be empty
	Before    json.RawMessage // what it was, secrets left out; nil: nothing, or nothing of interest
	After     json.RawMessage // what it is now
	Previous  [sha256.Size]byte
	Hash      [sha256.Size]byte
}

// Digest is what Hash must be: SHA-256 of the action as canonical JSON, its keys in
// this order, with Previous in it.
func (a *Action) Digest() [sha256.Size]byte {
	return sha256.Sum256(a.canonical())
}

// canonicalAction is the form that is hashed.
type canonicalAction struct {
	Version   int             `json:"v"`
	Number    int64           `json:"number"`
	Workspace WorkspaceID     `json:"workspace_id"`
	At        string          `json:"at"`
	ActorKind ActorKind       `json:"actor_kind"`
	ActorID   string          `json:"actor_id"`
	ActorName string          `json:"actor_name"`
	Address   string          `json:"address"`
	Action    string          `json:"action"`
	Target    string          `json:"target"`
	Before    json.RawMessage `json:"before"`
	After     json.RawMessage `json:"after"`
	Previous  string          `json:"previous"`
}

func (a *Action) canonical() []byte {
	raw, err := json.Marshal(canonicalAction{
		Version: 1, Number: a.Number, Workspace: a.Workspace, At: a.At.UTC().Format(auditTime), ActorKind: a.Actor.Kind, ActorID: a.Actor.ID,
		ActorName: a.Actor.Name, Address: a.Actor.Address, Action: a.Action, Target: a.Target, Before: a.Before, After: a.After,
		Previous: hex.EncodeToString(a.Previous[:]),
	})
	if err != nil { // Before or After is no JSON: nothing of this program writes that
		return []byte(err.Error())
	}
	return raw
}

// ActionQuery asks for a page of actions, newest first.
type ActionQuery struct {
	Workspace WorkspaceID
	Actor     string // a part of the actor's name or id
	Action    string // the action, or the beginning of it up to a dot
	Target    string // exact
	Since     time.Time
	Until     time.Time
	Before    int64 // Number: only older ones; 0: the newest
	Limit     int
}
