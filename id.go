package cybervault

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// UUID is a version 7 UUID (RFC 9562, section 5.7) laid out so that it splits
// into a 63-bit row key and a random rest:
//
//	48 bits Unix milliseconds | version | 12 bits counter | variant | 8 bits node | 54 bits random
//
// Milliseconds (of which the top five bits stay zero until the year 2248),
// counter and node together are Key: unique within one deployment, ascending
// in the order of creation on one node, and small enough for the integer
// primary key of either database. Rest makes the public form unguessable and
// unique across deployments. The database stores both numbers, never the text.
type UUID [16]byte

const (
	counterBits = 12
	nodeBits    = 8
	restBits    = 54
	restMask    = 1<<restBits - 1
)

// UUIDFromParts rebuilds the UUID that has the given Key and Rest.
func UUIDFromParts(key, rest int64) UUID {
	ms := uint64(key) >> (counterBits + nodeBits)
	counter := uint64(key) >> nodeBits & (1<<counterBits - 1)
	node := uint64(key) & (1<<nodeBits - 1)
	var u UUID
	binary.BigEndian.PutUint64(u[:8], ms<<16|0x7000|counter)
	binary.BigEndian.PutUint64(u[8:], 0x8000000000000000|node<<restBits|uint64(rest)&restMask)
	return u
}

// Key returns the row key: 43 bits of Unix milliseconds, 12 bits of counter and
// 8 bits of node. It is positive for every UUID an IDSource made.
func (u UUID) Key() int64 {
	hi, lo := binary.BigEndian.Uint64(u[:8]), binary.BigEndian.Uint64(u[8:])
	ms := hi >> 16 & (1<<43 - 1)
	return int64(ms<<(counterBits+nodeBits) | (hi&0xfff)<<nodeBits | lo>>restBits&0xff)
}

// KeyAt returns the least Key that a UUID made at t can have.
func KeyAt(t time.Time) int64 {
	return max(t.UnixMilli(), 0) << (counterBits + nodeBits)
}

// Rest returns the 54 random bits that are not part of Key.
func (u UUID) Rest() int64 { return int64(binary.BigEndian.Uint64(u[8:]) & restMask) }

// Time returns the moment of creation, to the millisecond, in UTC.
func (u UUID) Time() time.Time {
	return time.UnixMilli(int64(binary.BigEndian.Uint64(u[:8]) >> 16)).UTC()
}

// IsZero reports whether u was never set.
func (u UUID) IsZero() bool { return u == UUID{} }

// String returns the usual lower-case form of 36 characters.
func (u UUID) String() string { return string(u.append(make([]byte, 0, 36))) }

func (u UUID) append(b []byte) []byte {
	b = hex.AppendEncode(b, u[0:4])
	b = hex.AppendEncode(append(b, '-'), u[4:6])
	b = hex.AppendEncode(append(b, '-'), u[6:8])
	b = hex.AppendEncode(append(b, '-'), u[8:10])
	return hex.AppendEncode(append(b, '-'), u[10:16])
}

// ParseUUID reads the usual form of 36 characters, in lower case as CyberVault
// writes it. Any other form, or a version other than 7, is an error.
func ParseUUID(s string) (UUID, error) {
	var u UUID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' || s != strings.ToLower(s) {
		return u, fmt.Errorf("%q is not a UUID in lower-case 8-4-4-4-12 form", s)
	}
	raw, err := hex.DecodeString(s[0:8] + s[9:13] + s[14:18] + s[19:23] + s[24:36])
	if err != nil {
		return u, fmt.Errorf("%q is not a UUID: %w", s, err)
	}
	copy(u[:], raw)
	if u[6]>>4 != 7 || u[8]>>6 != 2 {
		return UUID{}, fmt.Errorf("%q is not a version 7 UUID", s)
	}
	return u, nil
}

// Kind names one kind of id by its prefix. It exists so that ids of different
// kinds are different Go types.
type Kind interface{ Prefix() string }

// ID is the id of one kind of thing: a prefix and a UUIDv7, written
// "wh_0192…". The zero value means "none" and is written as the empty string.
type ID[K Kind] struct{ UUID }

// The kinds of id, with the prefix each is written with.
type (
	eventKind      struct{}
	webhookKind    struct{}
	deliveryKind   struct{}
	attemptKind    struct{}
	workspaceKind  struct{}
	apiKeyKind     struct{}
	threatKind     struct{}
	authKind       struct{}
	incidentKind   struct{}
	alertKind      struct{}
	exceptionKind  struct{}
	userKind       struct{}
	passkeyKind    struct{}
	sessionKind    struct{}
	invitationKind struct{}
	agentKind      struct{}
	agentTokenKind struct{}
)

func (eventKind) Prefix() string      { return "wh_" }
func (webhookKind) Prefix() string    { return "whk_" }
func (deliveryKind) Prefix() string   { return "dlv_" }
func (attemptKind) Prefix() string    { return "att_" }
func (workspaceKind) Prefix() string  { return "ws_" }
func (apiKeyKind) Prefix() string     { return "key_" }
func (threatKind) Prefix() string     { return "thr_" }
func (authKind) Prefix() string       { return "auth_" }
func (incidentKind) Prefix() string   { return "inc_" }
func (alertKind) Prefix() string      { return "alr_" }
func (exceptionKind) Prefix() string  { return "exc_" }
func (userKind) Prefix() string       { return "usr_" }
func (passkeyKind) Prefix() string    { return "psk_" }
func (sessionKind) Prefix() string    { return "ses_" }
func (invitationKind) Prefix() string { return "inv_" }
func (agentKind) Prefix() string      { return "agt_" }
func (agentTokenKind) Prefix() string { return "agk_" }

// The ids of the product.
type (
	EventID      = ID[eventKind]
	WebhookID    = ID[webhookKind]
	DeliveryID   = ID[deliveryKind]
	AttemptID    = ID[attemptKind]
	WorkspaceID  = ID[workspaceKind]
	APIKeyID     = ID[apiKeyKind]
	ThreatID     = ID[threatKind]
	AuthID       = ID[authKind]
	IncidentID   = ID[incidentKind]
	AlertID      = ID[alertKind]
	ExceptionID  = ID[exceptionKind]
	UserID       = ID[userKind]
	PasskeyID    = ID[passkeyKind]
	SessionID    = ID[sessionKind]
	InvitationID = ID[invitationKind]
	AgentID      = ID[agentKind]
	AgentTokenID = ID[agentTokenKind]
)

// AnyID is one of the id types above, for the generic functions below.
type AnyID interface {
	~struct{ UUID }
	Prefix() string
}

// MakeID rebuilds an id from the two numbers the store keeps:
// MakeID[EventID](key, rest).
func MakeID[I AnyID](key, rest int64) I { return I{UUIDFromParts(key, rest)} }

// NewID mints an id: NewID[WebhookID](source).
func NewID[I AnyID](s *IDSource) I { return I{s.Next()} }

// ParseID reads an id: ParseID[EventID]("wh_…"). The error has code CodeInvalid
// and says which prefix is wanted.
func ParseID[I AnyID](s string) (I, error) {
	var id I
	rest, ok := strings.CutPrefix(s, id.Prefix())
	if !ok {
		return id, Errorf(CodeInvalid, "%q is not such an id: it starts with %q", truncate(s, 60), id.Prefix())
	}
	u, err := ParseUUID(rest)
	if err != nil {
		return id, Errorf(CodeInvalid, "%q is not an id: %q and a version 7 UUID in lower case", truncate(s, 60), id.Prefix())
	}
	return I{u}, nil
}

// Prefix returns what every id of kind K starts with.
func (id ID[K]) Prefix() string {
	var k K
	return k.Prefix()
}

// String returns prefix and UUID, or "" for the zero id.
func (id ID[K]) String() string {
	b, _ := id.AppendText(nil)
	return string(b)
}

// AppendText implements encoding.TextAppender.
func (id ID[K]) AppendText(b []byte) ([]byte, error) {
	if id.IsZero() {
		return b, nil
	}
	var k K
	return id.UUID.append(append(b, k.Prefix()...)), nil
}

// MarshalText implements encoding.TextMarshaler.
func (id ID[K]) MarshalText() ([]byte, error) { return id.AppendText(nil) }

// UnmarshalText implements encoding.TextUnmarshaler, as ParseID.
func (id *ID[K]) UnmarshalText(b []byte) error {
	parsed, err := ParseID[ID[K]](string(b))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}

func truncate(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// IDSource mints UUIDs whose Key ascends strictly for as long as the source
// lives, even when the clock goes back or more than 4,096 are asked for in one
// millisecond (it then runs ahead of the clock). Safe for concurrent use.
type IDSource struct {
	now func() time.Time

	mu   sync.Mutex
	node uint64
	last uint64 // milliseconds and counter of the last id, as one number
}

// NewIDSource returns a source for node 0 to 255; two nodes that write to one
// database must have different numbers. Nothing it mints has a Key at or below
// after (the greatest key already stored, or 0), so that a clock set back
// between two runs cannot make a key again. now is the clock.
func NewIDSource(node uint8, after int64, now func() time.Time) *IDSource {
	return &IDSource{node: uint64(node), now: now, last: uint64(after) >> nodeBits}
}

// SetNode changes the node number of what is minted from now on.
func (s *IDSource) SetNode(node uint8) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.node = uint64(node)
}

// KeyStep is the distance between the Keys of two ids minted in one run.
const KeyStep = 1 << nodeBits

// Next mints a UUID.
func (s *IDSource) Next() UUID { return s.NextRun(1)[0] }

// NextRun mints n UUIDs whose Keys are exactly KeyStep apart, so that a row
// and the rows that belong to it can be found by a range of keys.
func (s *IDSource) NextRun(n int) []UUID {
	at := uint64(s.now().UnixMilli()) << counterBits
	s.mu.Lock()
	first := max(at, s.last+1)
	s.last = first + uint64(n) - 1
	node := s.node
	s.mu.Unlock()
	run := make([]UUID, n)
	for i := range run {
		run[i] = UUIDFromParts(int64((first+uint64(i))<<nodeBits|node), int64(rand.Uint64()&restMask))
	}
	return run
}
