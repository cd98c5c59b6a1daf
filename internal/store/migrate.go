package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"github.com/pressly/goose/v3"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/failpoint"
)

//go:embed migrations
var migrations embed.FS

// migrate brings the schema up to date. A schema newer than this program is
// refused, since an older program could damage what it does not know; unless
// every migration that it lacks is declared, in schema_versions, to be one that it
// can live with: then nodes of two releases work side by side.
func migrate(ctx context.Context, db *sql.DB, database string) error {
	files, err := fs.Sub(migrations, "migrations/"+database)
	if err != nil {
		return fmt.Errorf("read the migrations: %w", err)
	}
	dialect := map[string]goose.Dialect{"sqlite": goose.DialectSQLite3, "postgres": goose.DialectPostgres}[database]
	provider, err := goose.NewProvider(dialect, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("read the migrations: %w", err)
	}
	have, want, err := provider.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read the schema's version: %w", err)
	}
	if have > want {
		return checkNewer(ctx, db, have, want)
	}
	for {
		failpoint.Hit(failpoint.MigrationStep)
		_, err := provider.UpByOne(ctx)
		if errors.Is(err, goose.ErrNoNextVersion) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("bring the database's schema up to date: %w", err)
		}
	}
}

// checkNewer refuses a schema of version have to a program that knows want, unless
// all that came between was made for it to live with.
func checkNewer(ctx context.Context, db *sql.DB, have, want int64) error {
	var undeclared sql.NullInt64
	n := strconv.FormatInt(want, 10)
	err := db.QueryRowContext(ctx, `SELECT MAX(g.version_id) FROM goose_db_version g LEFT JOIN schema_versions s ON s.version = g.version_id
WHERE g.version_id > `+n+` AND (s.oldest IS NULL OR s.oldest > `+n+`)`).Scan(&undeclared)
	if err == nil && !undeclared.Valid {
		return nil
	}
	return &cybervault.Error{
		Code: cybervault.CodeInvalid, Err: err,
		Message: fmt.Sprintf("the database has schema version %d, this program knows %d: run the newer CyberVault that made it", have, want),
	}
}
