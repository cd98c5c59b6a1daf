package store

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestMissingDays(t *testing.T) {
	t.Parallel()
	day := func(n int) partition { return dayOf(time.Date(2026, 3, n, 5, 0, 0, 0, time.UTC)) }
	first := partition{name: firstPartition, to: day(3).from}
	have := []partition{first, day(5)}
	missing := missingDays([]partition{day(2), day(3), day(4), day(5), day(6)}, have)
	if !slices.Equal(missing, []partition{day(3), day(4), day(6)}) {
		t.Errorf("missing are %+v", missing)
	}
	if wide := day(3).widened(28, have); wide.from != day(3).from || wide.to != day(5).from || wide.name != "20260303" {
		t.Errorf("widened to %+v, into the next partition", wide)
	}
	if wide := day(6).widened(28, have); wide.to != day(6+28).from {
		t.Errorf("widened to %+v, want 28 days", wide)
	}
}

func TestLockRoom(t *testing.T) {
	t.Parallel()
	if warning := lockRoom(64*100, 100, 36); warning != "" {
		t.Errorf("30 days in a PostgreSQL as it is installed: %s", warning)
	}
	if warning := lockRoom(64*100, 100, 90); !strings.Contains(warning, "max_locks_per_transaction to 98 ") {
		t.Errorf("90 days in a PostgreSQL as it is installed: %q", warning)
	}
	if warning := lockRoom(98*100, 100, 90); warning != "" {
		t.Errorf("with what was asked for: %s", warning)
	}
}
