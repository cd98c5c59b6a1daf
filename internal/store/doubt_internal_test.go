package store

import (
	"errors"
	"sync/atomic"
)

// doubtfulSession loses the answer to a commit when it is told to.
type doubtfulSession struct {
	session
	lose *atomic.Int32
}

const (
	answersArrive = iota
	loseMade      // the next commit is made, and its answer lost
	loseUnmade    // it is not made, and nor is that told
)

func (s doubtfulSession) transact(fn func(transaction) error) error {
	lost := errors.Join(errInDoubt, errors.New("the network was cut"))
	switch s.lose.Swap(answersArrive) {
	case loseMade:
		return errors.Join(s.session.transact(fn), lost)
	case loseUnmade:
		return errors.Join(s.session.transact(func(tx transaction) error { return errors.Join(fn(tx), errors.New("rolled back")) }), lost)
	}
	return s.session.transact(fn)
}

// LoseAnswers makes the store, which nobody uses yet, lose answers when the
// function that it returns says so.
func (s *Store) LoseAnswers() (lose func(made bool), err error) {
	var next atomic.Int32
	open := s.w.open
	s.w.close()
	s.w, err = startWriter(s, 1, func() (session, error) {
		inner, err := open()
		return doubtfulSession{inner, &next}, err
	})
	return func(made bool) {
		if made {
			next.Store(loseMade)
		} else {
			next.Store(loseUnmade)
		}
	}, err
}
