package stream_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cybervault/cybervault/internal/telemetry/stream"
)

// scripted is an engine whose answers are told beforehand; beyond them all is well.
type scripted struct {
	judge, settle   []error
	judged, settled int
	ended           bool // the context of a call had ended
}

func next(errs *[]error) error {
	if len(*errs) == 0 {
		return nil
	}
	err := (*errs)[0]
	*errs = (*errs)[1:]
	return err
}

func (s *scripted) Judge(ctx context.Context, pieces []stream.Piece) (stream.Receipt, error) {
	s.ended = s.ended || ctx.Err() != nil
	err := next(&s.judge)
	if err == nil {
		s.judged++
	}
	return stream.Receipt{Records: len(pieces)}, err
}

func (s *scripted) Settle(ctx context.Context) error {
	s.ended = s.ended || ctx.Err() != nil
	err := next(&s.settle)
	if err == nil {
		s.settled++
	}
	return err
}

func hands(e stream.Engine, log *slog.Logger) (stream.Hands, *stream.Meter) {
	meter := stream.NewMeter("kafka", log, time.Now)
	return stream.Hands{Engine: e, Patience: stream.DefaultPatience, Meter: meter}, meter
}

var errStore = errors.New("the disk is full")

// A batch is judged once and settled until the store takes it, with longer and
// longer pauses; the trouble is logged once, and its end.
func TestABatchWaitsForTheStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var logged bytes.Buffer
		e := &scripted{judge: []error{errors.New("no rules")}}
		for range 10 {
			e.settle = append(e.settle, errStore)
		}
		h, meter := hands(e, slog.New(slog.NewTextHandler(&logged, nil)))
		began, waits := time.Now(), 0
		receipt, err := h.Hand(t.Context(), make([]stream.Piece, 3), func() { waits++ })
		if err != nil || receipt.Records != 3 {
			t.Fatalf("Hand: %+v, %v", receipt, err)
		}
		if e.judged != 1 || e.settled != 1 || waits != 11 || meter.Stats().Retries != 11 {
			t.Errorf("judged %d times, settled %d, waited %d, retries %d; want 1, 1, 11, 11", e.judged, e.settled, waits, meter.Stats().Retries)
		}
		// 0.25 for the engine; 0.25, 0.5, 1, 2, 4, 8 and four times 15 for the store.
		if took := time.Since(began); took < 76*time.Second || took > 92*time.Second {
			t.Errorf("the pauses took %s in all", took)
		}
		if n := strings.Count(logged.String(), "\n"); n != 2 || !strings.Contains(logged.String(), "taken again") {
			t.Errorf("the log has %d lines, want one of the trouble and one of its end:\n%s", n, &logged)
		}
	})
}

// A stop lets the try that is under way end, and gives up before the next.
func TestAStopGivesUpOnlyWhatTheStoreDoesNotTake(t *testing.T) {
	t.Parallel()
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	e := &scripted{}
	h, _ := hands(e, nil)
	if _, err := h.Hand(stopped, nil, nil); err != nil || e.judged != 1 || e.settled != 1 || e.ended {
		t.Errorf("a batch that the store takes: %v, judged %d, settled %d, with a context that had ended: %v", err, e.judged, e.settled, e.ended)
	}
	e = &scripted{settle: []error{errStore}}
	h, _ = hands(e, nil)
	if _, err := h.Hand(stopped, nil, nil); !errors.Is(err, errStore) || e.settled != 0 {
		t.Errorf("a batch that it does not take: %v, want its error", err)
	}
}

func TestTheMeterSaysAThingNowAndThen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var logged bytes.Buffer
		_, m := hands(&scripted{}, slog.New(slog.NewTextHandler(&logged, nil)))
		refused := errors.New("connection refused")
		for range 5 {
			m.Connected(refused)
			m.Failed("fetch", refused)
		}
		if n := strings.Count(logged.String(), "\n"); n != 2 {
			t.Errorf("five failures of two kinds made %d lines, want 2:\n%s", n, &logged)
		}
		m.Connected(nil)
		m.Connected(nil)
		if n := strings.Count(logged.String(), "\n"); n != 3 || !m.Stats().Connected {
			t.Errorf("the connection made %d lines, want 3; connected: %v", n, m.Stats().Connected)
		}
		<-time.After(time.Minute)
		if !m.Say("fetch") || m.Say("fetch") {
			t.Error("a minute later it is time for one line more, and one only")
		}
	})
}
