package cybervault_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
)

func TestDefaultRetrySchedule(t *testing.T) {
	t.Parallel()
	if got, want := cybervault.FormatRetrySchedule(cybervault.DefaultRetrySchedule()), "5s,30s,2m,10m,30m,1h,2h,4h,8h,12h,24h,24h"; got != want {
		t.Errorf("it is %s, want %s", got, want)
	}
	if err := cybervault.CheckRetrySchedule(cybervault.DefaultRetrySchedule()); err != nil {
		t.Error(err)
	}
}

func TestParseRetrySchedule(t *testing.T) {
	t.Parallel()
	for in, want := range map[string][]time.Duration{
		"":               {},
		"1s,5s":          {time.Second, 5 * time.Second},
		"1s , 2m 1h30m,": {time.Second, 2 * time.Minute, 90 * time.Minute},
		"1ms,720h":       {time.Millisecond, cybervault.MaxRetryDelay},
		strings.Repeat("1s,", cybervault.MaxRetrySteps): slices.Repeat([]time.Duration{time.Second}, cybervault.MaxRetrySteps),
	} {
		if got, err := cybervault.ParseRetrySchedule(in); err != nil || !slices.Equal(got, want) {
			t.Errorf("%.40q: %v, %v; want %v", in, got, err, want)
		}
	}
	for _, bad := range []string{"5", "1s;2s", "one", "0s", "-1s", "999us", "720h1ms", "1s,x", strings.Repeat("1s,", cybervault.MaxRetrySteps+1)} {
		if _, err := cybervault.ParseRetrySchedule(bad); cybervault.ErrorCode(err) != cybervault.CodeInvalid {
			t.Errorf("%.40q: %v, want CodeInvalid", bad, err)
		}
	}
}

func TestFormatDuration(t *testing.T) {
	t.Parallel()
	for want, d := range map[string]time.Duration{
		"0s": 0, "1ms": time.Millisecond, "10s": 10 * time.Second, "1m": time.Minute, "1m10s": 70 * time.Second, "10m": 10 * time.Minute,
		"1h": time.Hour, "1h30m": 90 * time.Minute, "1h0m10s": time.Hour + 10*time.Second, "10h": 10 * time.Hour, "720h": cybervault.MaxRetryDelay,
	} {
		if got := cybervault.FormatDuration(d); got != want {
			t.Errorf("%v is written %q, want %q", d, got, want)
		}
	}
}

func TestNextRetry(t *testing.T) {
	t.Parallel()
	schedule := []time.Duration{10 * time.Second, time.Hour}
	least, most := time.Hour, time.Duration(0)
	for range 2000 {
		d, ok := cybervault.NextRetry(schedule, 1, 0)
		if !ok {
			t.Fatal("used up after one attempt")
		}
		least, most = min(least, d), max(most, d)
	}
	if least < 9*time.Second || most > 11*time.Second {
		t.Errorf("delays of %v to %v, want 10s ± 10 %%", least, most)
	}
	if least > 9200*time.Millisecond || most < 10800*time.Millisecond {
		t.Errorf("delays of %v to %v only: that is no jitter of 10 %%", least, most)
	}
	for _, c := range []struct {
		number     int
		retryAfter time.Duration
		low, high  time.Duration
		ok         bool
	}{
		{2, 0, 54 * time.Minute, 66 * time.Minute, true},
		{1, 30 * time.Second, 30 * time.Second, 30 * time.Second, true}, // the receiver asks for more
		{2, 30 * time.Second, 54 * time.Minute, 66 * time.Minute, true}, // the schedule asks for more
		{1, 25 * time.Hour, cybervault.MaxRetryAfter, cybervault.MaxRetryAfter, true},
		{1, -time.Hour, 9 * time.Second, 11 * time.Second, true},
		{3, time.Second, 0, 0, false},
		{0, 0, 0, 0, false},
	} {
		d, ok := cybervault.NextRetry(schedule, c.number, c.retryAfter)
		if ok != c.ok || d < c.low || d > c.high {
			t.Errorf("after attempt %d, asked to wait %v: %v, %v; want %v to %v, %v", c.number, c.retryAfter, d, ok, c.low, c.high, c.ok)
		}
	}
}

func FuzzParseRetrySchedule(f *testing.F) {
	f.Add("5s,30s,2m,10m,30m,1h,2h,4h,8h,12h,24h,24h")
	f.Add("1h0m10s 1ms")
	f.Add("1.5h,,")
	f.Add("-1s")
	f.Fuzz(func(t *testing.T, s string) {
		schedule, err := cybervault.ParseRetrySchedule(s)
		if err != nil {
			if cybervault.ErrorCode(err) != cybervault.CodeInvalid {
				t.Errorf("%q: an error of another kind: %v", s, err)
			}
			return
		}
		if err := cybervault.CheckRetrySchedule(schedule); err != nil {
			t.Errorf("%q is read and then refused: %v", s, err)
		}
		again, err := cybervault.ParseRetrySchedule(cybervault.FormatRetrySchedule(schedule))
		if err != nil || !slices.Equal(again, schedule) {
			t.Errorf("%q is %v, written and read again %v, %v", s, schedule, again, err)
		}
	})
}
