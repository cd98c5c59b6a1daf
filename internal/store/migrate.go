package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"

	"github.com/cybervault/cybervault"
)

//go:embed migrations
var migrations embed.FS

// migrate brings the schema up to date. A schema newer than this program is
// refused, since an older program could damage what it does not know.
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
		return cybervault.Errorf(cybervault.CodeInvalid,
			"the database has schema version %d, this program knows %d: run the newer CyberVault that made it", have, want)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("bring the database's schema up to date: %w", err)
	}
	return nil
}
