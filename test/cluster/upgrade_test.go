package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"testing"

	"github.com/cybervault/cybervault/test/testenv"
)

// Nodes are replaced one by one by those of the next release, while all of them
// publish and deliver: the first new one migrates beside the old ones, which go
// on, also when they are started anew. Once a schema was not made for it, an old
// one is refused.
func TestRollingUpgrade(t *testing.T) {
	t.Parallel()
	next := testenv.NextBinary(t)
	pg := testenv.NewPostgres(t, testenv.PostgresOptions{})
	s := newSite(t, pg.URL(), 3, "", `,"ordered":true`)
	old := s.nodes[1].Program()
	s.hooks[0].setRefuse(20)
	s.publish()
	s.waitAcks(50)
	upgrade := func(node *testenv.Server, program string) {
		t.Helper()
		node.Stop()
		node.RestartAs(program)
		s.everyNodePublishes()
		s.waitAcks(50)
	}
	schemaIs(pg, "< %d")
	upgrade(s.nodes[0], next)
	schemaIs(pg, "= %d")
	upgrade(s.nodes[1], old) // started on a schema that it does not know
	s.nodes[0].Kill()        // so that old ones alone have the work, what it had leased included
	s.waitAcks(50)
	s.nodes[0].Restart()
	for _, node := range s.nodes[1:] {
		upgrade(node, next)
	}
	upgrade(s.nodes[0], old) // and back
	s.recovers(s.nodes...)
	s.finish()

	pg.Exec(fmt.Sprintf("DELETE FROM schema_versions WHERE version = %d", testenv.NextSchema))
	cmd := exec.Command(old, "serve", "--listen", "127.0.0.1:0", "--data", t.TempDir(), "--database-url", pg.URL())
	out, err := cmd.CombinedOutput()
	exit, ok := errors.AsType[*exec.ExitError](err)
	word := fmt.Sprintf("the database has schema version %d, this program knows ", testenv.NextSchema)
	if !ok || exit.ExitCode() != 1 || !bytes.Contains(out, []byte(word)) || !bytes.Contains(out, []byte("run the newer CyberVault")) {
		t.Errorf("a start on a schema that is too new: %v\n%s", err, out)
	}
}

// schemaIs fails the test unless the schema's version compares as the condition says.
func schemaIs(pg *testenv.PostgresServer, condition string) {
	pg.Exec("DO $$ BEGIN ASSERT (SELECT MAX(version_id) FROM goose_db_version) " + fmt.Sprintf(condition, testenv.NextSchema) + "; END $$")
}

// everyNodePublishes publishes an event at each node, which must take it at once.
func (s *site) everyNodePublishes() {
	s.t.Helper()
	for i, node := range s.nodes {
		a := call(node, http.MethodPost, "/v1/events", event(fmt.Sprintf("at-%d-%d", i, s.next.Add(1))))
		if a.status != http.StatusAccepted {
			s.t.Fatalf("node %d answers a publication with %d %s %v", i, a.status, a.body, a.err)
		}
		s.ledger.Published(1)
		s.ledger.Acknowledged(a.id())
	}
}
