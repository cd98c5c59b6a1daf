package simulation

import "math/rand/v2"

// chance is a seed. What it decides is keyed by what it is about (a delivery and
// its attempt, say), never taken from a sequence that all share: so the order in
// which goroutines ask changes nothing.
type chance uint64

// The subjects of chance.
const (
	ofPlan uint64 = iota + 1
	ofWorld
	ofOp
	ofLink
	ofAnswer
	ofJitter
)

func (c chance) of(keys ...uint64) uint64 {
	h := mix(uint64(c))
	for _, k := range keys {
		h = mix(h ^ mix(k))
	}
	return h
}

// rand is a sequence for whoever asks alone.
func (c chance) rand(keys ...uint64) *rand.Rand {
	x := c.of(keys...)
	return rand.New(rand.NewPCG(x, mix(x)))
}

// mix is the finaliser of SplitMix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
