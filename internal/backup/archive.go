package backup

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
)

// Names of the members.
const (
	nameManifest = "manifest.json"
	nameKey      = "secret.key"
	nameSums     = "SHA256SUMS"
)

func namePart(n int64) string { return fmt.Sprintf("cybervault.db.%06d.gz", n) }

// Measure reads the copy of the database and writes into the manifest how large
// it is and what its digest is.
func (m *Manifest) Measure(ctx context.Context, database io.Reader) error {
	sum := sha256.New()
	size, err := io.Copy(sum, &canceller{ctx, database})
	if err != nil {
		return fmt.Errorf("read the copy of the database: %w", err)
	}
	m.Database = Database{Bytes: size, SHA256: hex.EncodeToString(sum.Sum(nil)), Parts: parts(size)}
	return nil
}

// Write writes a backup of a database that was measured. key is the content of
// the key file, or nil.
func Write(ctx context.Context, w io.Writer, m *Manifest, key []byte, database io.Reader) error {
	m.Format, m.FormatVersion, m.Key.Included = Format, FormatVersion, key != nil
	text, err := m.encode()
	if err != nil {
		return err
	}
	out := &writer{w: w}
	out.member(nameManifest, text)
	if key != nil {
		out.member(nameKey, key)
	}
	database = &canceller{ctx, database}
	sum := sha256.New()
	left := m.Database.Bytes
	part := make([]byte, min(left, partBytes))
	for n := int64(1); n <= m.Database.Parts && out.err == nil; n++ {
		part = part[:min(left, partBytes)]
		if _, err := io.ReadFull(database, part); err != nil {
			return fmt.Errorf("read the copy of the database: %w", err)
		}
		left -= int64(len(part))
		sum.Write(part)
		out.part(n, part)
	}
	if out.err == nil && hex.EncodeToString(sum.Sum(nil)) != m.Database.SHA256 {
		return errors.New("the copy of the database changed while it was read")
	}
	out.finish()
	if out.err != nil {
		return fmt.Errorf("write the backup: %w", out.err)
	}
	return nil
}

// writer writes members and keeps their digests. After an error it does nothing.
type writer struct {
	w       io.Writer
	sums    bytes.Buffer
	err     error
	packed  bytes.Buffer
	deflate *gzip.Writer
}

func (w *writer) member(name string, content []byte) {
	if w.err != nil {
		return
	}
	w.err = writeMember(w.w, name, content)
	addSum(&w.sums, name, content)
}

func (w *writer) part(n int64, content []byte) {
	if w.err != nil {
		return
	}
	w.packed.Reset()
	if w.deflate == nil {
		// The fastest: the server does this beside its work.
		w.deflate, w.err = gzip.NewWriterLevel(&w.packed, gzip.BestSpeed)
	} else {
		w.deflate.Reset(&w.packed)
	}
	if w.err == nil {
		_, w.err = w.deflate.Write(content)
	}
	if w.err == nil {
		w.err = w.deflate.Close()
	}
	w.member(namePart(n), w.packed.Bytes())
}

func (w *writer) finish() {
	sums := bytes.Clone(w.sums.Bytes())
	w.member(nameSums, sums)
	if w.err == nil {
		w.err = writeEnd(w.w)
	}
}

// addSum adds a line of the form that sha256sum reads.
func addSum(to *bytes.Buffer, name string, content []byte) {
	fmt.Fprintf(to, "%x  %s\n", sha256.Sum256(content), name)
}

// Read reads a backup to its end and checks every byte of it. accept, unless
// nil, is shown the manifest before the rest is read, and can refuse it; the
// database is written to database. What was written is worth nothing when Read
// fails. key is nil where the backup has none.
func Read(ctx context.Context, r io.Reader, accept func(*Manifest) error, database io.Writer) (m *Manifest, key []byte, err error) {
	in := &reader{members: members{r: &canceller{ctx, r}}, sum: sha256.New(), to: database}
	text, err := in.expect(nameManifest, maxManifest)
	if err != nil {
		return nil, nil, err
	}
	if m, err = decodeManifest(text); err != nil {
		return nil, nil, err
	}
	if accept != nil {
		if err := accept(m); err != nil {
			return m, nil, err
		}
	}
	if m.Key.Included {
		if key, err = in.expect(nameKey, maxKey); err != nil {
			return m, nil, err
		}
		key = bytes.Clone(key)
	}
	left := m.Database.Bytes
	for n := int64(1); n <= m.Database.Parts; n++ {
		size := min(left, partBytes)
		if err := in.part(n, size); err != nil {
			return m, nil, err
		}
		left -= size
	}
	if hex.EncodeToString(in.sum.Sum(nil)) != m.Database.SHA256 {
		return m, nil, damaged("the database does not have the digest that its manifest names")
	}
	want := bytes.Clone(in.sums.Bytes())
	sums, err := in.expect(nameSums, int64(len(want)))
	if err != nil {
		return m, nil, err
	}
	if !bytes.Equal(sums, want) {
		return m, nil, damaged("a part of it does not have the digest that stands in " + nameSums)
	}
	return m, key, in.end()
}

// reader reads members and keeps their digests.
type reader struct {
	members

	sums    bytes.Buffer
	sum     hash.Hash // of the database
	to      io.Writer
	inflate *gzip.Reader
	plain   []byte
}

// expect reads the member that must come next.
func (r *reader) expect(name string, limit int64) ([]byte, error) {
	found, content, err := r.next(limit)
	if err != nil {
		return nil, err
	}
	if found != name {
		return nil, damaged("%s stands where %s should", strconv.Quote(found), name)
	}
	addSum(&r.sums, name, content)
	return content, nil
}

// part reads a part of the database that has so many bytes.
func (r *reader) part(n, size int64) error {
	packed, err := r.expect(namePart(n), maxPart)
	if err != nil {
		return err
	}
	source := bytes.NewReader(packed)
	if r.inflate == nil {
		r.inflate, err = gzip.NewReader(source)
	} else {
		err = r.inflate.Reset(source)
	}
	if err != nil {
		return damaged("%s cannot be unpacked", namePart(n))
	}
	if int64(len(r.plain)) < size {
		r.plain = make([]byte, size)
	}
	plain := r.plain[:size]
	if _, err := io.ReadFull(r.inflate, plain); err != nil {
		return damaged("%s cannot be unpacked", namePart(n))
	}
	// Reads the checksum, and finds what is too much.
	if more, err := r.inflate.Read(make([]byte, 1)); more != 0 || !errors.Is(err, io.EOF) {
		return damaged("%s does not hold the bytes that it should", namePart(n))
	}
	r.sum.Write(plain)
	if _, err := r.to.Write(plain); err != nil {
		return fmt.Errorf("write the database: %w", err)
	}
	return nil
}

// canceller ends reading when its context does.
type canceller struct {
	ctx context.Context //nolint:containedctx // it lives as long as the call
	r   io.Reader
}

func (c *canceller) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(b)
}
