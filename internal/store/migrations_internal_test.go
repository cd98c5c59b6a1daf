package store

import (
	"io/fs"
	"strconv"
	"strings"
	"testing"
)

// Every migration since there is schema_versions says which release can live with
// it: one that does not is refused by the release before, and a node of that one
// cannot be started any more.
func TestMigrationsAreDeclared(t *testing.T) {
	t.Parallel()
	const firstDeclared = 10
	for _, database := range []string{"sqlite", "postgres"} {
		files, err := fs.Glob(migrations, "migrations/"+database+"/*.sql")
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		var all strings.Builder
		for _, name := range files {
			text, err := migrations.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(text)
		}
		for _, name := range files {
			number, _, _ := strings.Cut(name[strings.LastIndex(name, "/")+1:], "_")
			version, err := strconv.Atoi(number)
			if err != nil {
				t.Fatal(err)
			}
			if version >= firstDeclared && !strings.Contains(all.String(), "("+strconv.Itoa(version)+", ") {
				t.Errorf("%s is not declared in schema_versions", name)
			}
		}
	}
}
