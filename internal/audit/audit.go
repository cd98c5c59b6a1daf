// Package audit keeps the tamper-evident log: a Merkle tree (RFC 6962) over every
// event and over how every delivery ended, with signed checkpoints (C2SP
// tlog-checkpoint) and proofs that need no server to be checked.
//
// It stands beside the flow, behind the store: it reads the change log some
// moments after the commits and never holds them up. It hashes, signs and proves;
// what is hashed is the dictionary's (cybervault.AuditEntry), where it is kept
// the store's.
package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/cybervault/cybervault"
)

// How the log goes about its work.
const (
	// every is the time between two looks at the change log, and so between two
	// checkpoints of a log that is not behind.
	every = time.Second
	// stepLeaves is about how many entries are appended in one transaction.
	stepLeaves = 4096
	// After each step of several the log rests stepRest times as long as it took, so
	// that catching up never takes more than a quarter of a processor.
	stepRest = 3
	// yield is how long a node leaves the log to another one that was quicker.
	yield = 10 * time.Second
)

// Store is where the log is kept. An error of CodeUnavailable may be gone at the
// next try.
type Store interface {
	AuditState(ctx context.Context) (cybervault.AuditState, error)
	// AuditPending reads what was committed after a state, about so many entries.
	AuditPending(ctx context.Context, after cybervault.AuditState, limit int) (cybervault.AuditBatch, error)
	// AppendAudit commits a step; CodeConflict when another node was quicker.
	AppendAudit(ctx context.Context, step cybervault.AuditStep) error
	// AuditTile is the hashes of a tile as far as it is filled; CodeNotFound.
	AuditTile(ctx context.Context, level int, index int64) ([]byte, error)
	// AuditRefs says which rows the entries of a tile are made of; CodeNotFound.
	AuditRefs(ctx context.Context, tile int64) (cybervault.AuditRefs, error)
	// AuditRows makes those entries from the rows as they are now.
	AuditRows(ctx context.Context, tile int64) ([]cybervault.AuditRow, error)
	// FindAudit finds the entry of an event or of the end of a delivery, which was
	// committed at about a moment; CodeNotFound.
	FindAudit(ctx context.Context, ref cybervault.AuditRef, about time.Time) (int64, error)
	// Delivery reads one of a workspace; CodeNotFound.
	Delivery(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.DeliveryID) (*cybervault.Delivery, error)
}

// Log is the audit log of an installation. Safe for concurrent use.
type Log struct {
	store  Store
	signer *Signer
	now    func() time.Time
	log    *slog.Logger

	mu   sync.Mutex // held during a step
	seen *edge      // what this process has seen last; nil before the first step

	damage atomic.Pointer[string] // what the last step found; nil: nothing
}

// Damage says in words how what is stored of the log differs from what was signed, as of
// the last step; empty where it does not.
func (l *Log) Damage() string {
	if d := l.damage.Load(); d != nil {
		return *d
	}
	return ""
}

// edge is the right end of a log: what to go on from.
type edge struct {
	tree       *Tree
	checkpoint string
	refs       []cybervault.AuditRef // of the tile that is not full
}

func (e *edge) signed() tlog.Tree { return tlog.Tree{N: e.tree.Size(), Hash: e.tree.Root()} }

// New makes the log of a store. Run or Step lets it grow.
func New(store Store, signer *Signer, now func() time.Time, log *slog.Logger) *Log {
	return &Log{store: store, signer: signer, now: now, log: log}
}

// Run appends what is committed until ctx ends. Of the nodes that share a
// database one does the work, and another goes on when it stops.
func (l *Log) Run(ctx context.Context) {
	said := ""
	for wait := every; rest(ctx, wait); {
		err := l.catchUp(ctx)
		wait = every
		switch text := fmt.Sprint(err); {
		case ctx.Err() != nil:
			return
		case cybervault.ErrorCode(err) == codeQuicker:
			wait = yield
		case err != nil && text != said:
			said = text
			l.log.Error("the audit log does not grow, and the retention removes nothing until it does", slog.Any("error", err))
		case err == nil && said != "":
			said = ""
			l.log.Info("the audit log grows again")
		}
	}
}

// catchUp appends all that has been committed so far.
func (l *Log) catchUp(ctx context.Context) error {
	for {
		began := l.now()
		more, err := l.Step(ctx)
		if err != nil || !more {
			return err
		}
		if !rest(ctx, stepRest*l.now().Sub(began)) {
			return ctx.Err()
		}
	}
}

// codeQuicker is the code of Step when another node was quicker.
const codeQuicker = cybervault.CodeConflict

// Step appends some of what was committed since the last step, of this node or
// another one, in one transaction with the checkpoint of the tree that this
// makes, and reports whether there is more. It signs nothing that does not extend
// what was signed last.
func (l *Log) Step(ctx context.Context) (more bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	state, err := l.store.AuditState(ctx)
	if err != nil {
		return false, err
	}
	at, err := l.resume(ctx, state)
	if cybervault.ErrorCode(err) == codeQuicker {
		text := asText(err)
		l.damage.Store(&text)
	} else if err == nil {
		l.damage.Store(nil)
	}
	if err != nil {
		return false, hide(err)
	}
	batch, err := l.store.AuditPending(ctx, state, stepLeaves)
	if err != nil {
		return false, err
	}
	if batch.Transaction == state.Transaction {
		return false, nil
	}
	step := at.extend(batch.Leaves)
	step.From, step.To = state, state
	step.To.Transaction, step.To.Mark = batch.Transaction, batch.Mark
	if len(batch.Leaves) > 0 {
		signed := at.signed()
		if at.checkpoint, err = l.signer.sign(signed); err != nil {
			return false, err
		}
		step.To.Size, step.To.Root, step.To.Checkpoint = signed.N, signed.Hash, at.checkpoint
	}
	if err := l.store.AppendAudit(ctx, step); err != nil {
		return false, err
	}
	l.seen = at
	return batch.More, nil
}

func asText(err error) string {
	if e, ok := errors.AsType[*cybervault.Error](err); ok {
		return e.Message
	}
	return err.Error()
}

// hide keeps a log that is broken from looking like one that another node has
// written to.
func hide(err error) error {
	if cybervault.ErrorCode(err) == codeQuicker {
		return cybervault.Errorf(cybervault.CodeInternal, "nothing is signed any more: %v", err)
	}
	return err
}

// extend appends leaves, and says what is to be stored for that.
func (e *edge) extend(leaves []cybervault.AuditLeaf) cybervault.AuditStep {
	var step cybervault.AuditStep
	keep := func(level int, index int64, hashes []tlog.Hash) {
		step.Tiles = append(step.Tiles, cybervault.AuditTile{Level: level, Index: index, Hashes: flatten(hashes)})
	}
	list := func(at time.Time) {
		index := (e.tree.Size() - 1) / tileSize
		step.Refs = append(step.Refs, cybervault.AuditRefs{Index: index, At: at, Refs: e.refs})
	}
	if len(leaves) == 0 {
		return step
	}
	for i := range leaves {
		e.tree.Append(leaves[i].Hash, keep)
		if e.refs = append(e.refs, leaves[i].Ref); len(e.refs) == tileSize {
			list(leaves[i].At)
			e.refs = nil
		}
	}
	e.tree.open(keep)
	if len(e.refs) > 0 {
		list(leaves[len(leaves)-1].At)
	}
	return step
}

// resume is the right end of the log as a state describes it, to be extended. It
// refuses a state that is not signed, that its hashes do not lead to, or that does
// not extend what this process has seen.
func (l *Log) resume(ctx context.Context, state cybervault.AuditState) (*edge, error) {
	signed, err := l.signed(state)
	if err != nil {
		return nil, err
	}
	if l.seen != nil && l.seen.signed() == signed {
		return &edge{tree: l.seen.tree.clone(), checkpoint: state.Checkpoint, refs: append([]cybervault.AuditRef{}, l.seen.refs...)}, nil
	}
	at := &edge{checkpoint: state.Checkpoint}
	if at.tree, err = loadTree(ctx, l.store, signed.N); err != nil {
		return nil, err
	}
	if at.tree.Root() != signed.Hash {
		return nil, broken("the hashes of the audit log in the store do not lead to the root that was signed for %d entries: they have been changed", signed.N)
	}
	if l.seen != nil {
		if err := l.extends(ctx, signed, l.seen.signed()); err != nil {
			return nil, err
		}
	}
	if n := int(signed.N % tileSize); n > 0 {
		list, err := l.store.AuditRefs(ctx, signed.N/tileSize)
		if cybervault.ErrorCode(err) == cybervault.CodeNotFound {
			return nil, broken("%s: it has been removed", asText(err))
		} else if err != nil {
			return nil, err
		}
		if len(list.Refs) < n {
			return nil, broken("the list of the entries of tile %d of the audit log is too short: it has been changed", list.Index)
		}
		at.refs = list.Refs[:n]
	}
	return at, nil
}

// extends checks that one tree extends another, by the hashes in the store.
func (l *Log) extends(ctx context.Context, newer, older tlog.Tree) error {
	var path tlog.TreeProof
	if older.N > 0 && older.N < newer.N {
		var err error
		if path, err = tlog.ProveTree(newer.N, older.N, hashReader(ctx, l.store, newer)); err != nil {
			return err
		}
	}
	return CheckExtends(pathOf(path), &Checkpoint{Tree: newer}, &Checkpoint{Tree: older})
}

// signed is the tree that a state says was signed, once that has been checked.
func (l *Log) signed(state cybervault.AuditState) (tlog.Tree, error) {
	tree := tlog.Tree{N: state.Size, Hash: state.Root}
	if state.Checkpoint == "" {
		if tree != (&edge{tree: &Tree{}}).signed() {
			return tree, broken("the audit log has %d entries, but no checkpoint: it has been removed", state.Size)
		}
		return tree, nil
	}
	checkpoint, err := OpenCheckpoint(state.Checkpoint, l.signer.PublicKey())
	if err != nil {
		return tree, broken("the checkpoint of the audit log in the store does not hold: %v", err)
	}
	if checkpoint.Tree != tree {
		return tree, broken("the audit log has %d entries, and its checkpoint is of %d, or of others: it has been changed", tree.N, checkpoint.Tree.N)
	}
	return tree, nil
}

// rest waits, and reports whether the time passed before ctx ended.
func rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
