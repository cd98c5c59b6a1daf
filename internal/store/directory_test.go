package store_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cybervault/cybervault/internal/store"
)

func TestMakeDirectory(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	dir := filepath.Join(root, "a", "b", "c")
	for range 2 { // one that is there is left as it is
		if err := store.MakeDirectory(dir); err != nil {
			t.Fatal(err)
		}
		for _, made := range []string{dir, filepath.Dir(dir), filepath.Join(root, "a")} {
			if info, err := os.Stat(made); err != nil || !info.IsDir() || info.Mode().Perm() != 0o700 {
				t.Errorf("%s: %v, %v", made, info, err)
			}
		}
	}
	if err := os.WriteFile(filepath.Join(root, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := store.MakeDirectory(filepath.Join(root, "file", "d")); err == nil {
		t.Error("a directory was made inside a file")
	}
}
