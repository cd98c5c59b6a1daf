package backup

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Bounds of a backup, and so of what a reader holds in memory.
const (
	partBytes   = 8 << 20                    // of the database, in one part
	maxPart     = partBytes + partBytes/1000 // what cannot be compressed grows a little
	maxManifest = 64 << 10
	maxKey      = 4 << 10
	maxDatabase = 4 << 40

	block = 512
)

// header is the one that a member has: a ustar header in which nothing is open
// but the name and the size.
func header(name string, size int64) [block]byte {
	var h [block]byte
	copy(h[0:100], name)
	copy(h[100:], "0000600\x00")
	copy(h[108:], "0000000\x000000000\x00") // owner and group: nobody's
	copy(h[124:], fmt.Sprintf("%011o\x00", size))
	copy(h[136:], "00000000000\x00")
	copy(h[148:], "        ")
	h[156] = '0'
	copy(h[257:], "ustar\x0000")
	copy(h[329:], "0000000\x000000000\x00")
	var sum int64
	for _, b := range h {
		sum += int64(b)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	return h
}

func padding(size int64) int64 { return (block - size%block) % block }

// writeMember writes a member whole.
func writeMember(w io.Writer, name string, content []byte) error {
	h := header(name, int64(len(content)))
	if _, err := w.Write(h[:]); err != nil {
		return err
	}
	if _, err := w.Write(content); err != nil {
		return err
	}
	_, err := w.Write(make([]byte, padding(int64(len(content)))))
	return err
}

// writeEnd ends the archive.
func writeEnd(w io.Writer) error {
	_, err := w.Write(make([]byte, 2*block))
	return err
}

// members reads an archive member by member.
type members struct {
	r      io.Reader
	read   int64
	buffer []byte // of the last member
}

// next reads the next member, of at most so many bytes. The content is good until
// the next call.
func (m *members) next(limit int64) (name string, content []byte, err error) {
	var h [block]byte
	if err := m.fill(h[:]); err != nil {
		return "", nil, err
	}
	name, _, _ = strings.Cut(string(h[0:100]), "\x00")
	size, err := strconv.ParseInt(string(h[124:135]), 8, 64)
	if err != nil || size < 0 || h != header(name, size) {
		return "", nil, damaged("what should begin a part at byte %d does not", m.read-block)
	}
	if size > limit {
		return "", nil, damaged("%s has %d bytes, which no backup has there", strconv.Quote(name), size)
	}
	whole := size + padding(size)
	if int64(cap(m.buffer)) < whole {
		m.buffer = make([]byte, whole)
	}
	m.buffer = m.buffer[:whole]
	if err := m.fill(m.buffer); err != nil {
		return "", nil, err
	}
	if len(bytes.Trim(m.buffer[size:], "\x00")) > 0 {
		return "", nil, damaged("what follows %s is not empty", strconv.Quote(name))
	}
	return name, m.buffer[:size], nil
}

// end sees that nothing follows but the end.
func (m *members) end() error {
	var h [2 * block]byte
	if err := m.fill(h[:]); err != nil {
		return err
	}
	if h != [2 * block]byte{} {
		return damaged("what should be its end at byte %d is not", m.read-2*block)
	}
	switch n, err := m.r.Read(h[:1]); {
	case n > 0:
		return damaged("something follows its end at byte %d", m.read)
	case err != nil && !errors.Is(err, io.EOF):
		return fmt.Errorf("read the backup: %w", err)
	}
	return nil
}

func (m *members) fill(b []byte) error {
	n, err := io.ReadFull(m.r, b)
	m.read += int64(n)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return damaged("it is cut off after %d bytes", m.read)
	}
	if err != nil {
		return fmt.Errorf("read the backup: %w", err)
	}
	return nil
}
