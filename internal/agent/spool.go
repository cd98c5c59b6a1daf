package agent

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// spool is what was read and is not with the server yet: a file a batch, named by its
// number. It is bounded: who would write more waits. Safe for concurrent use.
type spool struct {
	dir  string
	most int64
	log  *slog.Logger

	mu      sync.Mutex
	changed chan struct{} // closed when a batch comes or goes
	batches []batchFile   // oldest first
	bytes   int64
	next    int64
}

type batchFile struct {
	number int64
	size   int64
}

// batch is lines on their way.
type batch struct {
	batchFile

	lines []byte
}

const (
	batchSuffix   = ".lines"
	refusedSuffix = ".refused"
	maxRefused    = 10 // batches that the server did not take, kept to be looked at
)

// openSpool finds what an earlier run left.
func openSpool(dir string, most int64, log *slog.Logger) (*spool, error) {
	s := &spool{dir: dir, most: most, log: log, changed: make(chan struct{}), next: 1}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), batchSuffix)
		n, err := strconv.ParseInt(name, 10, 64)
		if !ok || err != nil {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		s.batches = append(s.batches, batchFile{n, info.Size()})
		s.bytes += info.Size()
		s.next = max(s.next, n+1)
	}
	slices.SortFunc(s.batches, func(a, b batchFile) int { return int(a.number - b.number) })
	return s, nil
}

func (s *spool) path(n int64, suffix string) string {
	return filepath.Join(s.dir, fmt.Sprintf("%016d%s", n, suffix))
}

// full reports whether there is no room for more.
func (s *spool) full() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes >= s.most
}

// add keeps lines on the disk.
func (s *spool) add(lines []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := writeFile(s.path(s.next, batchSuffix), lines); err != nil {
		return err
	}
	s.batches, s.bytes = append(s.batches, batchFile{s.next, int64(len(lines))}), s.bytes+int64(len(lines))
	s.next++
	s.signal()
	return nil
}

func (s *spool) signal() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// oldest waits for a batch and returns the oldest one, which stays until it is removed;
// or ctx ended.
func (s *spool) oldest(ctx context.Context) (b batch, ok bool) {
	for {
		s.mu.Lock()
		changed := s.changed
		var first *batchFile
		if len(s.batches) > 0 {
			first = &s.batches[0]
		}
		b = batch{}
		if first != nil {
			b.batchFile = *first
		}
		s.mu.Unlock()
		if first == nil {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return batch{}, false
			}
		}
		lines, err := os.ReadFile(s.path(b.number, batchSuffix))
		if err == nil {
			b.lines = lines
			return b, true
		}
		s.log.Error("a batch of lines cannot be read, and is lost", slog.Int64("bytes", b.size), slog.Any("error", err))
		s.remove(b)
	}
}

// remove forgets a batch that the server has.
func (s *spool) remove(b batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := os.Remove(s.path(b.number, batchSuffix)); err != nil && !os.IsNotExist(err) {
		s.log.Error("a batch of lines that the server has cannot be removed, and may be sent again", slog.Any("error", err))
	}
	s.forget(b)
}

func (s *spool) forget(b batch) {
	if i := slices.IndexFunc(s.batches, func(f batchFile) bool { return f.number == b.number }); i >= 0 {
		s.batches = slices.Delete(s.batches, i, i+1)
		s.bytes -= b.size
	}
	s.signal()
}

// setAside keeps a batch that the server will never take, where a person may look at it,
// and says so. The oldest of them make room.
func (s *spool) setAside(b batch, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log.Error("the server does not take a batch of lines; it is set aside", slog.Any("error", why), slog.Int("lines", bytes.Count(b.lines, []byte("\n"))), slog.String("file", s.path(b.number, refusedSuffix)))
	if err := os.Rename(s.path(b.number, batchSuffix), s.path(b.number, refusedSuffix)); err != nil {
		s.log.Error("it cannot be set aside", slog.Any("error", err))
		_ = os.Remove(s.path(b.number, batchSuffix)) // or it would be tried for ever
	}
	s.forget(b)
	kept, err := filepath.Glob(filepath.Join(s.dir, "*"+refusedSuffix))
	if err != nil || len(kept) <= maxRefused {
		return
	}
	slices.Sort(kept)
	for _, old := range kept[:len(kept)-maxRefused] {
		_ = os.Remove(old) // what cannot be removed is removed next time
	}
}
