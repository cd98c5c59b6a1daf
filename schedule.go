package cybervault

import (
	"math/rand/v2"
	"strings"
	"time"
)

// DefaultRetrySchedule is what follows the first attempt, each delay ± 10 % at
// random; after the last one fails the delivery is a dead letter.
func DefaultRetrySchedule() []time.Duration {
	return []time.Duration{
		5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute,
		time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour, 12 * time.Hour, 24 * time.Hour, 24 * time.Hour,
	}
}

// ParseRetrySchedule reads "5s,30s,2m" (commas, spaces or both).
func ParseRetrySchedule(s string) ([]time.Duration, error) {
	fields := strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
	schedule := make([]time.Duration, 0, len(fields))
	for _, f := range fields {
		d, err := time.ParseDuration(f)
		if err != nil {
			return nil, Invalid("retry_schedule", "%q is not a duration: use a number and a unit, such as 30s, 10m or 2h", truncate(f, 40))
		}
		schedule = append(schedule, d)
	}
	return schedule, CheckRetrySchedule(schedule)
}

// FormatRetrySchedule writes what ParseRetrySchedule reads.
func FormatRetrySchedule(schedule []time.Duration) string {
	words := make([]string, len(schedule))
	for i, d := range schedule {
		words[i] = FormatDuration(d)
	}
	return strings.Join(words, ",")
}

// FormatDuration writes a duration without zero parts: "2h", not "2h0m0s".
func FormatDuration(d time.Duration) string {
	s := d.String()
	if d >= time.Minute && strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if d >= time.Hour && strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// CheckRetrySchedule refuses a schedule with too many steps, or a delay that is
// not between a millisecond and 30 days.
func CheckRetrySchedule(schedule []time.Duration) error {
	if len(schedule) > MaxRetrySteps {
		return Invalid("retry_schedule", "has %d steps, more than %d", len(schedule), MaxRetrySteps)
	}
	for _, d := range schedule {
		if d < time.Millisecond || d > MaxRetryDelay {
			return Invalid("retry_schedule", "%s is not a delay between 1ms and 720h", d)
		}
	}
	return nil
}

// NextRetry says when to try again after attempt number has failed: the
// schedule's delay ± 10 % at random, or retryAfter if that is longer (at most
// MaxRetryAfter). ok is false when the schedule is used up.
func NextRetry(schedule []time.Duration, number int, retryAfter time.Duration) (delay time.Duration, ok bool) {
	return NextRetryBy(rand.Float64(), schedule, number, retryAfter)
}

// NextRetryBy is NextRetry where chance, from 0 to 1, says what chance decides:
// 0 is 10 % early, 1 is 10 % late.
func NextRetryBy(chance float64, schedule []time.Duration, number int, retryAfter time.Duration) (delay time.Duration, ok bool) {
	if number < 1 || number > len(schedule) {
		return 0, false
	}
	delay = schedule[number-1]
	delay += time.Duration((chance*2 - 1) * 0.1 * float64(delay))
	return max(delay, min(retryAfter, MaxRetryAfter)), true
}
