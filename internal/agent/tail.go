package agent

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// How files are followed.
const (
	pollEvery    = 500 * time.Millisecond // a look at the files
	globEvery    = 5 * time.Second        // a look at which files there are
	batchBytes   = 256 << 10              // of one batch
	maxLineBytes = 64 << 10               // of one line; the rest of it is left out
	headBytes    = 256                    // by which a file is known again
	maxFiles     = 1000                   // that are followed
	maxRotated   = 16                     // of one name, that were moved away and are not read to their end
	lingers      = 10 * time.Second       // that a file which was moved away is looked at for more
)

// place is how far a file was read. A file is known by what it begins with: neither its
// name nor its number stays when it is rotated.
type place struct {
	Head   string `json:"head"` // SHA-256 of its first bytes
	Length int    `json:"length"`
	Offset int64  `json:"offset"`
}

// tail is one open file.
type tail struct {
	path    string
	file    *os.File
	place   place
	moved   time.Time // since it is no longer at its path; zero while it is
	cutting bool      // within a line that is too long
}

// tails are all files. Used by one goroutine.
type tails struct {
	agent    *Agent
	spool    *spool
	places   map[string][]place // by path: newest last
	open     map[string][]*tail // by path: oldest first; the last one is at the path
	first    bool               // there were no places yet: what files hold is old
	globbed  time.Time
	held     bool // the spool is full
	buffer   []byte
	reported bool
}

func openTails(a *Agent, s *spool) (*tails, error) {
	t := &tails{agent: a, spool: s, places: map[string][]place{}, open: map[string][]*tail{}, first: true}
	for _, pattern := range a.Tails {
		if _, err := filepath.Match(pattern, ""); err != nil {
			return nil, cybervault.Invalid("tail", "%q is no pattern of files: %v", pattern, err)
		}
	}
	raw, err := os.ReadFile(filepath.Join(a.Dir, positionsFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return t, nil
	case err != nil:
		return nil, err
	}
	if err := json.Unmarshal(raw, &t.places); err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w: remove it to begin at the end of each file", positionsFile, err)
	}
	t.first = false
	return t, nil
}

// run follows the files until ctx ends.
func (t *tails) run(ctx context.Context) error {
	if len(t.agent.Tails) == 0 {
		<-ctx.Done()
		return nil
	}
	defer t.close()
	for {
		if now := t.agent.Now(); now.Sub(t.globbed) >= globEvery {
			t.globbed = now
			t.look()
		}
		more, err := t.read()
		if err != nil {
			// The disk is full, or it failed: what was read is read again.
			t.agent.Log.Error("lines cannot be kept; trying again", slog.Any("error", err))
			t.close()
			t.globbed = time.Time{}
			more = false
		}
		if more {
			if ctx.Err() != nil {
				return nil
			}
			continue
		}
		if !rest(ctx, pollEvery) {
			return nil
		}
	}
}

// look finds the files there are, and those that stand in the place of others.
func (t *tails) look() {
	paths := map[string]bool{}
	for _, pattern := range t.agent.Tails {
		found, err := filepath.Glob(pattern)
		if err != nil {
			continue // it was checked
		}
		for _, path := range found {
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && !strings.HasSuffix(path, ".gz") {
				paths[path] = true
			}
		}
	}
	opened := false
	for path := range paths {
		if len(t.open) >= maxFiles && t.open[path] == nil {
			if !t.reported {
				t.agent.Log.Error("there are more files than are followed", slog.Int("most", maxFiles), slog.String("not", path))
				t.reported = true
			}
			continue
		}
		opened = t.follow(path) || opened
	}
	if len(t.places) > 2*maxFiles {
		for path := range t.places {
			if t.open[path] == nil {
				delete(t.places, path)
			}
		}
	}
	if opened || t.first {
		if err := t.save(); err != nil {
			t.agent.Log.Error("it cannot be written down how far files were read", slog.Any("error", err))
		}
	}
	t.first = false
}

// follow opens the file at a path, if it is not the one that is open, and reports
// whether it did.
func (t *tails) follow(path string) bool {
	all := t.open[path]
	info, err := os.Stat(path)
	if err != nil {
		return false
	}
	if n := len(all); n > 0 {
		current := all[n-1]
		if open, err := current.file.Stat(); err == nil && os.SameFile(open, info) {
			return false
		}
		current.moved = t.agent.Now()
	}
	f, err := os.Open(path)
	if err != nil {
		t.agent.Log.Warn("a file cannot be followed", slog.String("file", path), slog.Any("error", err))
		return false
	}
	next := &tail{path: path, file: f}
	known := t.places[path]
	if len(all) == 0 && len(known) > 0 { // this program was not running meanwhile
		if i := slices.IndexFunc(known, func(p place) bool { return p.isOf(f) }); i >= 0 {
			next.place = known[i]
		} else {
			t.catchUp(path, known[len(known)-1])
		}
	} else if len(all) == 0 && t.first && !t.agent.FromTop {
		next.place.Offset = lineEnd(f, info.Size())
	}
	next.know(info.Size())
	t.open[path] = append(t.open[path], next)
	for len(t.open[path]) > maxRotated+1 {
		old := t.open[path][0]
		t.drop(old, "it was rotated too often while the server was away")
		t.open[path] = t.open[path][1:]
	}
	return true
}

// lineEnd is the end of the last whole line before an offset.
func lineEnd(f *os.File, size int64) int64 {
	buf := make([]byte, min(size, maxLineBytes))
	if _, err := f.ReadAt(buf, size-int64(len(buf))); err != nil && !errors.Is(err, io.EOF) {
		return size
	}
	if i := bytes.LastIndexByte(buf, '\n'); i >= 0 {
		return size - int64(len(buf)) + int64(i) + 1
	}
	return size - int64(len(buf)) // all of it is one line that is still being written
}

// rotatedName is what rotation adds to a name: a number or a date, and what packs it.
var rotatedName = regexp.MustCompile(`^[.-]?\d[\d.T_-]*(\.gz)?$`)

// catchUp reads on where the file was rotated while this program was not running: it lies
// beside the path under another name, packed or not, and so do those that came after it.
func (t *tails) catchUp(path string, p place) {
	type rotated struct {
		name string
		at   time.Time
	}
	var beside []rotated
	names, err := filepath.Glob(escapeGlob(path) + "?*")
	if err != nil {
		return // the path itself is no pattern
	}
	for _, name := range names {
		if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() && rotatedName.MatchString(strings.TrimPrefix(name, path)) {
			beside = append(beside, rotated{name, info.ModTime()})
		}
	}
	slices.SortFunc(beside, func(a, b rotated) int { return cmp.Or(a.at.Compare(b.at), -strings.Compare(a.name, b.name)) })
	found := false
	for _, r := range beside {
		from := place{}
		if !found {
			from = p
		}
		f, err := os.Open(r.name)
		if err != nil {
			continue
		}
		switch {
		case strings.HasSuffix(r.name, ".gz"):
			found = t.unpack(f, from) || found
			_ = f.Close() // it was only read
		case found || p.isOf(f):
			found = true
			t.open[path] = append(t.open[path], &tail{path: path, file: f, place: from, moved: t.agent.Now()})
		default:
			_ = f.Close() // it was only read
		}
	}
	if !found {
		t.agent.Log.Warn("a file was rotated away while the agent was not running, and is not found; what was not read of it is left out", slog.String("file", path))
	}
}

func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}

// unpack reads on in a packed file from a place, if it is a place in that file; the zero
// place is the top of any. It is read at once, since it does not grow any more.
func (t *tails) unpack(f *os.File, p place) bool {
	open := func() (*bufio.Reader, error) {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
		z, err := gzip.NewReader(f)
		if err != nil {
			return nil, err
		}
		return bufio.NewReaderSize(z, maxLineBytes), nil
	}
	z, err := open()
	if err != nil {
		return false
	}
	if p != (place{}) {
		head := make([]byte, p.Length)
		if _, err := io.ReadFull(z, head); err != nil || headSum(head) != p.Head {
			return false
		}
		if z, err = open(); err != nil {
			return false
		}
		if _, err := io.CopyN(io.Discard, z, p.Offset); err != nil {
			return errors.Is(err, io.EOF) // it was read to its end
		}
	}
	var lines []byte
	keep := func() {
		if len(lines) == 0 {
			return
		}
		if err := t.spool.add(lines); err != nil {
			t.agent.Log.Error("lines of a packed file cannot be kept, and are left out", slog.String("file", f.Name()), slog.Any("error", err))
		}
		lines = lines[:0]
	}
	for err == nil {
		var line []byte
		line, err = z.ReadSlice('\n')
		lines = append(lines, line...)
		if errors.Is(err, bufio.ErrBufferFull) {
			err = nil
		} else if len(lines) >= batchBytes {
			keep()
		}
	}
	keep()
	if !errors.Is(err, io.EOF) {
		t.agent.Log.Warn("a packed file is damaged; what follows is left out", slog.String("file", f.Name()), slog.Any("error", err))
	}
	return true
}

func headSum(head []byte) string { return fmt.Sprintf("%x", sha256.Sum256(head)) }

// isOf reports whether it is a place in that file.
func (p place) isOf(f *os.File) bool {
	if p.Length == 0 {
		return false
	}
	head := make([]byte, p.Length)
	n, err := f.ReadAt(head, 0)
	return n == p.Length && (err == nil || errors.Is(err, io.EOF)) && headSum(head) == p.Head
}

// read reads on in each file, up to a batch in all, and keeps it. more says that there
// is more to read at once.
func (t *tails) read() (more bool, err error) {
	if t.spool.full() {
		if !t.held {
			t.agent.Log.Warn("as much waits on disk as may; the files are read on when the server takes lines again")
		}
		t.held = true
		return false, nil
	}
	if t.held {
		t.held = false
		t.agent.Log.Info("the files are read on")
	}
	t.buffer = t.buffer[:0]
	changed := false
	for path := range t.open {
		for _, f := range slices.Clone(t.open[path]) {
			before := f.place
			end, err := t.readFile(f)
			if err != nil {
				t.drop(f, err.Error())
				t.open[path] = slices.DeleteFunc(t.open[path], func(o *tail) bool { return o == f })
				continue
			}
			changed = changed || f.place != before
			if end && !f.moved.IsZero() && t.agent.Now().Sub(f.moved) >= lingers {
				_ = f.file.Close() // it was only read
				t.open[path] = slices.DeleteFunc(t.open[path], func(o *tail) bool { return o == f })
				changed = true
			}
			if !end || len(t.buffer) >= batchBytes {
				more = true
				break // what came after it stands after it
			}
		}
		if len(t.open[path]) == 0 {
			delete(t.open, path)
		}
		if len(t.buffer) >= batchBytes {
			break
		}
	}
	if !changed {
		return more, nil
	}
	// First the lines, then how far was read: after a crash between the two, lines are
	// sent twice, and none is left out.
	if len(t.buffer) > 0 {
		if err := t.spool.add(t.buffer); err != nil {
			return false, err
		}
	}
	return more, t.save()
}

// readFile reads on in one file. end says that there is nothing more in it now.
func (t *tails) readFile(f *tail) (end bool, err error) {
	info, err := f.file.Stat()
	if err != nil {
		return false, err
	}
	if info.Size() < f.place.Offset { // it was emptied, and is written anew
		f.place, f.cutting = place{}, false
	}
	f.know(info.Size())
	room := batchBytes - len(t.buffer)
	if room <= 0 {
		return info.Size() <= f.place.Offset, nil
	}
	chunk := make([]byte, min(int64(max(room, maxLineBytes)), info.Size()-f.place.Offset))
	n, err := f.file.ReadAt(chunk, f.place.Offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	chunk = chunk[:n]
	whole := bytes.LastIndexByte(chunk, '\n') + 1
	switch {
	case whole == 0 && len(chunk) >= maxLineBytes: // a line that is too long: its beginning is kept
		if !f.cutting {
			t.buffer = append(append(t.buffer, chunk[:maxLineBytes-1]...), '\n')
		}
		f.place.Offset, f.cutting = f.place.Offset+int64(len(chunk)), true
		return false, nil
	case whole == 0 && len(chunk) > 0 && !f.moved.IsZero() && t.agent.Now().Sub(f.moved) >= lingers: // no end of the line will come
		t.buffer = append(append(t.buffer, chunk...), '\n')
		f.place.Offset += int64(len(chunk))
		return true, nil
	case whole == 0:
		return true, nil
	}
	lines := chunk[:whole]
	f.place.Offset += int64(whole)
	if f.cutting {
		f.cutting = false
		lines = lines[bytes.IndexByte(lines, '\n')+1:]
	}
	for line := range bytes.Lines(lines) {
		if len(line) > maxLineBytes {
			t.buffer = append(append(t.buffer, line[:maxLineBytes-1]...), '\n')
			continue
		}
		t.buffer = append(t.buffer, line...)
	}
	return whole == len(chunk) && info.Size() == f.place.Offset, nil
}

// know remembers what a file begins with, as soon as it is long enough to tell.
func (f *tail) know(size int64) {
	want := int(min(size, headBytes))
	if f.place.Length >= want {
		return
	}
	head := make([]byte, want)
	if n, err := f.file.ReadAt(head, 0); n == want && (err == nil || errors.Is(err, io.EOF)) {
		f.place.Head, f.place.Length = headSum(head), want
	}
}

// drop gives a file up, and says how much of it was not read.
func (t *tails) drop(f *tail, why string) {
	left := int64(0)
	if info, err := f.file.Stat(); err == nil {
		left = max(0, info.Size()-f.place.Offset)
	}
	_ = f.file.Close() // it was only read
	if left > 0 {
		t.agent.Log.Error("part of a file is left out", slog.String("file", f.path), slog.Int64("bytes", left), slog.String("why", why))
	}
}

// save writes down how far each file was read.
func (t *tails) save() error {
	for path, open := range t.open {
		places := make([]place, 0, len(open))
		for _, f := range open {
			if f.place.Length > 0 {
				places = append(places, f.place)
			}
		}
		t.places[path] = places
	}
	raw, err := json.Marshal(t.places)
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(t.agent.Dir, positionsFile), raw)
}

func (t *tails) close() {
	for path, all := range t.open {
		for _, f := range all {
			_ = f.file.Close() // it was only read
		}
		delete(t.open, path)
	}
}
