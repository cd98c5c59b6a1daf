package api_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
)

func (f *fakes) Sequence(ctx context.Context, w cybervault.WorkspaceID, webhook cybervault.WebhookID, from, to int64) (cybervault.SequencePage, error) {
	f.asked = [2]int64{from, to}
	if _, err := f.Webhook(ctx, w, webhook); err != nil {
		return cybervault.SequencePage{}, err
	}
	return cybervault.SequencePage{Rows: []*cybervault.Delivery{sampleDelivery()}, Next: 8, Last: 9}, nil
}

func TestSequence(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	got := f.get(request{call: "GET /v1/webhooks/" + webhook1.String() + "/sequence?from=7&to=9", key: readKey}, http.StatusOK)
	want := map[string]any{
		"data": []any{map[string]any{
			"sequence": 7.0, "delivery_id": dlv1.String(), "event_id": event1.String(), "event": "threat.detected", "status": "pending",
			"attempt_count": 1.0, "finished_at": nil,
		}},
		"next_from": 8.0, "last": 9.0,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	if f.asked != [2]int64{7, 9} {
		t.Errorf("asked for %v", f.asked)
	}
}

func TestSequenceRefuses(t *testing.T) {
	t.Parallel()
	for query, field := range map[string]string{"from=0": "from", "from=x": "from", "to=-1": "to", "from=": "from", "from=9&to=8": "to", "to=9223372036854775808": "to"} {
		doc := setUp(t).get(request{call: "GET /v1/webhooks/" + webhook1.String() + "/sequence?" + query}, http.StatusUnprocessableEntity)
		if doc["field"] != field {
			t.Errorf("%s: the field is %v, want %s", query, doc["field"], field)
		}
	}
	setUp(t).get(request{call: "GET /v1/webhooks/" + id[cybervault.WebhookID](11).String() + "/sequence"}, http.StatusNotFound)
}
