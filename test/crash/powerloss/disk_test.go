package powerloss

import (
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// sector is what a disk writes as a whole or not at all.
const sector = 512

// A disk is what is on it for certain, and what may be.
type disk struct {
	files map[string]*content // as programs see them
	names map[string]*content // as the directory on the disk has them
	moves []operation         // of the directory, since it was synced
	moved []*content          // what each is about
}

// content is a file without its name.
type content struct {
	synced []byte
	since  []operation // writes and truncations
}

func newDisk() *disk { return &disk{files: map[string]*content{}, names: map[string]*content{}} }

// do does an operation.
func (d *disk) do(op operation) {
	switch op.kind {
	case create:
		d.files[op.file] = &content{}
		d.move(op, d.files[op.file])
	case remove:
		d.move(op, nil)
		delete(d.files, op.file)
	case syncDir:
		d.names, d.moves, d.moved = maps.Clone(d.files), nil, nil
	case write, truncate:
		d.files[op.file].since = append(d.files[op.file].since, op)
	case sync_:
		c := d.files[op.file]
		for _, op := range c.since {
			c.synced = op.on(c.synced)
		}
		c.since = nil
	}
}

func (d *disk) move(op operation, c *content) {
	d.moves, d.moved = append(d.moves, op), append(d.moved, c)
}

// on does a write or a truncation to what a file holds.
func (op operation) on(bytes []byte) []byte {
	end := op.at + int64(len(op.data))
	if more := end - int64(len(bytes)); more > 0 {
		bytes = append(bytes, make([]byte, more)...)
	}
	if op.kind == truncate {
		return bytes[:op.at]
	}
	copy(bytes[op.at:], op.data)
	return bytes
}

// A fate says what becomes of what was not synced.
type fate struct {
	name  string
	keeps float64 // the part of operations that is on the disk
	tears bool    // those that are not may be in part, sector by sector
	junk  bool    // where a file grew and nothing was written, there may be anything
}

var fates = []fate{
	{name: "nothing that was not synced", keeps: 0},
	{name: "all of it", keeps: 1},
	{name: "half of it", keeps: 0.5},
	{name: "most of it", keeps: 0.9},
	{name: "little of it, torn", keeps: 0.1, tears: true},
	{name: "half of it, torn, among junk", keeps: 0.5, tears: true, junk: true},
}

// lay writes to a directory what is found on the disk after the power was cut.
func (d *disk) lay(t *testing.T, dir string, f fate, random *rand.Rand) {
	t.Helper()
	names := maps.Clone(d.names)
	n := len(d.moves) // a file system keeps their order
	if f.keeps < 1 {
		n = random.IntN(len(d.moves) + 1)
		if f.keeps == 0 {
			n = 0
		}
	}
	for i, op := range d.moves[:n] {
		if op.kind == create {
			names[op.file] = d.moved[i]
		} else {
			delete(names, op.file)
		}
	}
	for name, c := range names {
		if err := os.WriteFile(filepath.Join(dir, name), c.after(f, random), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// after is what a file holds after the power was cut.
func (c *content) after(f fate, random *rand.Rand) []byte {
	bytes := append([]byte(nil), c.synced...)
	for _, op := range c.since {
		switch {
		case random.Float64() < f.keeps:
			bytes = op.on(bytes)
		case op.kind == write && f.tears:
			bytes = op.torn(bytes, int64(len(c.synced)), f.junk, random)
		}
	}
	return bytes
}

// torn writes some sectors of a write.
func (op operation) torn(bytes []byte, synced int64, junk bool, random *rand.Rand) []byte {
	for at := op.at; at < op.at+int64(len(op.data)); {
		n := min(sector-at%sector, op.at+int64(len(op.data))-at)
		part := operation{kind: write, at: at, data: op.data[at-op.at : at-op.at+n]}
		switch {
		case random.IntN(2) == 0:
			bytes = part.on(bytes)
		case junk && at >= synced:
			part.data = make([]byte, n)
			for i := range part.data {
				part.data[i] = byte(random.Uint32())
			}
			bytes = part.on(bytes)
		}
		at += n
	}
	return bytes
}
