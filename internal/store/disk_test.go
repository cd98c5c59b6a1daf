package store_test

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/store"
)

const mebibyte = 1 << 20

// reserved is a store on a disk with as much room as the test says.
func reserved(t *testing.T, free *atomic.Int64) *store.Store {
	t.Helper()
	cfg := sqliteConfig(t)
	cfg.DiskReserve = 256 * mebibyte
	cfg.DiskFree = func(string) (int64, error) { return free.Load(), nil }
	return open(t, cfg)
}

// Below the reserve nothing is admitted, while what was accepted is recorded;
// above it, with an eighth to spare, publishing goes on by itself.
func TestTheDiskReserve(t *testing.T) {
	t.Parallel()
	var free atomic.Int64
	free.Store(300 * mebibyte)
	s := reserved(t, &free)
	x := newSource(t, s)
	if err := s.Admit(1000); err != nil {
		t.Fatal(err)
	}
	pub := x.mustPublish()

	free.Store(120 * mebibyte)
	if d := s.CheckDisk(); !d.Low || d.Free != 120*mebibyte || d.Reserve != 256*mebibyte {
		t.Errorf("the disk: %+v", d)
	}
	err := s.Admit(1000)
	wantCode(t, err, cybervault.CodeUnavailable)
	for _, part := range []string{"120 MiB free", "the reserve of 256 MiB", "--disk-reserve", "nothing was kept"} {
		if err != nil && !strings.Contains(err.Error(), part) {
			t.Errorf("the refusal does not say %q: %v", part, err)
		}
	}
	if err := <-x.record(pub); err != nil {
		t.Errorf("a result while the disk is low: %v", err)
	}
	x.mustPublish() // what the server itself must tell

	free.Store(270 * mebibyte) // above the reserve, not yet by an eighth
	s.CheckDisk()
	wantCode(t, s.Admit(1), cybervault.CodeUnavailable)
	free.Store(300 * mebibyte)
	if d := s.CheckDisk(); d.Low || d.Problem != "" {
		t.Errorf("with room again: %+v", d)
	}
	if err := s.Admit(1); err != nil {
		t.Error(err)
	}
	if refused := s.Stats().RefusedDisk; refused != 2 {
		t.Errorf("%d refusals are counted, want 2", refused)
	}
}

// A burst that could use the room up between two looks is noticed by its bytes.
func TestTheDiskReserveCountsWhatItAdmits(t *testing.T) {
	t.Parallel()
	var free atomic.Int64
	free.Store(300 * mebibyte)
	s := reserved(t, &free)
	free.Store(200 * mebibyte)
	admitted := 0
	for s.Admit(mebibyte) == nil {
		if admitted++; admitted > 100 {
			t.Fatal("100 MiB were admitted on a disk with less")
		}
	}
	if admitted < 10 || admitted > 22 {
		t.Errorf("%d MiB were admitted into the 44 MiB above the reserve", admitted)
	}
}

func TestNoDiskReserve(t *testing.T) {
	t.Parallel()
	cfg := sqliteConfig(t)
	cfg.DiskFree = func(string) (int64, error) { return 0, nil }
	s := open(t, cfg)
	if err := s.Admit(1 << 40); err != nil {
		t.Error(err)
	}
	if d := s.CheckDisk(); d.Low {
		t.Errorf("the disk: %+v", d)
	}
}
