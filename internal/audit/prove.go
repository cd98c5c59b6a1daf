package audit

import (
	"context"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/cybervault/cybervault"
)

// PublicKey is the key to check checkpoints with.
func (l *Log) PublicKey() string { return l.signer.PublicKey() }

// Checkpoint is the newest one. CodeConflict where the log in the store is not
// what was signed.
func (l *Log) Checkpoint(ctx context.Context) (string, error) {
	_, checkpoint, err := l.current(ctx)
	return checkpoint, err
}

func (l *Log) current(ctx context.Context) (tlog.Tree, string, error) {
	state, err := l.store.AuditState(ctx)
	if err != nil {
		return tlog.Tree{}, "", err
	}
	tree, err := l.signed(state)
	if err != nil || state.Checkpoint != "" {
		return tree, state.Checkpoint, err
	}
	checkpoint, err := l.signer.sign(tree) // of the empty log
	return tree, checkpoint, err
}

// Tile is the first width hashes of a tile, all that it has where width is 0.
// CodeNotFound where it has fewer.
func (l *Log) Tile(ctx context.Context, level int, index int64, width int) ([]byte, error) {
	b, err := l.store.AuditTile(ctx, level, index)
	if err != nil {
		return nil, err
	}
	if width == 0 {
		width = tileSize
	}
	if len(b) < width*tlog.HashSize {
		return nil, cybervault.Errorf(cybervault.CodeNotFound, "the audit log has no tile %d at level %d of %d hashes", index, level, width)
	}
	return b[:width*tlog.HashSize], nil
}

// Entries makes the entries of a tile of level 0 from the rows as they are now;
// nobody has compared them with the tree. CodeNotFound beyond the log's end.
func (l *Log) Entries(ctx context.Context, tile int64) ([]cybervault.AuditRow, error) {
	return l.store.AuditRows(ctx, tile)
}

// settling is how long the end of a delivery may be under way to the log.
const settling = time.Minute

// Prove makes the proof of how a delivery ended, and, unless from is 0, that the
// tree extends that of so many entries. Errors: CodeNotFound, CodeConflict (it has
// not ended, or the log is not what was signed), CodeUnavailable (it is not in the
// log yet).
func (l *Log) Prove(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.DeliveryID, from int64) (*cybervault.AuditProof, error) {
	delivery, err := l.store.Delivery(ctx, ws, id)
	if cybervault.ErrorCode(err) == cybervault.CodeNotFound {
		return nil, l.gone(ctx, id, err)
	}
	if err != nil {
		return nil, err
	}
	if !delivery.Status.Ended() {
		return nil, cybervault.Errorf(cybervault.CodeConflict, "the delivery has not ended: it is %s, and the log says how deliveries ended", delivery.Status)
	}
	tree, checkpoint, err := l.current(ctx)
	if err != nil {
		return nil, err
	}
	if from < 0 || from > tree.N {
		return nil, cybervault.Errorf(cybervault.CodeConflict, "the log has %d entries, fewer than %d: if a checkpoint says so, the log has been cut off or replaced", tree.N, from)
	}
	index, err := l.find(ctx, tree, cybervault.AuditRef{Kind: cybervault.AuditOutcome, Key: id.Key(), Delivery: true}, delivery.FinishedAt)
	if cybervault.ErrorCode(err) == cybervault.CodeNotFound {
		if l.now().Sub(delivery.FinishedAt) < settling {
			return nil, cybervault.Errorf(cybervault.CodeUnavailable, "the end of the delivery is not in the log yet: try again in a second")
		}
		return nil, cybervault.Errorf(cybervault.CodeNotFound, "the log does not know how %s ended: it ended before the log began, or the log has been changed", id)
	}
	if err != nil {
		return nil, err
	}
	proof := &cybervault.AuditProof{Format: proofFormat, PublicKey: l.signer.PublicKey(), Checkpoint: checkpoint}
	if err := l.addEntry(ctx, proof, tree, index); err != nil {
		return nil, err
	}
	index, err = l.find(ctx, tree, cybervault.AuditRef{Kind: cybervault.AuditEvent, Key: delivery.Event.Key()}, delivery.Event.Time())
	if err == nil {
		err = l.addEntry(ctx, proof, tree, index)
	}
	if err != nil && cybervault.ErrorCode(err) != cybervault.CodeNotFound {
		return nil, err
	}
	if from > 0 {
		path, err := tlog.ProveTree(tree.N, from, hashReader(ctx, l.store, tree))
		if err != nil {
			return nil, err
		}
		proof.Consistency = &cybervault.AuditConsistency{From: from, Path: pathOf(path)}
	}
	// Whoever asked checks it again. Here it finds what was changed in the store.
	_, err = Verify(proof, l.signer.PublicKey(), nil)
	return proof, err
}

// gone says more of a delivery that is not in the store, if the log knows it.
func (l *Log) gone(ctx context.Context, id cybervault.DeliveryID, unknown error) error {
	index, err := l.store.FindAudit(ctx, cybervault.AuditRef{Kind: cybervault.AuditOutcome, Key: id.Key(), Delivery: true}, id.Time())
	if err != nil {
		return unknown
	}
	rows, err := l.store.AuditRows(ctx, index/tileSize)
	if err != nil || rows[index%tileSize].Bytes != nil { // it is another workspace's
		return unknown
	}
	return cybervault.Errorf(cybervault.CodeNotFound, "entry %d of the log says how the delivery ended, but its row or its event's is not in the store any more: the retention has removed it, or somebody has", index)
}

// find is FindAudit for what a tree holds.
func (l *Log) find(ctx context.Context, tree tlog.Tree, ref cybervault.AuditRef, about time.Time) (int64, error) {
	index, err := l.store.FindAudit(ctx, ref, about)
	if err == nil && index >= tree.N {
		err = cybervault.Errorf(cybervault.CodeNotFound, "the entry is newer than the tree")
	}
	return index, err
}

// addEntry adds an entry with its path to a proof.
func (l *Log) addEntry(ctx context.Context, proof *cybervault.AuditProof, tree tlog.Tree, index int64) error {
	rows, err := l.store.AuditRows(ctx, index/tileSize)
	if err != nil {
		return err
	}
	row := rows[index%tileSize]
	if row.Bytes == nil {
		return broken("the row that entry %d of the log is made of has been removed", index)
	}
	path, err := tlog.ProveRecord(tree.N, index, hashReader(ctx, l.store, tree))
	if err != nil {
		return err
	}
	proof.Entries = append(proof.Entries, cybervault.AuditProofEntry{Index: index, Entry: string(row.Bytes), Path: pathOf(path)})
	return nil
}
