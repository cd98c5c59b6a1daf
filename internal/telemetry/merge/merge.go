// Package merge reads many inputs of telemetry as one, in the order of event
// time.
//
// It stands beside telemetry, before detect, where files are looked at after the
// fact: the window of a detection must see the records of all hosts as they came.
// The order depends on the inputs alone, never on which was read faster. It owns
// no format and opens nothing itself; it never drops a record, and never holds
// more of them than its bounds say.
package merge

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/telemetry"
)

// Bounds of what is held to put it in order. They are shared by the inputs.
const (
	// MaxOpen is how many inputs are read at the same time. Where more than that
	// overlap in time, the later ones wait for an earlier one to end, and their
	// records come late.
	MaxOpen = 128

	maxWindow   = 4096  // records of one input that may change places
	minWindow   = 256   // also with very many inputs
	heldRecords = 65536 // of all inputs, but for minWindow each
	heldBytes   = 64 << 20
	minBytes    = 256 << 10

	chunk = 64 // records that a reader hands over at once
)

// Input is a file, or whatever else can be read from its start.
type Input struct {
	Name string
	// Open is called once more at the start, to see where the input begins in
	// time, unless Once says that it can only be read once.
	Open func() (io.ReadCloser, error)
	Once bool
	// Now tells the year of stamps that have none, and the time of records before
	// any that has one. If it is nil that of the options does the former, and the
	// latter stay without.
	Now func() time.Time
}

// Report says what was read.
type Report struct {
	Inputs []InputReport // in the order of the inputs
	// Late counts records that were handed on after a later one: they were further
	// from their place than the window reaches.
	Late int
}

// InputReport says what was read of one input.
type InputReport struct {
	Name    string
	Summary telemetry.Summary
	// Err is why the input was not read to its end. What came before it was
	// handed on.
	Err error
}

// Read hands the records of all inputs to yield, ordered by their times; those of
// equal time in the order of the inputs, and of the input. A record without a
// time is given that of the one before it.
//
// An input that fails spoils no other; its report says why. The error of Read is
// the yield's, or the context's.
func Read(ctx context.Context, inputs []Input, options telemetry.Options, yield func(*cybervault.Record) error) (Report, error) {
	ctx, cancel := context.WithCancel(ctx)
	m := merger{
		options: options, report: Report{Inputs: make([]InputReport, len(inputs))},
		window: min(max(heldRecords/max(len(inputs), 1), minWindow), maxWindow), bytes: max(heldBytes/max(len(inputs), 1), minBytes),
	}
	defer m.close()
	defer cancel()
	for i := range inputs {
		m.report.Inputs[i].Name = inputs[i].Name
		s := &source{index: i, input: &inputs[i], report: &m.report.Inputs[i]}
		if len(inputs) > 1 && !s.input.Once {
			if err := m.peek(ctx, s); err != nil {
				return m.report, err
			}
			if s.report.Err != nil {
				continue
			}
		}
		m.waiting.add(s)
	}
	err := m.run(ctx, yield)
	return m.report, err
}

// merger is the state of one Read.
type merger struct {
	options       telemetry.Options
	window, bytes int
	report        Report
	waiting       sources // not open yet
	open          sources
	last          time.Time // of the records handed on, the latest
}

func (m *merger) run(ctx context.Context, yield func(*cybervault.Record) error) error {
	for {
		if err := m.openDue(ctx); err != nil {
			return err
		}
		s := m.open.first()
		if s == nil {
			return ctx.Err()
		}
		it := s.held.pop()
		s.bytes -= len(it.rec.Raw)
		if it.at.Before(m.last) {
			m.report.Late++
		}
		m.last = latest(m.last, it.at)
		if err := yield(it.rec); err != nil {
			return err
		}
		if err := m.fill(ctx, s); err != nil {
			return err
		}
		if len(s.held) == 0 {
			m.open.removeFirst()
			continue
		}
		m.open.fixFirst()
	}
}

// openDue opens what begins before the first record at hand.
func (m *merger) openDue(ctx context.Context) error {
	for {
		next := m.waiting.first()
		if next == nil || len(m.open) >= MaxOpen {
			return nil
		}
		if now := m.open.first(); now != nil && less(now, next) {
			return nil
		}
		m.waiting.removeFirst()
		m.start(ctx, next)
		if err := m.fill(ctx, next); err != nil {
			return err
		}
		if len(next.held) > 0 {
			m.open.add(next)
		}
	}
}

// fill takes in records of the source until its window is full or it ends.
func (m *merger) fill(ctx context.Context, s *source) error {
	for len(s.held) < m.window && s.bytes < m.bytes || len(s.held) == 0 {
		if len(s.ready) == 0 {
			select {
			case c, more := <-s.chunks:
				if !more {
					return ctx.Err()
				}
				s.ready = c
			case <-ctx.Done():
				return ctx.Err()
			}
			continue
		}
		rec := s.ready[0]
		s.ready = s.ready[1:]
		switch {
		case !rec.Time.IsZero():
			s.clock = rec.Time
		case s.clock.IsZero() && s.input.Now != nil:
			rec.Time = s.input.Now().UTC()
		default:
			rec.Time = s.clock
		}
		s.seen++
		s.held.push(item{rec: rec, at: rec.Time, place: s.seen})
		s.bytes += len(rec.Raw)
	}
	return nil
}

// start reads a source in a goroutine of its own, which ends with the source or
// the context.
func (m *merger) start(ctx context.Context, s *source) {
	s.chunks = make(chan []*cybervault.Record, 1)
	go func() {
		defer close(s.chunks)
		var buf []*cybervault.Record
		flush := func() error {
			if len(buf) == 0 {
				return nil
			}
			select {
			case s.chunks <- buf:
				buf = nil
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		sum, err := m.parse(ctx, s, func(rec *cybervault.Record) error {
			if buf = append(buf, rec); len(buf) < chunk {
				return nil
			}
			return flush()
		})
		if flushErr := flush(); err == nil {
			err = flushErr
		}
		s.report.Summary, s.report.Err = sum, err // read after the channel is closed
	}()
}

func (m *merger) parse(ctx context.Context, s *source, yield func(*cybervault.Record) error) (telemetry.Summary, error) {
	r, err := s.input.Open()
	if err != nil {
		return telemetry.Summary{}, err
	}
	defer r.Close()
	options := m.options
	if s.input.Now != nil {
		options.Now = s.input.Now
	}
	return telemetry.Parse(ctx, r, options, yield)
}

var errSeen = errors.New("enough was seen")

// peek sees at which time a source begins: the earliest of its first records. One
// that cannot be read at all is reported.
func (m *merger) peek(ctx context.Context, s *source) error {
	n := 0
	_, err := m.parse(ctx, s, func(rec *cybervault.Record) error {
		if !rec.Time.IsZero() && (s.begins.IsZero() || rec.Time.Before(s.begins)) {
			s.begins = rec.Time
		}
		if n++; n >= minWindow {
			return errSeen
		}
		return nil
	})
	if err != nil && n == 0 && ctx.Err() == nil {
		s.report.Err = err
	}
	return ctx.Err()
}

// close waits for the readers, whose context has ended.
func (m *merger) close() {
	for _, s := range m.open {
		for range s.chunks { // until it is closed
		}
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
