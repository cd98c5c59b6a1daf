package receiver

import (
	"context"
	"sync"
)

// Store remembers which events were handled. A receiver that runs as several
// processes, or must not handle an event again after a restart, implements it
// over the database that it keeps its own results in, best in one transaction
// with them. Implementations are safe for concurrent use.
type Store interface {
	// Claim asks to handle the event of this key, and answers ClaimFresh to
	// one caller only until Done or Release follows. A claim whose process
	// died should end by itself after a while.
	Claim(ctx context.Context, key string) (Claim, error)
	// Done keeps that the event was handled and ends the claim.
	Done(ctx context.Context, key string) error
	// Release ends the claim of an event whose handling failed, so that it is
	// handled when it comes again.
	Release(ctx context.Context, key string) error
}

// Claim is a Store's answer.
type Claim int

// The answers to a claim. The zero value is none of them.
const (
	ClaimFresh   Claim = iota + 1 // handle it
	ClaimBusy                     // it is being handled at the moment
	ClaimHandled                  // it was handled
)

// DefaultMemory is how many handled events a MemoryStore remembers unless told.
const DefaultMemory = 100_000

// MemoryStore is a Store in memory, for a receiver that is one process. It
// forgets the events that were handled longest ago when it is full, and all
// when the process ends. Events that are being handled are never forgotten;
// there are as many as requests under way.
type MemoryStore struct {
	most int

	mu      sync.Mutex
	busy    map[string]struct{}
	handled map[string]struct{}
	order   []string // the keys of handled: a ring once it holds the most
	oldest  int      // in a full ring, the key handled longest ago
}

var _ Store = (*MemoryStore)(nil)

// NewMemoryStore returns a store that remembers up to most handled
// events; zero or less means DefaultMemory. One takes some 300 bytes.
func NewMemoryStore(most int) *MemoryStore {
	if most <= 0 {
		most = DefaultMemory
	}
	return &MemoryStore{most: most, busy: map[string]struct{}{}, handled: map[string]struct{}{}}
}

// Claim implements Store. It never fails.
func (s *MemoryStore) Claim(_ context.Context, key string) (Claim, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.handled[key]; ok {
		return ClaimHandled, nil
	}
	if _, ok := s.busy[key]; ok {
		return ClaimBusy, nil
	}
	s.busy[key] = struct{}{}
	return ClaimFresh, nil
}

// Done implements Store. It never fails.
func (s *MemoryStore) Done(_ context.Context, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.busy, key)
	if _, ok := s.handled[key]; ok {
		return nil
	}
	s.handled[key] = struct{}{}
	if len(s.order) < s.most {
		s.order = append(s.order, key)
		return nil
	}
	delete(s.handled, s.order[s.oldest])
	s.order[s.oldest] = key
	s.oldest = (s.oldest + 1) % s.most
	return nil
}

// Release implements Store. It never fails.
func (s *MemoryStore) Release(_ context.Context, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.busy, key)
	return nil
}
