// Package backup is the form of a backup: one file that holds a copy of the
// embedded database, what is known about it, and, only if that was asked for,
// the key that seals secrets.
//
// It stands outside the flow. It reads and writes streams, and knows nothing of
// databases: internal/app makes the copy that goes in and puts the one that
// comes out in its place.
//
// The file is a tar archive of the plainest form, so that it can be taken apart
// without CyberVault too (tar -xf FILE; sha256sum -c SHA256SUMS; cat
// cybervault.db.*.gz | gunzip > cybervault.db):
//
//	manifest.json
//	secret.key                  only with the key
//	cybervault.db.000001.gz …   eight mebibytes of the database each
//	SHA256SUMS                  of all before it
//
// There is one way to write what a backup holds, and the reader takes no other:
// no byte of the file can change and go unnoticed.
package backup

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/cybervault/cybervault"
)

// Format and FormatVersion stand in every manifest.
const (
	Format        = "cybervault-backup"
	FormatVersion = 1
)

// Manifest says what a backup holds.
type Manifest struct {
	Format        string    `json:"format"`
	FormatVersion int       `json:"format_version"`
	CreatedAt     time.Time `json:"created_at"` // what was committed before is in it
	Program       string    `json:"program"`    // version of the program that made it
	Schema        int64     `json:"schema"`     // version of the database's schema
	Workspace     string    `json:"workspace"`  // the first one
	Counts        Counts    `json:"counts"`
	LastChange    Change    `json:"last_change"`
	Key           Key       `json:"key"`
	Database      Database  `json:"database"`
}

// Counts are of rows.
type Counts struct {
	Events     int64 `json:"events"`
	Deliveries int64 `json:"deliveries"`
	Pending    int64 `json:"pending"`
	Webhooks   int64 `json:"webhooks"`
	APIKeys    int64 `json:"api_keys"`
}

// Change is the end of the change log.
type Change struct {
	Transaction int64 `json:"transaction"`
	Mark        int64 `json:"mark"`
}

// Key tells which key opens the secrets.
type Key struct {
	Fingerprint string `json:"fingerprint"` // "" where the key file could not be read
	Included    bool   `json:"included"`
}

// Database is the copy.
type Database struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
	Parts  int64  `json:"parts"`
}

// damaged is an error about the file itself.
func damaged(format string, args ...any) error {
	return cybervault.Errorf(cybervault.CodeInvalid, "the backup is damaged: "+format, args...)
}

func (m *Manifest) encode() ([]byte, error) {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the manifest: %w", err)
	}
	return append(text, '\n'), nil
}

// decodeManifest reads a manifest and checks that the rest can be read by it.
func decodeManifest(text []byte) (*Manifest, error) {
	var form struct {
		Format        string `json:"format"`
		FormatVersion int    `json:"format_version"`
	}
	if err := json.Unmarshal(text, &form); err != nil {
		return nil, damaged("its manifest is not JSON")
	}
	if form.Format != Format {
		return nil, damaged("its manifest is of another kind of file")
	}
	if form.FormatVersion > FormatVersion {
		return nil, cybervault.Errorf(cybervault.CodeInvalid,
			"the backup has format %d, this program knows %d: use the newer CyberVault that made it", form.FormatVersion, FormatVersion)
	}
	m := new(Manifest)
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(m); err != nil {
		return nil, damaged("its manifest cannot be read")
	}
	switch again, err := m.encode(); {
	case err != nil:
		return nil, err
	case !bytes.Equal(again, text):
		return nil, damaged("its manifest is not as it was written")
	case m.Database.Bytes <= 0 || m.Database.Bytes > maxDatabase || m.Database.Parts != parts(m.Database.Bytes):
		return nil, damaged("its manifest names a database of %d bytes in %d parts", m.Database.Bytes, m.Database.Parts)
	}
	return m, nil
}

// parts is how many parts a database of so many bytes has.
func parts(size int64) int64 { return (size + partBytes - 1) / partBytes }
