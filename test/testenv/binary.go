package testenv

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Binary returns the path of the cybervault program, built from the sources as
// they are, with the race detector if the test has it. It is built once, and
// not linked again by other test binaries while the sources stay the same.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatalf("testenv: build cybervault: %v", err)
	}
	return path
}

// FailpointBinary is Binary for a program built with the tag failpoints, which
// kills itself where its environment says: see internal/failpoint. It never has
// the race detector: it is started very often, and seldom ends in a way that
// could tell of a race.
func FailpointBinary(t testing.TB) string {
	t.Helper()
	path, err := failpointBinary()
	if err != nil {
		t.Fatalf("testenv: build cybervault with failpoints: %v", err)
	}
	return path
}

// Like the cluster, the programs serve the whole test binary.
var (
	binary          = sync.OnceValues(func() (string, error) { return build("cybervault", raceEnabled) })
	failpointBinary = sync.OnceValues(func() (string, error) { return build("cybervault-failpoints", false, "-tags", "failpoints") })
)

// NextSchema is the schema version of NextBinary's program.
const NextSchema = 9999

// nextMigration is what the release after this one might do: something new, and
// something added to the table that is used most.
var nextMigration = fmt.Sprintf(`-- +goose Up
CREATE TABLE next_release (id BIGINT PRIMARY KEY);
ALTER TABLE deliveries ADD COLUMN next_release TEXT NOT NULL DEFAULT '';
INSERT INTO schema_versions (version, oldest) SELECT %d, MAX(version_id) FROM goose_db_version;
`, NextSchema)

// NextBinary is Binary for the program of the release after this one, as far as
// nodes on one PostgreSQL can tell: it is this one with a migration more, which
// this one can live with. It never has the race detector.
func NextBinary(t testing.TB) string {
	t.Helper()
	root, err := root()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	migration, overlay := filepath.Join(dir, "next.sql"), filepath.Join(dir, "overlay.json")
	place := filepath.Join(root, "internal", "store", "migrations", "postgres", fmt.Sprintf("%05d_next.sql", NextSchema))
	text, err := json.Marshal(map[string]any{"Replace": map[string]string{place: migration}})
	err = errors.Join(err, os.WriteFile(migration, []byte(nextMigration), 0o600), os.WriteFile(overlay, text, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	path, err := build("cybervault-next", false, "-overlay", overlay)
	if err != nil {
		t.Fatalf("testenv: build the next cybervault: %v", err)
	}
	return path
}

// root is the directory of the module.
func root() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}

func build(name string, race bool, flags ...string) (string, error) {
	root, err := root()
	if err != nil {
		return "", err
	}
	// The go tool sees by the build id that a file is up to date, so one in a
	// fixed place costs a link only when something changed.
	dir := filepath.Join(root, "bin", "testenv")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	args := append([]string{"build"}, flags...)
	if race {
		name, args = name+"-race", append(args, "-race")
	}
	path := filepath.Join(dir, name)

	// Test binaries of several packages run at once.
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer lock.Close() // which unlocks it
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	cmd := exec.Command("go", append(args, "-o", path, "./cmd/cybervault")...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
}
