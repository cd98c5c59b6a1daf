package sketch

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"math"
	"testing"
)

func filled(from, n int) *Distinct {
	d := &Distinct{}
	for i := range n {
		d.Add(fmt.Sprint("10.0.", from+i))
		d.Add(fmt.Sprint("10.0.", from+i))
	}
	return d
}

func TestCount(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 255, 256} {
		if got := filled(0, n).Count(); got != n {
			t.Errorf("%d counted as %d", n, got)
		}
	}
	for _, n := range []int{257, 1000, 5000, 12000, 100000, 1000000} {
		d := filled(7, n)
		if got := d.Count(); math.Abs(float64(got-n)) > 0.05*float64(n) {
			t.Errorf("%d counted as %d", n, got)
		}
		if len(d.Registers) != registers || d.Exact != nil {
			t.Errorf("%d values are held in %d registers and %d exact", n, len(d.Registers), len(d.Exact))
		}
	}
}

func TestAddSaysWhatIsNew(t *testing.T) {
	t.Parallel()
	var d Distinct
	if !d.Add("a") || d.Add("a") || !d.Add("b") {
		t.Error("few values are not told apart")
	}
}

func TestMerge(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ a, b, from, want int }{
		{10, 20, 5, 25}, {200, 200, 0, 200}, {200, 100, 150, 250}, {200, 200, 100, 300}, {5000, 20, 4990, 5010}, {20, 5000, 10, 5010}, {5000, 5000, 2500, 7500},
	} {
		d := filled(0, c.a)
		d.Merge(filled(c.from, c.b))
		if got := d.Count(); math.Abs(float64(got-c.want)) > 0.05*float64(c.want) {
			t.Errorf("%+v: %d", c, got)
		}
	}
}

func TestItIsKept(t *testing.T) {
	t.Parallel()
	for _, n := range []int{3, 3000} {
		var b bytes.Buffer
		was, is := filled(0, n), &Distinct{}
		if err := gob.NewEncoder(&b).Encode(was); err != nil {
			t.Fatal(err)
		}
		if err := gob.NewDecoder(&b).Decode(is); err != nil {
			t.Fatal(err)
		}
		if is.Merge(filled(0, n)); is.Count() != was.Count() {
			t.Errorf("%d values became %d", was.Count(), is.Count())
		}
	}
}
