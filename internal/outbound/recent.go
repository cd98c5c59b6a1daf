package outbound

import "sync"

// recent remembers what was used lately, within a bound: up to limit entries
// used since it last turned over, and as many from before. What is used in
// neither time is forgotten, without a list to be kept in order. Its zero value
// with a limit is ready for use.
type recent[K comparable, V any] struct {
	limit int
	mu    sync.RWMutex
	young map[K]V
	old   map[K]V
}

func (r *recent[K, V]) get(key K) (V, bool) {
	r.mu.RLock()
	value, ok := r.young[key]
	if !ok {
		value, ok = r.old[key]
		r.mu.RUnlock()
		if ok {
			r.put(key, value)
		}
		return value, ok
	}
	r.mu.RUnlock()
	return value, ok
}

func (r *recent[K, V]) put(key K, value V) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.young == nil || len(r.young) >= r.limit {
		r.young, r.old = make(map[K]V), r.young
	}
	r.young[key] = value
}

func (r *recent[K, V]) forget(key K) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.young, key)
	delete(r.old, key)
}
