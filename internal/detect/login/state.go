package login

import (
	"encoding/gob"
	"fmt"
	"io"
)

// stateVersion is of the form that Save writes. A state of another form is not
// read: windows that begin anew are better than windows read wrongly.
const stateVersion = 1

// state is a tracker written down.
type state struct {
	Version   int
	Addresses []kept[address]
	Crowds    []kept[crowd]
	Profiles  []kept[profile]
	Factors   []kept[factor]
	Evicted   [4]int64
	Late      int64
}

// Save writes down what the tracker remembers.
func (t *Tracker) Save(w io.Writer) error {
	return gob.NewEncoder(w).Encode(state{
		Version: stateVersion, Addresses: t.addresses.keep(), Crowds: t.crowds.keep(), Profiles: t.profiles.keep(), Factors: t.factors.keep(),
		Evicted: [4]int64{t.addresses.evicted, t.crowds.evicted, t.profiles.evicted, t.factors.evicted}, Late: t.late,
	})
}

// Load returns a tracker that remembers what was saved.
func Load(r io.Reader) (*Tracker, error) {
	var s state
	if err := gob.NewDecoder(r).Decode(&s); err != nil {
		return nil, fmt.Errorf("the windows of logins cannot be read: %w", err)
	}
	if s.Version != stateVersion {
		return nil, fmt.Errorf("the windows of logins are of form %d, not %d", s.Version, stateVersion)
	}
	t := NewTracker()
	t.addresses.restore(s.Addresses, costOfAddress)
	t.crowds.restore(s.Crowds, costOfCrowd)
	t.profiles.restore(s.Profiles, costOfProfile)
	t.factors.restore(s.Factors, costOfFactor)
	t.addresses.evicted, t.crowds.evicted, t.profiles.evicted, t.factors.evicted = s.Evicted[0], s.Evicted[1], s.Evicted[2], s.Evicted[3]
	t.late = s.Late
	return t, nil
}
