package sigma

// shelf holds the groups of one correlation; the one longest without a record
// goes first.
type shelf struct {
	used  int
	byKey map[string]*shelved
	front *shelved // had a record last
	back  *shelved
}

type shelved struct {
	key        string
	group      group
	cost       int
	prev, next *shelved
}

func newShelf() *shelf { return &shelf{byKey: map[string]*shelved{}} }

// get returns the group of a key, made new if there is none.
func (s *shelf) get(key string) *shelved {
	e := s.byKey[key]
	switch {
	case e == nil:
		e = &shelved{key: key}
		s.byKey[key] = e
	case s.front == e:
		return e
	default:
		s.unlink(e)
	}
	if e.next = s.front; e.next != nil {
		e.next.prev = e
	} else {
		s.back = e
	}
	s.front = e
	return e
}

// charge says what a group costs now, and returns by how much that is more.
func (s *shelf) charge(e *shelved, bytes int) int {
	more := bytes - e.cost
	e.cost = bytes
	s.used += more
	return more
}

// evict forgets the stalest group and returns what it took.
func (s *shelf) evict() int {
	e := s.back
	s.unlink(e)
	delete(s.byKey, e.key)
	s.used -= e.cost
	return e.cost
}

func (s *shelf) unlink(e *shelved) {
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		s.front = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	} else {
		s.back = e.prev
	}
	e.prev, e.next = nil, nil
}
