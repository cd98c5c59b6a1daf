package cybervault_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cybervault/cybervault"
)

// drawn tells what the state diagram is to say of a status: which arrows lead
// away from it. The switch is exhaustive (the linter sees to it), so a new status
// fails here until the page has it.
func drawn(t *testing.T, s cybervault.DeliveryStatus) (born bool, next []cybervault.DeliveryStatus) {
	t.Helper()
	switch s {
	case cybervault.DeliveryPending:
		return true, []cybervault.DeliveryStatus{cybervault.DeliveryPending, cybervault.DeliveryDelivered, cybervault.DeliveryDeadLetter, cybervault.DeliveryCancelled}
	case cybervault.DeliveryHeld:
		return true, []cybervault.DeliveryStatus{cybervault.DeliveryPending, cybervault.DeliveryCancelled}
	case cybervault.DeliverySkipped:
		return true, nil
	case cybervault.DeliveryDelivered, cybervault.DeliveryDeadLetter, cybervault.DeliveryCancelled:
		return false, nil
	}
	t.Fatalf("%q is not drawn in docs/delivery-states.md, nor listed here", s)
	return false, nil
}

func TestTheStateDiagramIsComplete(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("docs/delivery-states.md")
	if err != nil {
		t.Fatal(err)
	}
	_, diagram, ok := strings.Cut(string(page), "```mermaid\n")
	diagram, _, closed := strings.Cut(diagram, "```")
	if !ok || !closed {
		t.Fatal("docs/delivery-states.md has no diagram")
	}
	arrows := map[string]bool{}
	for _, arrow := range regexp.MustCompile(`(?m)^\s*(\S+) --> (\w+|\[\*\])`).FindAllStringSubmatch(diagram, -1) {
		arrows[arrow[1]+" "+arrow[2]] = true
	}
	count := 0
	for _, s := range cybervault.DeliveryStatuses() {
		if row := regexp.MustCompile("(?m)^\\| `" + string(s) + "` \\|.*\\| (yes|no) \\|$").FindStringSubmatch(string(page)); row == nil {
			t.Errorf("the page has no row for %q", s)
		} else if alive := row[1] == "yes"; alive == s.Ended() {
			t.Errorf("the page says that %q is alive: %v", s, alive)
		}
		born, next := drawn(t, s)
		if arrows["[*] "+string(s)] != born {
			t.Errorf("the diagram has a delivery born %q: %v", s, !born)
		}
		if arrows[string(s)+" [*]"] != s.Ended() {
			t.Errorf("the diagram ends %q: %v", s, !s.Ended())
		}
		for _, to := range cybervault.DeliveryStatuses() {
			want := slices.Contains(next, to)
			if arrows[string(s)+" "+string(to)] != want {
				t.Errorf("the diagram leads from %q to %q: %v", s, to, !want)
			}
			if want && s.Ended() {
				t.Errorf("%q is an end and leads to %q", s, to)
			}
			if want {
				count++
			}
		}
		if born {
			count++
		}
		if s.Ended() {
			count++
		}
	}
	if count != len(arrows) {
		t.Errorf("the diagram has %d arrows, %d of them known: %v", len(arrows), count, arrows)
	}
}

func TestThePageNamesTheScheduleAndTheReasons(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("docs/delivery-states.md")
	if err != nil {
		t.Fatal(err)
	}
	schedule := strings.ReplaceAll(cybervault.FormatRetrySchedule(cybervault.DefaultRetrySchedule()), ",", " ")
	for _, want := range []string{schedule, cybervault.ReasonCancelled, cybervault.ReasonWebhookDeleted, cybervault.ReasonWebhookDisabled} {
		if !strings.Contains(string(page), "`"+want+"`") {
			t.Errorf("docs/delivery-states.md does not name %q", want)
		}
	}
}

func FuzzParseDeliveryStatuses(f *testing.F) {
	for _, text := range []string{"", "pending", "pending,held, dead_letter", "undelivered", "delivered,undelivered", "pending,,", "lost"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		statuses, err := cybervault.ParseDeliveryStatuses(text)
		if (err == nil) != (len(statuses) > 0) || len(errorText(err)) > 400 {
			t.Errorf("%q: %v, %v", text, statuses, err)
		}
		for i, s := range statuses {
			if !slices.Contains(cybervault.DeliveryStatuses(), s) || slices.Contains(statuses[:i], s) {
				t.Errorf("%q: %v", text, statuses)
			}
		}
		if strings.Contains(","+strings.ReplaceAll(text, " ", "")+",", ",undelivered,") && err == nil && len(statuses) < len(cybervault.DeliveryStatuses())-1 {
			t.Errorf("%q: %v", text, statuses)
		}
	})
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
