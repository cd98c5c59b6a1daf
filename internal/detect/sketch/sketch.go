// Package sketch counts different values in bounded memory: exactly while they
// are few, and by estimate beyond.
//
// It stands within the detect stage, where thresholds ask how many different
// addresses, accounts or values there were. It knows nothing of what the values
// are, and never forgets one: whoever holds a Distinct says when it begins anew.
package sketch

import (
	"math"
	"math/bits"
)

// MaxExact is how many values are told apart exactly.
const MaxExact = 256

// precision is the number of bits that choose a register: 4,096 registers err by
// 1.04/64, 1.6 % in the mean.
const (
	precision = 12
	registers = 1 << precision
)

// Distinct counts different values. The zero value has seen none. It is not safe
// for concurrent use. Its fields are exported for encoding alone.
//
// Beyond MaxExact values it is the HyperLogLog of Flajolet et al. (2007), with
// linear counting for small numbers.
type Distinct struct {
	Exact     map[uint64]struct{}
	Registers []uint8
}

// Add takes in a value and reports whether it was new, as far as that is known.
func (d *Distinct) Add(value string) bool {
	h := hash(value)
	if d.Registers == nil {
		if _, known := d.Exact[h]; known {
			return false
		}
		if len(d.Exact) < MaxExact {
			if d.Exact == nil {
				d.Exact = make(map[uint64]struct{}, 4)
			}
			d.Exact[h] = struct{}{}
			return true
		}
		d.Registers = make([]uint8, registers)
		for known := range d.Exact {
			d.register(known)
		}
		d.Exact = nil
	}
	return d.register(h)
}

// Count returns the number of different values.
func (d *Distinct) Count() int {
	if d.Registers == nil {
		return len(d.Exact)
	}
	var ranks [256]int
	for _, r := range d.Registers {
		ranks[r]++
	}
	sum, zeros := 0.0, ranks[0]
	for r, n := range ranks[:64-precision+2] {
		sum += math.Ldexp(float64(n), -r)
	}
	const alpha = 0.7213 / (1 + 1.079/registers)
	estimate := alpha * registers * registers / sum
	if estimate <= 2.5*registers && zeros > 0 {
		estimate = registers * math.Log(registers/float64(zeros))
	}
	return max(MaxExact+1, int(estimate+0.5)) // it has seen more than MaxExact
}

// Merge takes in what another has seen.
func (d *Distinct) Merge(other *Distinct) {
	for h := range other.Exact {
		d.add(h)
	}
	if other.Registers == nil {
		return
	}
	if d.Registers == nil {
		d.Registers = make([]uint8, registers)
		for h := range d.Exact {
			d.register(h)
		}
		d.Exact = nil
	}
	for i, r := range other.Registers {
		d.Registers[i] = max(d.Registers[i], r)
	}
}

func (d *Distinct) add(h uint64) {
	if d.Registers != nil {
		d.register(h)
		return
	}
	if d.Exact == nil {
		d.Exact = map[uint64]struct{}{}
	}
	d.Exact[h] = struct{}{}
	if len(d.Exact) <= MaxExact {
		return
	}
	d.Registers = make([]uint8, registers)
	for known := range d.Exact {
		d.register(known)
	}
	d.Exact = nil
}

func (d *Distinct) register(h uint64) bool {
	i := h >> (64 - precision)
	rank := uint8(bits.LeadingZeros64(h<<precision|1<<(precision-1)) + 1)
	if rank <= d.Registers[i] {
		return false
	}
	d.Registers[i] = rank
	return true
}

// hash is FNV-1a with a final mix (that of SplitMix64), so that all bits depend on
// all bytes; it is the same in every process, since counts outlive one.
func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
