package deliver

import "github.com/cybervault/cybervault"

// The reserve is a few places above the window, for deliveries that are severe:
// they enter at once, at birth or by a claim of their own, while a backlog of
// others fills the window and waits in the store. Which of a lane's severe
// deliveries stand in it does not matter, so they are only counted. Whichever
// leaves frees a place of the window first: however many severe ones come after
// it, the window gets the room in which others are claimed.

// spare is what is taken of the reserve.
type spare struct {
	held     int // by deliveries that wait
	promised int // to those being committed
	severe   int // how many severe ones wait at all
}

// keep ends a promise, if there was one.
func (s *spare) keep() bool {
	if s.promised == 0 {
		return false
	}
	s.promised--
	return true
}

// enter and leave are told of each delivery that waits, and waits no longer.
func (s *spare) enter(a *cybervault.Assignment, reserved bool) {
	if !severe(a) {
		return
	}
	s.severe++
	if reserved {
		s.held++
	}
}

func (s *spare) leave(a *cybervault.Assignment) {
	if severe(a) {
		s.severe--
		s.held = min(s.held, s.severe)
	}
}

// regular is how many places of the window proper are taken.
func (l *lane) regular() int { return l.waiting() - l.spare.held + l.reserved - l.spare.promised }

// room is how many places the reserve has left.
func (l *lane) room() int {
	if l.health.Breaker != cybervault.BreakerClosed {
		return 0 // the probe is all there is
	}
	return max(l.paced(reserve)-l.spare.held-l.spare.promised, 0)
}
