package cli

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/term"

	"github.com/cybervault/cybervault/internal/telemetry/merge"
)

// logFile is a file to analyze.
type logFile struct {
	name    string
	stdin   io.Reader // in place of a file
	size    int64
	written time.Time
	err     error         // why it cannot be read
	read    *atomic.Int64 // bytes of all files read so far, before decompression
}

// logFiles finds the files that the arguments name: each of them once, a
// directory's in the order of their paths, those whose names begin with a dot
// left out. An argument that names nothing is an error, before anything is read.
func logFiles(names []string, env *Env) ([]*logFile, error) {
	read := new(atomic.Int64)
	seen := map[string]bool{}
	var files []*logFile
	add := func(name string, info fs.FileInfo) {
		if clean := filepath.Clean(name); !seen[clean] {
			seen[clean] = true
			files = append(files, &logFile{name: name, size: info.Size(), written: info.ModTime(), read: read})
		}
	}
	for _, name := range names {
		if name == "-" {
			if !seen[name] {
				seen[name] = true
				files = append(files, &logFile{name: name, stdin: env.Stdin, read: read})
			}
			continue
		}
		info, err := os.Stat(name)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			add(name, info)
			continue
		}
		before := len(files)
		err = filepath.WalkDir(name, func(path string, entry fs.DirEntry, err error) error {
			switch {
			case err != nil && path != name: // the others can be read all the same
				files = append(files, &logFile{name: path, err: err, read: read})
				return nil
			case err != nil:
				return err
			case path != name && strings.HasPrefix(entry.Name(), "."):
				if entry.IsDir() {
					return fs.SkipDir
				}
				return nil
			case !entry.Type().IsRegular():
				return nil
			}
			if info, err := entry.Info(); err == nil { // or it is gone meanwhile
				add(path, info)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		if len(files) == before {
			return nil, fmt.Errorf("%s: there is no file in this directory", name)
		}
	}
	return files, nil
}

func inputs(files []*logFile) []merge.Input {
	in := make([]merge.Input, len(files))
	for i, f := range files {
		in[i] = merge.Input{Name: f.name, Open: f.open, Once: f.stdin != nil}
		if f.stdin == nil {
			// A stamp without a year is from the year before the file was last written.
			in[i].Now = func() time.Time { return f.written }
		}
	}
	return in
}

func (f *logFile) open() (io.ReadCloser, error) {
	if f.stdin != nil {
		return io.NopCloser(&counted{f.stdin, f.read}), nil
	}
	if f.err != nil {
		return nil, f.err
	}
	file, err := os.Open(f.name)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{&counted{file, f.read}, file}, nil
}

type counted struct {
	io.Reader
	n *atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// progress shows on a terminal how far the reading has come. Elsewhere it is
// silent.
type progress struct {
	out     io.Writer // nil if nothing is to be shown
	now     func() time.Time
	began   time.Time
	shown   time.Time
	read    *atomic.Int64
	total   int64 // bytes; 0 if not known
	records int
}

// progressGap is how often it is shown, and how long the reading takes before it
// is shown at all.
const progressGap = 500 * time.Millisecond

func newProgress(env *Env, files []*logFile) *progress {
	p := &progress{now: env.Now, began: env.Now(), read: files[0].read}
	p.shown = p.began
	for _, f := range files {
		p.total += f.size
		if f.stdin != nil {
			p.total = 0
			break
		}
	}
	if f, ok := env.Stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.out = f
	}
	p.read.Store(0)
	return p
}

// record counts one.
func (p *progress) record() {
	p.records++
	if p.out == nil || p.records&255 != 0 {
		return
	}
	if now := p.now(); now.Sub(p.shown) >= progressGap {
		p.shown = now
		fmt.Fprint(p.out, "\r\x1b[K", p.line(now.Sub(p.began)))
	}
}

// line says how far it is: of what is read twice, to see where a file begins, the
// share is a little too high.
func (p *progress) line(took time.Duration) string {
	rate := float64(p.records) / took.Seconds()
	if p.total == 0 {
		return fmt.Sprintf("%d records, %.1f MB, %.0f a second", p.records, float64(p.read.Load())/1e6, rate)
	}
	share := min(float64(p.read.Load())/float64(p.total), 1)
	left := time.Duration(float64(took) * (1 - share) / max(share, 1e-6)).Round(time.Second)
	return fmt.Sprintf("%3.0f %%  %d records, %.0f a second, %s left", 100*share, p.records, rate, left)
}

// end removes what is shown, and returns how long it took.
func (p *progress) end() time.Duration {
	now := p.now()
	if p.out != nil && !p.shown.Equal(p.began) {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
	return now.Sub(p.began)
}
