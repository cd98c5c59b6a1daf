package api_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/api"
)

const sampleCheckpoint = "cybervault/audit/0123456789abcdef\n3\nAAAA\n\n— cybervault/audit/0123456789abcdef AAAA\n"

func (f *fakes) PublicKey() string { return "cybervault/audit/0123456789abcdef+01020304+AQID" }

func (f *fakes) Checkpoint(context.Context) (string, error) { return sampleCheckpoint, nil }

func (f *fakes) Tile(_ context.Context, level int, index int64, width int) ([]byte, error) {
	if level != 0 || index != 0 {
		return nil, cybervault.Errorf(cybervault.CodeNotFound, "the log ends before")
	}
	if width == 0 {
		width = 256
	}
	return []byte(strings.Repeat("x", 32*width)), nil
}

func (f *fakes) Entries(context.Context, int64) ([]cybervault.AuditRow, error) {
	rows := []cybervault.AuditRow{
		{Workspace: ws, Bytes: []byte("mine")},
		{Workspace: otherWS, Bytes: []byte("another's")},
		{}, // removed
		{Ref: cybervault.AuditRef{Kind: cybervault.AuditMissing}, Bytes: []byte("missing")},
	}
	for i := range rows {
		rows[i].Index, rows[i].Ref.Key = int64(i), event1.Key()
		if rows[i].Ref.Kind == "" {
			rows[i].Ref.Kind = cybervault.AuditEvent
		}
	}
	return rows, nil
}

func (f *fakes) Prove(_ context.Context, workspace cybervault.WorkspaceID, id cybervault.DeliveryID, from int64) (*cybervault.AuditProof, error) {
	if workspace != ws || id != dlv1 {
		return nil, cybervault.Errorf(cybervault.CodeNotFound, "there is none")
	}
	proof := &cybervault.AuditProof{
		Format: "f", PublicKey: f.PublicKey(), Checkpoint: sampleCheckpoint,
		Entries: []cybervault.AuditProofEntry{{Index: 2, Entry: "{}", Path: [][]byte{[]byte("a"), []byte("b")}}},
	}
	if from > 0 {
		proof.Consistency = &cybervault.AuditConsistency{From: from, Path: [][]byte{[]byte("c")}}
	}
	return proof, nil
}

func TestProof(t *testing.T) {
	t.Parallel()
	path := "GET /v1/deliveries/" + dlv1.String() + "/proof"
	for query, want := range map[string]string{
		"":         `"path":["YQ==","Yg=="]}]}`,
		"?from=0":  `"path":["YQ==","Yg=="]}]}`,
		"?from=17": `"consistency":{"from":17,"path":["Yw=="]}}`,
	} {
		if w := setUp(t).do(request{call: path + query, key: readKey}); w.Code != http.StatusOK || !strings.HasSuffix(strings.TrimSpace(w.Body.String()), want) {
			t.Errorf("%s: %d %s, want it to end in %s", query, w.Code, w.Body, want)
		}
	}
	if w := setUp(t).do(request{call: path + "?from=-1", key: readKey}); w.Code != http.StatusUnprocessableEntity {
		t.Errorf("a negative size: %d %s", w.Code, w.Body)
	}
}

// Of an entry that is another workspace's there is no more to see than that it is one.
func TestAuditEntriesOfOthers(t *testing.T) {
	t.Parallel()
	w := setUp(t).do(request{call: "GET /v1/audit/entries?tile=0", key: readKey})
	for _, want := range []string{
		`{"index":0,"kind":"event","entry":"mine","removed":false,`, `{"index":1,"kind":"event","entry":null,"removed":false,`,
		`{"index":2,"kind":"event","entry":null,"removed":true,`, `{"index":3,"kind":"missing","entry":"missing","removed":false,`,
	} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s is missing in %s", want, w.Body)
		}
	}
}

func TestAuditTilePaths(t *testing.T) {
	t.Parallel()
	type tile struct {
		level int
		index int64
		width int
	}
	for path, want := range map[string]tile{
		"0/000": {0, 0, 0}, "2/255": {2, 255, 0}, "0/x001/x234/067": {0, 1234067, 0}, "1/x001/000.p/12": {1, 1000, 12}, "0/000.p/255": {0, 0, 255},
	} {
		if level, index, width, ok := api.ParseTilePath(path); !ok || (tile{level, index, width}) != want {
			t.Errorf("%s: %d %d %d %t, want %+v", path, level, index, width, ok, want)
		}
	}
	for _, path := range []string{
		"", "0", "0/", "0/0", "0/0000", "00/000", "-1/000", "9/000", "0/x000/000", "0/x001", "0/001/000", "0/x001/x000", "0/000.p/0", "0/000.p/256",
		"0/000.p/01", "0/000.p/", "0/000.p", "0/+01", "0/x001/x001/x001/x001/x001/001", "data/000", "0.p/1",
	} {
		if level, index, width, ok := api.ParseTilePath(path); ok {
			t.Errorf("%q: %d %d %d", path, level, index, width)
		}
	}
	if w := setUp(t).do(request{call: "GET /v1/audit/tile/0/000.p/3", key: readKey}); w.Code != http.StatusOK || w.Body.Len() != 96 || w.Header().Get("Content-Type") != "application/octet-stream" {
		t.Errorf("%d, %d bytes of %s", w.Code, w.Body.Len(), w.Header().Get("Content-Type"))
	}
	if w := setUp(t).do(request{call: "GET /v1/audit/tile/0/001", key: readKey}); w.Code != http.StatusNotFound {
		t.Errorf("beyond the end: %d", w.Code)
	}
}
