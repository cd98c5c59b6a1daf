package merge_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/telemetry"
	"github.com/cybervault/cybervault/internal/telemetry/merge"
)

var day = time.Date(2026, 3, 10, 0, 0, 0, 0, time.UTC)

// line is a line of a system log, at so many seconds into the day.
func line(second int, text string) string {
	return day.Add(time.Duration(second)*time.Second).Format(time.RFC3339) + " host app[1]: " + text + "\n"
}

func input(name, text string) merge.Input {
	return merge.Input{Name: name, Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }}
}

func read(t *testing.T, inputs ...merge.Input) ([]string, merge.Report) {
	t.Helper()
	var got []string
	report, err := merge.Read(t.Context(), inputs, telemetry.Options{}, func(r *cybervault.Record) error {
		got = append(got, r.Fields[cybervault.FieldMessage])
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got, report
}

func TestInputsAreOne(t *testing.T) {
	t.Parallel()
	got, report := read(t,
		input("late", line(500, "f")+line(600, "g")),
		input("a", line(10, "a")+line(30, "c")+line(20, "b")+"not a line\n"+line(400, "e")),
		input("b", line(30, "d")),
		input("empty", ""),
	)
	if want := []string{"a", "b", "c", "d", "e", "f", "g"}; !slices.Equal(got, want) {
		t.Errorf("read as %v, want %v", got, want)
	}
	if report.Late != 0 || report.Inputs[1].Summary.Records != 4 || report.Inputs[1].Summary.Unreadable != 1 || report.Inputs[3].Err != nil {
		t.Errorf("reported %+v", report)
	}
}

// The same files give the same times, also to records that name none.
func TestARecordWithoutATime(t *testing.T) {
	t.Parallel()
	request := func(path string) string { return `{"method":"GET","url":"` + path + `"}` + "\n" }
	written := day.Add(time.Hour)
	in := input("a", request("/a")+`{"method":"GET","url":"/b","timestamp":"2026-03-10T00:00:07Z"}`+"\n"+request("/c"))
	in.Now = func() time.Time { return written }
	var got []string
	_, err := merge.Read(t.Context(), []merge.Input{in, input("b", request("/d"))}, telemetry.Options{}, func(r *cybervault.Record) error {
		got = append(got, r.Fields[cybervault.FieldWebStem]+" "+r.Time.Format("15:04:05"))
		return nil
	})
	if want := []string{"/d 00:00:00", "/b 00:00:07", "/c 00:00:07", "/a 01:00:00"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("read as %v, want %v; %v", got, want, err)
	}
}

// Whatever the readers' speeds, the order is that of a stable sort by time.
func TestOrderIsThatOfASort(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 1))
		type entry struct {
			second int
			text   string
		}
		var all []entry
		var inputs []merge.Input
		for i := range 1 + rng.IntN(6) {
			var b strings.Builder
			second := rng.IntN(20000)
			for n := range rng.IntN(900) {
				second += rng.IntN(3)
				e := entry{max(0, second-rng.IntN(100)), fmt.Sprintf("%d.%d", i, n)}
				all = append(all, e)
				b.WriteString(line(e.second, e.text))
			}
			inputs = append(inputs, input("", b.String()))
		}
		slices.SortStableFunc(all, func(a, b entry) int { return a.second - b.second })
		got, report := read(t, inputs...)
		if len(got) != len(all) || report.Late != 0 {
			t.Fatalf("seed %d: %d records of %d, %d late", seed, len(got), len(all), report.Late)
		}
		for i := range all {
			if got[i] != all[i].text {
				t.Fatalf("seed %d: record %d is %s, want %s", seed, i, got[i], all[i].text)
			}
		}
	}
}

// A stamp of the far future holds nothing up, and what is further from its place
// than the window reaches is handed on all the same, and counted.
func TestBeyondTheWindow(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(line(80000, "future"))
	for i := range 10000 {
		b.WriteString(line(i+5, "x"))
	}
	b.WriteString(line(1, "late"))
	got, report := read(t, input("a", b.String()), input("b", line(3, "b")))
	if len(got) != 10003 || got[0] != "b" || got[len(got)-1] != "future" {
		t.Errorf("%d records, first %s, last %s", len(got), got[0], got[len(got)-1])
	}
	if report.Late != 1 {
		t.Errorf("%d late", report.Late)
	}
}

func TestAnInputThatFails(t *testing.T) {
	t.Parallel()
	broken := errors.New("it is broken")
	got, report := read(t,
		merge.Input{Name: "gone", Open: func() (io.ReadCloser, error) { return nil, broken }},
		merge.Input{Name: "cut", Open: func() (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(strings.NewReader(line(2, "b")), failing{broken})), nil
		}},
		input("sound", line(1, "a")+line(3, "c")))
	if !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("read %v", got)
	}
	for i, want := range []error{broken, broken, nil} {
		if !errors.Is(report.Inputs[i].Err, want) {
			t.Errorf("%s: %v", report.Inputs[i].Name, report.Inputs[i].Err)
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// Of a thousand files few are open at a time, and one that can be read only once is.
func TestFewAreOpen(t *testing.T) {
	t.Parallel()
	var open, most, once atomic.Int64
	var inputs []merge.Input
	for i := range 1000 {
		inputs = append(inputs, merge.Input{Open: func() (io.ReadCloser, error) {
			most.Store(max(most.Load(), open.Add(1)))
			return &closing{strings.NewReader(line(0, "x") + line(i, "x") + line(2000, "x")), &open}, nil
		}})
	}
	inputs = append(inputs, merge.Input{Once: true, Open: func() (io.ReadCloser, error) {
		once.Add(1)
		return io.NopCloser(strings.NewReader(line(1, "x"))), nil
	}})
	got, report := read(t, inputs...)
	if len(got) != 3001 || open.Load() != 0 || most.Load() > merge.MaxOpen || once.Load() != 1 {
		t.Errorf("%d records; open: %d at most, %d left; read %d times", len(got), most.Load(), open.Load(), once.Load())
	}
	if report.Late == 0 {
		t.Error("what waited for its turn is not told of")
	}
}

type closing struct {
	io.Reader
	open *atomic.Int64
}

func (c *closing) Close() error {
	c.open.Add(-1)
	return nil
}

func TestReadIsStopped(t *testing.T) {
	t.Parallel()
	stop := errors.New("stop")
	many := strings.Repeat(line(1, "x"), 20000)
	n := 0
	_, err := merge.Read(t.Context(), []merge.Input{input("a", many), input("b", many)}, telemetry.Options{}, func(*cybervault.Record) error {
		if n++; n == 10 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) {
		t.Errorf("ended with %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err = merge.Read(ctx, []merge.Input{input("a", many), input("b", many)}, telemetry.Options{}, func(*cybervault.Record) error {
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}
