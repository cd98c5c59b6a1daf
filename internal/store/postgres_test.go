package store_test

import (
	"testing"

	"github.com/cybervault/cybervault/internal/store"
	"github.com/cybervault/cybervault/internal/store/storetest"
	"github.com/cybervault/cybervault/test/testenv"
)

func TestPostgres(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t testing.TB) store.Config {
		return store.Config{DatabaseURL: testenv.Postgres(t)}
	})
}
