package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// CopyInfo is what a copy of an embedded database holds.
type CopyInfo struct {
	Schema     int64                     // version of the schema
	Workspace  cybervault.WorkspaceID    // the first one; zero for none
	LastChange cybervault.ChangePosition // the end of the change log
	Events     int64
	Deliveries int64
	Pending    int64 // deliveries that have not ended
	Webhooks   int64
	APIKeys    int64
}

// Schema is the version of the schema that this program brings an embedded
// database to.
func Schema() int64 { return knownSchema("sqlite") }

func knownSchema(database string) int64 {
	files, err := migrations.ReadDir("migrations/" + database)
	if err != nil {
		return 0 // they are in the program
	}
	var last int64
	for _, f := range files {
		number, _, _ := strings.Cut(f.Name(), "_")
		if n, err := strconv.ParseInt(number, 10, 64); err == nil {
			last = max(last, n)
		}
	}
	return last
}

// openCopy opens a database that nothing else uses, or only reads, by its path.
func openCopy(name string, query url.Values) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: name}).EscapedPath()+"?"+query.Encode())
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path.Base(name), err)
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

// InspectCopy looks what a copy of an embedded database holds, which nothing
// writes to meanwhile. With check it reads all of it and finds what is damaged.
func InspectCopy(ctx context.Context, name string, check bool) (CopyInfo, error) {
	db, err := openCopy(name, url.Values{"mode": {"ro"}, "immutable": {"1"}})
	if err != nil {
		return CopyInfo{}, err
	}
	defer func() { _ = db.Close() }()
	if check {
		if err := integrity(ctx, db); err != nil {
			return CopyInfo{}, err
		}
	}
	info, err := inspect(ctx, db)
	if err != nil {
		return info, &cybervault.Error{Code: cybervault.CodeInvalid, Message: "the copy of the database cannot be read", Err: err}
	}
	return info, nil
}

func integrity(ctx context.Context, db *sql.DB) error {
	var found string
	if err := db.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&found); err != nil {
		return &cybervault.Error{Code: cybervault.CodeInvalid, Message: "the copy of the database is damaged", Err: err}
	}
	if found != "ok" {
		return cybervault.Errorf(cybervault.CodeInvalid, "the copy of the database is damaged: %s", found)
	}
	return nil
}

func inspect(ctx context.Context, db *sql.DB) (info CopyInfo, err error) {
	if info.Schema, err = schemaOf(ctx, db); err != nil {
		return info, err
	}
	if known := Schema(); info.Schema > known {
		return info, cybervault.Errorf(cybervault.CodeInvalid,
			"it has schema version %d, this program knows %d: use the newer CyberVault that made it", info.Schema, known)
	}
	for query, into := range map[string]*int64{
		"SELECT COUNT(*) FROM events":                      &info.Events,
		"SELECT COUNT(*) FROM deliveries":                  &info.Deliveries,
		"SELECT COUNT(*) FROM deliveries WHERE status < 2": &info.Pending,
		"SELECT COUNT(*) FROM webhooks":                    &info.Webhooks,
		"SELECT COUNT(*) FROM api_keys":                    &info.APIKeys,
	} {
		if err := db.QueryRowContext(ctx, query).Scan(into); err != nil {
			return info, readError(err)
		}
	}
	var key, rest int64
	err = db.QueryRowContext(ctx, "SELECT id, id_rest FROM workspaces ORDER BY id LIMIT 1").Scan(&key, &rest)
	if err == nil {
		info.Workspace = cybervault.MakeID[cybervault.WorkspaceID](key, rest)
	} else if !errors.Is(err, sql.ErrNoRows) {
		return info, readError(err)
	}
	err = db.QueryRowContext(ctx, "SELECT id, at FROM changes ORDER BY id DESC LIMIT 1").Scan(&info.LastChange.Transaction, &info.LastChange.Mark)
	if err != nil {
		return info, readError(err)
	}
	return info, nil
}

func schemaOf(ctx context.Context, db *sql.DB) (version int64, err error) {
	err = db.QueryRowContext(ctx, "SELECT COALESCE(MAX(version_id), 0) FROM goose_db_version WHERE is_applied").Scan(&version)
	if err != nil {
		return 0, fmt.Errorf("read the schema's version: %w", err)
	}
	return version, nil
}

// Numbers of a restored database: what was given out after the backup is not
// known. None is given twice if the webhook had no more than restoredRate of them
// a second since, and the first is easily told.
const (
	restoredRate  = 10_000
	restoredRound = 1_000_000
)

// pausedReason stands at a webhook that was disabled by a restore.
const pausedReason = "restored from a backup, with --paused: enable it once what is pending may be sent"

// PrepareRestored makes a copy taken at a moment ready for a server to go on
// with: each webhook's sequence numbers go on behind those that may have been
// given out since, and with paused every webhook is disabled. It reports how many
// were.
func PrepareRestored(ctx context.Context, name string, taken, now time.Time, paused bool) (disabled int64, err error) {
	db, err := openCopy(name, url.Values{"_pragma": {"journal_mode(delete)", "synchronous(full)", "temp_store(memory)"}, "_txlock": {"immediate"}})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return 0, fmt.Errorf("open the copy of the database: %w", err)
	}
	defer func() { _ = tx.Rollback() }()
	// Those that had none yet may have had some since.
	if _, err := tx.ExecContext(ctx, "INSERT INTO webhook_sequences (webhook_id, last) SELECT id, 0 FROM webhooks WHERE true ON CONFLICT DO NOTHING"); err != nil {
		return 0, fmt.Errorf("begin the sequence numbers: %w", err)
	}
	// The last delivery gets a mark, so that it is found across the gap.
	if _, err := tx.ExecContext(ctx, `INSERT INTO webhook_sequence_marks (webhook_id, sequence, delivery_id)
SELECT webhook_id, last, last_delivery FROM webhook_sequences WHERE webhook_id <> ? AND last_delivery <> 0 ON CONFLICT DO NOTHING`, probeRow); err != nil {
		return 0, fmt.Errorf("mark the last sequence numbers: %w", err)
	}
	seconds := int64(max(now.Sub(taken), 0)/time.Second) + 1
	if _, err := tx.ExecContext(ctx, `UPDATE webhook_sequences SET last = (last + ? * ? + ? - 1) / ? * ? WHERE webhook_id <> ?`,
		seconds, restoredRate, restoredRound, restoredRound, restoredRound, probeRow); err != nil {
		return 0, fmt.Errorf("move the sequence numbers on: %w", err)
	}
	if paused {
		result, err := tx.ExecContext(ctx, `UPDATE webhooks SET status = ?, disabled_reason = ?, updated_at = ? WHERE status = ? AND deleted_at = 0`,
			string(cybervault.WebhookDisabled), pausedReason, micros(now), string(cybervault.WebhookEnabled))
		if err != nil {
			return 0, fmt.Errorf("disable the webhooks: %w", err)
		}
		if disabled, err = result.RowsAffected(); err != nil {
			return 0, fmt.Errorf("disable the webhooks: %w", err)
		}
	}
	if err := tx.Commit(); err != nil {
		return 0, fmt.Errorf("write the copy of the database: %w", err)
	}
	return disabled, nil
}
