package store_test

import (
	"path/filepath"
	"testing"

	"github.com/cybervault/cybervault/internal/store"
	"github.com/cybervault/cybervault/internal/store/storetest"
)

func TestSQLite(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t testing.TB) store.Config {
		return store.Config{Path: filepath.Join(t.TempDir(), "data ä%?#", "cybervault.db")}
	})
}
