package login

import "container/list"

// lru holds at most limit values; the one longest unused goes first.
type lru[V any] struct {
	limit   int
	byKey   map[string]*list.Element
	recent  *list.List // most recently used in front
	evicted int64
}

type lruEntry[V any] struct {
	key   string
	value V
}

func newLRU[V any](limit int) *lru[V] {
	return &lru[V]{limit: limit, byKey: map[string]*list.Element{}, recent: list.New()}
}

// get returns the value of key, made new if there is none.
func (l *lru[V]) get(key string) *V {
	if el := l.byKey[key]; el != nil {
		l.recent.MoveToFront(el)
		return &el.Value.(*lruEntry[V]).value
	}
	if len(l.byKey) >= l.limit {
		oldest := l.recent.Back()
		delete(l.byKey, oldest.Value.(*lruEntry[V]).key)
		l.recent.Remove(oldest)
		l.evicted++
	}
	e := &lruEntry[V]{key: key}
	l.byKey[key] = l.recent.PushFront(e)
	return &e.value
}

func (l *lru[V]) len() int { return len(l.byKey) }
