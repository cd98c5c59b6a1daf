package login

// lru holds values within a budget of bytes; the one longest unused goes first.
type lru[V any] struct {
	budget  int
	used    int
	byKey   map[string]*entry[V]
	front   *entry[V] // most recently used
	back    *entry[V]
	evicted int64
}

type entry[V any] struct {
	key        string
	value      V
	cost       int
	prev, next *entry[V]
}

func newLRU[V any](budget int) *lru[V] {
	return &lru[V]{budget: budget, byKey: map[string]*entry[V]{}}
}

// get returns the entry of key, made new if there is none.
func (l *lru[V]) get(key string) *entry[V] {
	e := l.byKey[key]
	switch {
	case e == nil:
		e = &entry[V]{key: key}
		l.byKey[key] = e
	case l.front == e:
		return e
	default:
		l.unlink(e)
	}
	if e.next = l.front; e.next != nil {
		e.next.prev = e
	} else {
		l.back = e
	}
	l.front = e
	return e
}

// find returns the value of key without using it, nil if there is none.
func (l *lru[V]) find(key string) *V {
	if e := l.byKey[key]; e != nil {
		return &e.value
	}
	return nil
}

// charge says what an entry costs now, and makes room if it has to. The entry
// itself stays.
func (l *lru[V]) charge(e *entry[V], bytes int) {
	l.used += bytes - e.cost
	e.cost = bytes
	for l.used > l.budget && l.back != e {
		oldest := l.back
		l.unlink(oldest)
		delete(l.byKey, oldest.key)
		l.used -= oldest.cost
		l.evicted++
	}
}

func (l *lru[V]) unlink(e *entry[V]) {
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		l.front = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	} else {
		l.back = e.prev
	}
	e.prev, e.next = nil, nil
}

func (l *lru[V]) len() int { return len(l.byKey) }

// kept is what of an lru is written down: the values with their keys, the one
// longest unused first, so that getting them in this order makes the same list.
type kept[V any] struct {
	Key   string
	Value V
}

func (l *lru[V]) keep() []kept[V] {
	out := make([]kept[V], 0, len(l.byKey))
	for e := l.back; e != nil; e = e.prev {
		out = append(out, kept[V]{e.key, e.value})
	}
	return out
}

func (l *lru[V]) restore(all []kept[V], cost func(key string, v *V) int) {
	for i := range all {
		e := l.get(all[i].Key)
		e.value = all[i].Value
		l.charge(e, cost(e.key, &e.value))
	}
}
