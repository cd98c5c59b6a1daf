package detect

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"sort"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// threatData is the data of threat.detected, in the order of the wire format.
type threatData struct {
	ThreatID    cybervault.ThreatID    `json:"threat_id"`
	Severity    cybervault.Severity    `json:"severity"`
	SourceIP    *string                `json:"source_ip"`
	TargetAsset *string                `json:"target_asset"`
	Vector      string                 `json:"vector"`
	Confidence  float64                `json:"confidence"`
	MitreID     *string                `json:"mitre_id"`
	Count       int                    `json:"count"`
	FirstSeen   time.Time              `json:"first_seen"`
	LastSeen    time.Time              `json:"last_seen"`
	IncidentID  *string                `json:"incident_id"`
	Detections  []cybervault.Detection `json:"detections"`
}

// authData is the data of auth.suspicious.
type authData struct {
	AuthID      cybervault.AuthID      `json:"auth_id"`
	Severity    cybervault.Severity    `json:"severity"`
	Pattern     string                 `json:"pattern"`
	User        *string                `json:"user"`
	SourceIP    *string                `json:"source_ip"`
	TargetAsset *string                `json:"target_asset"`
	Count       int                    `json:"count"`
	FirstSeen   time.Time              `json:"first_seen"`
	LastSeen    time.Time              `json:"last_seen"`
	Confidence  float64                `json:"confidence"`
	MitreID     *string                `json:"mitre_id"`
	IncidentID  *string                `json:"incident_id"`
	Detections  []cybervault.Detection `json:"detections"`
}

// tell makes the finding of an attack that is worth one: it is sure enough, and
// it was not told of before or has grown since.
func (as *attacks) tell(a *attack) (cybervault.Finding, bool) {
	confidence, severity := a.confidence(as.said[a.key.ws]), a.severity()
	if confidence < as.min || a.told && !a.grown(severity) {
		return cybervault.Finding{}, false
	}
	a.told, a.toldCount, a.toldSeverity, a.toldNames = true, a.count, severity, len(a.names)

	body := a.data(confidence, severity, cybervault.MaxDetectionRecordBytes)
	if len(body) > maxData { // records full of bytes that JSON spells out
		body = a.data(confidence, severity, cybervault.MaxDetectionRecordBytes/8)
	}
	sum := sha256.Sum256(append([]byte(a.key.ws.String()+"\x00"+a.key.kind+"\x00"), body...))
	return cybervault.Finding{Type: a.key.kind, Timestamp: a.last, Key: findingKey + hex.EncodeToString(sum[:16]), Data: body, Gist: a.gist(confidence, severity)}, true
}

// maxData leaves room for the rest of the envelope.
const maxData = cybervault.MaxEventBytes - 8<<10

// data is the event's data, with the records shown cut to n bytes.
func (a *attack) data(confidence float64, severity cybervault.Severity, n int) []byte {
	detections := make([]cybervault.Detection, len(a.detections))
	for i, d := range a.detections {
		detections[i] = *d
		detections[i].Record = cut(d.Record, n)
	}
	id := a.id()
	name, by := a.best()
	var data any
	if a.key.kind == cybervault.EventAuthSuspicious {
		data = authData{
			AuthID: cybervault.AuthID{UUID: id}, Severity: severity, Pattern: name, User: known(a.user),
			SourceIP: ip(a.key.source), TargetAsset: known(a.key.target), Count: a.count, FirstSeen: a.first, LastSeen: a.last,
			Confidence: confidence, MitreID: known(by.technique), Detections: detections,
		}
	} else {
		data = threatData{
			ThreatID: cybervault.ThreatID{UUID: id}, Severity: severity, SourceIP: ip(a.key.source), TargetAsset: known(a.key.target),
			Vector: name, Confidence: confidence, MitreID: known(by.technique), Count: a.count, FirstSeen: a.first, LastSeen: a.last,
			Detections: detections,
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // people read the records; a < should look like one
	if err := enc.Encode(data); err != nil {
		panic("detect: " + err.Error()) // strings, numbers, and times of years that JSON takes: it cannot fail
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// findingKey starts the idempotency key of every finding. The rest is a digest
// of what the finding says: the same telemetry in the same batches says the
// same, and a later, larger count is another event about the same threat.
const findingKey = "detect_"

// id makes the attack's id from what it is, so that the same telemetry gives the
// same: a version 7 UUID with the time of its first record and a digest of its
// key in place of the random bits.
func (a *attack) id() cybervault.UUID {
	h := sha256.New()
	for _, s := range []string{a.key.ws.String(), a.key.kind, a.key.source, a.key.target, a.key.user} {
		_ = binary.Write(h, binary.BigEndian, uint32(len(s))) // a hash takes every write
		h.Write([]byte(s))
	}
	_ = binary.Write(h, binary.BigEndian, a.first.UnixNano())
	sum := h.Sum(nil)
	ms := min(max(a.first.UnixMilli(), 0), 1<<43-1)
	key := ms<<20 | int64(binary.BigEndian.Uint32(sum[:4])&(1<<20-1))
	return cybervault.UUIDFromParts(key, int64(binary.BigEndian.Uint64(sum[8:16])>>10))
}

func sortFindings(fs []cybervault.Finding) {
	sort.SliceStable(fs, func(i, j int) bool {
		if !fs[i].Timestamp.Equal(fs[j].Timestamp) {
			return fs[i].Timestamp.Before(fs[j].Timestamp)
		}
		return fs[i].Key < fs[j].Key
	})
}

// known is null for what is not known.
func known(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// ip is null where the log had a name, or nothing, in place of an address.
func ip(s string) *string {
	if _, err := netip.ParseAddr(s); err != nil {
		return nil
	}
	return &s
}

// cut shortens s to n bytes at most, and makes it valid UTF-8.
func cut(s string, n int) string {
	const mark = "…"
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n-len(mark)], "") + mark
}
