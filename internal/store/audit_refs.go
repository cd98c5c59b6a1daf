package store

import (
	"encoding/binary"
	"errors"

	"github.com/cybervault/cybervault"
)

// spanOf is between which row keys the refs to events, or to deliveries, lie.
func spanOf(refs []cybervault.AuditRef, delivery bool) [2]int64 {
	span := [2]int64{0, -1}
	for _, ref := range refs {
		switch {
		case ref.Delivery != delivery, ref.Kind == cybervault.AuditGap:
		case span[1] < 0:
			span = [2]int64{ref.Key, ref.Key}
		default:
			span = [2]int64{min(span[0], ref.Key), max(span[1], ref.Key)}
		}
	}
	return span
}

// How refs are packed: a format byte, then for each its kind and the difference
// of its row key to the one before as a varint.
const refsFormat = 1

const (
	refEvent           = 0
	refOutcome         = 1
	refMissingEvent    = 2
	refMissingDelivery = 3
	refGap             = 4
)

func packRefs(refs []cybervault.AuditRef) []byte {
	b := make([]byte, 1, 1+6*len(refs))
	b[0] = refsFormat
	var last int64
	for _, ref := range refs {
		kind := byte(refEvent)
		switch {
		case ref.Kind == cybervault.AuditGap:
			kind = refGap
		case ref.Kind == cybervault.AuditMissing && ref.Delivery:
			kind = refMissingDelivery
		case ref.Kind == cybervault.AuditMissing:
			kind = refMissingEvent
		case ref.Delivery:
			kind = refOutcome
		}
		b = binary.AppendVarint(append(b, kind), ref.Key-last)
		last = ref.Key
	}
	return b
}

var errDamagedRefs = errors.New("a row of audit_refs is damaged or of an unknown format")

func unpackRefs(b []byte) ([]cybervault.AuditRef, error) {
	if len(b) == 0 || b[0] != refsFormat {
		return nil, errDamagedRefs
	}
	var refs []cybervault.AuditRef
	var key int64
	for b = b[1:]; len(b) > 0; {
		diff, n := binary.Varint(b[1:])
		if n <= 0 || b[0] > refGap || len(refs) == cybervault.AuditTileSize {
			return nil, errDamagedRefs
		}
		key += diff
		ref := cybervault.AuditRef{Kind: cybervault.AuditEvent, Key: key, Delivery: b[0] == refOutcome || b[0] == refMissingDelivery}
		switch {
		case b[0] == refGap:
			ref.Kind = cybervault.AuditGap
		case b[0] >= refMissingEvent:
			ref.Kind = cybervault.AuditMissing
		case b[0] == refOutcome:
			ref.Kind = cybervault.AuditOutcome
		}
		refs, b = append(refs, ref), b[1+n:]
	}
	return refs, nil
}
