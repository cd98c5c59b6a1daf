package storetest

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
)

func eventListCases() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"events/newest first":             eventsNewestFirst,
		"events/paging while rows come":   eventsPaging,
		"events/limit":                    eventsLimit,
		"events/by type":                  eventsByType,
		"events/by time":                  eventsByTime,
		"events/by text":                  eventsByText,
		"events/by everything at once":    eventsByAll,
		"events/unmatched":                eventsUnmatched,
		"events/strangers see none":       eventsForeign,
		"events/an empty list is no null": eventsEmpty,
	}
}

// wantEvents checks which of pubs a query finds: the indexes, newest first.
func (f *fixture) wantEvents(t *testing.T, q cybervault.EventQuery, pubs []*cybervault.Publication, want ...int) {
	t.Helper()
	var got []int
	for _, e := range f.events(q) {
		got = append(got, slices.IndexFunc(pubs, func(p *cybervault.Publication) bool { return p.Event.ID == e.ID }))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%+v (-want +got):\n%s", q, diff)
	}
}

func (f *fixture) publishEach(events ...event) []*cybervault.Publication {
	f.Helper()
	var pubs []*cybervault.Publication
	for _, e := range events {
		pubs = append(pubs, f.publication(e))
		f.clock.Move(time.Second)
	}
	f.publish(pubs...)
	return pubs
}

func eventsNewestFirst(f *fixture) {
	pubs := f.publishEach(event{}, event{}, event{})
	f.wantEvents(f.T, cybervault.EventQuery{}, pubs, 2, 1, 0)
}

func eventsPaging(f *fixture) {
	var want []cybervault.EventID
	for range 23 {
		pub := f.publication(event{})
		f.publish(pub)
		want = append(want, pub.Event.ID)
	}
	slices.Reverse(want)
	var got []cybervault.EventID
	q := cybervault.EventQuery{Workspace: f.ws, Limit: 5}
	for pages := 1; ; pages++ {
		page, err := f.s.Events(f.Context(), q)
		f.must(err)
		for _, e := range page.Rows {
			got = append(got, e.ID)
		}
		if !page.More {
			if pages != 5 || len(page.Rows) != 3 {
				f.Errorf("page %d, the last one, has %d rows", pages, len(page.Rows))
			}
			break
		}
		q.Before = page.Rows[len(page.Rows)-1].ID
		f.publish(f.publication(event{})) // comes in while someone turns the page
	}
	if diff := cmp.Diff(want, got); diff != "" {
		f.Errorf("all pages (-want +got):\n%s", diff)
	}
}

func eventsLimit(f *fixture) {
	var pubs []*cybervault.Publication
	for range cybervault.MaxPageSize + 1 {
		pubs = append(pubs, f.publication(event{}))
	}
	f.publish(pubs...)
	for limit, want := range map[int]int{
		0: cybervault.DefaultPageSize, -1: cybervault.DefaultPageSize, 1: 1, cybervault.MaxPageSize: cybervault.MaxPageSize,
		cybervault.MaxPageSize + 1: cybervault.DefaultPageSize,
	} {
		page, err := f.s.Events(f.Context(), cybervault.EventQuery{Workspace: f.ws, Limit: limit})
		f.must(err)
		if len(page.Rows) != want || !page.More {
			f.Errorf("limit %d: %d rows, more %v; want %d rows and more", limit, len(page.Rows), page.More, want)
		}
	}
	page, err := f.s.Events(f.Context(), cybervault.EventQuery{Workspace: f.ws, Before: pubs[1].Event.ID, Limit: 1})
	f.must(err)
	if len(page.Rows) != 1 || page.More {
		f.Errorf("exactly as many as asked for: %d rows, more %v", len(page.Rows), page.More)
	}
}

func eventsByType(f *fixture) {
	pubs := f.publishEach(
		event{kind: "threat.detected"}, event{kind: "threatx.y"}, event{kind: "threat.a.b"}, event{kind: "incident.created"},
		event{kind: "compliance.report.ready"}, event{kind: "compliance.report_ready"}, event{kind: cybervault.EventWebhookTest},
	)
	for choice, want := range map[string][]int{
		"":                        {6, 5, 4, 3, 2, 1, 0},
		"*":                       {6, 5, 4, 3, 2, 1, 0},
		"threat.*":                {2, 0},
		"threat.a.*":              {2},
		"threat.detected":         {0},
		"threatx.*":               {1},
		"compliance.report.*":     {4},
		"compliance.report.ready": {4},
		"threat":                  nil,
		"threat*":                 nil,
		"thr%":                    nil,
		"THREAT.*":                nil,
		"ünknown.*":               nil,
		"a\x00.*":                 nil,
		"a\xff":                   nil,
		"' OR 1=1 --":             nil,
	} {
		f.wantEvents(f.T, cybervault.EventQuery{Type: choice}, pubs, want...)
	}
}

func eventsByTime(f *fixture) {
	pubs := f.publishEach(event{}, event{}, event{}) // at 0, 1 and 2 seconds
	for _, c := range []struct {
		since, until time.Duration
		want         []int
	}{
		{0, time.Hour, []int{2, 1, 0}},
		{time.Second, time.Hour, []int{2, 1}},
		{0, time.Second, []int{0}},
		{time.Second, time.Second + time.Millisecond, []int{1}},
		{time.Second, time.Second, nil},
		{3 * time.Second, time.Hour, nil},
		{-time.Hour, 0, nil},
	} {
		f.wantEvents(f.T, cybervault.EventQuery{Since: start.Add(c.since), Until: start.Add(c.until)}, pubs, c.want...)
	}
	f.wantEvents(f.T, cybervault.EventQuery{Since: start.Add(2 * time.Second)}, pubs, 2)
	f.wantEvents(f.T, cybervault.EventQuery{Since: time.Unix(-1000, 0)}, pubs, 2, 1, 0)
}

func eventsByText(f *fixture) {
	pubs := f.publishEach(
		event{data: `{"path":"/a_b/100%","note":"Ärger mit Öl"}`},              // 0
		event{data: `{"path":"/axb/1000","note":"ärger"}`},                     // 1
		event{data: `{"path":"C:\\Windows\\x","note":"say \"hi\""}`},           // 2
		event{data: `{"q":"\u003cscript\u003e","note":"\u00c4rger \u2603"}`},   // 3: as Go and Python write it
		event{data: `{"q":"<script>","url":"http:\/\/evil.test\/x","n":"é!"}`}, // 4: slashes as PHP writes them
		event{data: `{"smile":"🙂","turkish":"İ","sharp":"straße"}`},            // 5
	)
	broken := f.publication(event{})
	broken.Event.Body = []byte("\xff neither UTF-8 nor JSON \\303\\251")
	f.publish(broken)
	pubs = append(pubs, broken)
	for text, want := range map[string][]int{
		"a_b":             {0},
		"100%":            {0},
		"1000":            {1},
		"%":               {0},
		"PATH":            {2, 1, 0},
		"ärger":           {3, 1, 0},
		"ÄRGER":           {3, 1, 0},
		"ärger mit öl":    {0},
		"Ärger mit Öl":    {0},
		`C:\Windows`:      {2},
		`c:\\windows`:     {2}, // as the JSON has it
		`\`:               {6, 4, 3, 2},
		`say "hi"`:        {2},
		`"path":"/a`:      {1, 0},
		"<script>":        {4, 3},
		"<SCRIPT":         {4, 3},
		"http://evil":     {4},
		"☃":               {3},
		"é!":              {4},
		"🙂":               {5},
		"STRASSE":         nil,
		"neither utf":     {6},
		"a\x00b":          nil,
		"a_":              {0},
		"nothing of that": nil,
	} {
		f.wantEvents(f.T, cybervault.EventQuery{Text: text}, pubs, want...)
	}
}

func eventsByAll(f *fixture) {
	pubs := f.publishEach(
		event{kind: "threat.detected", data: `"hit"`}, event{kind: "threat.detected", data: `"miss"`},
		event{kind: "patch.failed", data: `"hit"`}, event{kind: "threat.detected", data: `"hit"`}, event{kind: "threat.detected", data: `"hit"`},
	)
	q := cybervault.EventQuery{Type: "threat.*", Text: "HIT", Since: start, Until: start.Add(4 * time.Second), Limit: 1}
	f.wantEvents(f.T, q, pubs, 3, 0)
	q.Before = pubs[3].Event.ID
	f.wantEvents(f.T, q, pubs, 0)
}

func eventsUnmatched(f *fixture) {
	pubs := f.publishEach(event{}, event{kind: "patch.failed"})
	f.publish(f.publication(event{}, waiting(f.webhook())), f.publication(event{}, born(f.webhook(), cybervault.DeliverySkipped, "filter")))
	f.wantEvents(f.T, cybervault.EventQuery{Unmatched: true}, pubs, 1, 0)
	f.wantEvents(f.T, cybervault.EventQuery{Unmatched: true, Type: "patch.*"}, pubs, 1)
}

func eventsForeign(f *fixture) {
	stranger := f.strangersWorkspace()
	mine, theirs := f.publication(event{}), f.publication(event{ws: stranger})
	f.publish(mine, theirs)
	f.wantEvents(f.T, cybervault.EventQuery{}, []*cybervault.Publication{mine}, 0)
	_, err := f.s.Event(f.Context(), stranger, mine.Event.ID)
	f.wantCode(err, cybervault.CodeNotFound)
	_, err = f.s.Event(f.Context(), f.ws, theirs.Event.ID)
	f.wantCode(err, cybervault.CodeNotFound)
	_, err = f.s.Event(f.Context(), f.ws, cybervault.MakeID[cybervault.EventID](mine.Event.ID.Key(), mine.Event.ID.Rest()^1))
	f.wantCode(err, cybervault.CodeNotFound)
}

func eventsEmpty(f *fixture) {
	page, err := f.s.Events(f.Context(), cybervault.EventQuery{Workspace: f.ws})
	f.must(err)
	if page.Rows == nil || len(page.Rows) != 0 || page.More {
		f.Errorf("page = %#v", page)
	}
	deliveries, err := f.s.Deliveries(f.Context(), cybervault.DeliveryQuery{Workspace: f.ws})
	f.must(err)
	if deliveries.Rows == nil || len(deliveries.Rows) != 0 || deliveries.More {
		f.Errorf("page = %#v", deliveries)
	}
}

func deliveryListCases() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"deliveries/every filter":           deliveryFilters,
		"deliveries/however they are found": deliveriesHoweverFound,
		"deliveries/left by the retention":  deliveriesLeftBehind,
		"deliveries/of an event":            deliveriesOfEvent,
		"deliveries/paging while rows come": deliveriesPaging,
		"deliveries/strangers see none":     deliveriesForeign,
		"deliveries/unknown status":         deliveriesUnknownStatus,
	}
}

// wantDeliveries checks which deliveries of the list a query finds.
func (f *fixture) wantDeliveries(q cybervault.DeliveryQuery, list []cybervault.DeliveryID, want ...int) {
	f.Helper()
	var got []int
	for _, d := range f.deliveries(q) {
		got = append(got, slices.Index(list, d.ID))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		f.Errorf("%+v (-want +got):\n%s", q, diff)
	}
}

func deliveryFilters(f *fixture) {
	one, two := f.webhook(), f.webhook(unverified)
	var ids []cybervault.DeliveryID
	publish := func(e event, births ...cybervault.NewDelivery) *cybervault.Publication {
		pub := f.publication(e, births...)
		f.publish(pub)
		f.clock.Move(time.Second)
		for _, d := range pub.Deliveries {
			ids = append(ids, d.ID)
		}
		return pub
	}
	first := publish(event{kind: "threat.detected", data: `{"who":"Mallory_%"}`}, f.leased(one), f.leased(two), f.leased(one))  // 0 1 2
	publish(event{kind: "threatx.y"}, waiting(one), born(two, cybervault.DeliveryHeld, ""))                                     // 3 4
	second := publish(event{kind: "threat.other"}, born(one, cybervault.DeliverySkipped, "filter"), waiting(two), waiting(two)) // 5 6 7
	f.must(f.record(f.result(&first.Deliveries[0], 1, cybervault.DeliveryDelivered)))
	f.must(f.record(f.result(&first.Deliveries[1], 1, cybervault.DeliveryDeadLetter)))
	f.must(f.s.CancelDelivery(f.Context(), f.ws, second.Deliveries[2].ID, cybervault.ReasonCancelled))

	type query = cybervault.DeliveryQuery
	f.wantDeliveries(query{}, ids, 7, 6, 5, 4, 3, 2, 1, 0)
	f.wantDeliveries(query{Webhook: one.ID}, ids, 5, 3, 2, 0)
	f.wantDeliveries(query{Webhook: cybervault.MakeID[cybervault.WebhookID](one.ID.Key(), one.ID.Rest()^1)}, ids)
	f.wantDeliveries(query{Statuses: []cybervault.DeliveryStatus{cybervault.DeliveryPending}}, ids, 6, 3, 2)
	f.wantDeliveries(query{Statuses: []cybervault.DeliveryStatus{cybervault.DeliveryHeld}}, ids, 4)
	f.wantDeliveries(query{Statuses: []cybervault.DeliveryStatus{cybervault.DeliveryDelivered}}, ids, 0)
	f.wantDeliveries(query{Statuses: []cybervault.DeliveryStatus{cybervault.DeliveryDeadLetter}}, ids, 1)
	f.wantDeliveries(query{Statuses: []cybervault.DeliveryStatus{cybervault.DeliveryCancelled}}, ids, 7)
	f.wantDeliveries(query{Statuses: []cybervault.DeliveryStatus{cybervault.DeliverySkipped}}, ids, 5)
	f.wantDeliveries(query{Statuses: []cybervault.DeliveryStatus{cybervault.DeliverySkipped, cybervault.DeliveryDeadLetter}}, ids, 5, 1)
	undelivered, err := cybervault.ParseDeliveryStatuses(cybervault.UndeliveredStatuses)
	f.must(err)
	f.wantDeliveries(query{Statuses: undelivered}, ids, 7, 6, 5, 4, 3, 2, 1)
	f.wantDeliveries(query{Statuses: undelivered, Webhook: one.ID}, ids, 5, 3, 2)
	f.wantDeliveries(query{EventType: "threat.*"}, ids, 7, 6, 5, 2, 1, 0)
	f.wantDeliveries(query{EventType: "threatx.y"}, ids, 4, 3)
	f.wantDeliveries(query{Text: "mallory_%"}, ids, 2, 1, 0)
	f.wantDeliveries(query{Text: "mallory_x"}, ids)
	f.wantDeliveries(query{Since: start.Add(time.Second), Until: start.Add(2 * time.Second)}, ids, 4, 3)
	f.wantDeliveries(query{Event: first.Event.ID, Webhook: one.ID}, ids, 2, 0)
	f.wantDeliveries(query{
		Webhook: one.ID, Event: first.Event.ID, EventType: "threat.*", Statuses: []cybervault.DeliveryStatus{cybervault.DeliveryDelivered}, Text: "MALLORY",
		Since: start, Until: start.Add(time.Second), Before: ids[1], Limit: 1,
	}, ids, 0)
	f.wantDeliveries(query{Limit: 3}, ids, 7, 6, 5, 4, 3, 2, 1, 0)
}

func deliveriesOfEvent(f *fixture) {
	w := f.webhook()
	var pubs []*cybervault.Publication
	for i := range 3 {
		births := make([]cybervault.NewDelivery, i)
		for j := range births {
			births[j] = waiting(w)
		}
		pubs = append(pubs, f.publication(event{}, births...))
	}
	f.publish(pubs...)
	for _, pub := range pubs {
		var want, got []cybervault.DeliveryID
		for _, d := range slices.Backward(pub.Deliveries) {
			want = append(want, d.ID)
		}
		for _, d := range f.deliveries(cybervault.DeliveryQuery{Event: pub.Event.ID, Limit: 1}) {
			got = append(got, d.ID)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			f.Errorf("deliveries of an event with %d (-want +got):\n%s", len(want), diff)
		}
	}
	_, err := f.s.Deliveries(f.Context(), cybervault.DeliveryQuery{Workspace: f.ws, Event: cybervault.NewID[cybervault.EventID](f.ids)})
	f.wantCode(err, cybervault.CodeNotFound)
	_, err = f.s.Deliveries(f.Context(), cybervault.DeliveryQuery{Workspace: f.strangersWorkspace(), Event: pubs[2].Event.ID})
	f.wantCode(err, cybervault.CodeNotFound)
}

func deliveriesPaging(f *fixture) {
	w := f.webhook()
	var want []cybervault.DeliveryID
	for range 11 {
		pub := f.publication(event{}, waiting(w), waiting(w))
		f.publish(pub)
		want = append(want, pub.Deliveries[0].ID, pub.Deliveries[1].ID)
	}
	slices.Reverse(want)
	var got []cybervault.DeliveryID
	q := cybervault.DeliveryQuery{Workspace: f.ws, Webhook: w.ID, Limit: 4}
	for more := true; more; {
		page, err := f.s.Deliveries(f.Context(), q)
		f.must(err)
		for _, d := range page.Rows {
			got = append(got, d.ID)
		}
		more, q.Before = page.More, page.Rows[len(page.Rows)-1].ID
		f.publish(f.publication(event{data: strconv.Itoa(len(got))}, waiting(w)))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		f.Errorf("all pages (-want +got):\n%s", diff)
	}
}

func deliveriesForeign(f *fixture) {
	w := f.webhook()
	pub := f.publication(event{}, waiting(w))
	f.publish(pub)
	stranger := f.strangersWorkspace()
	for _, q := range []cybervault.DeliveryQuery{{Workspace: stranger}, {Workspace: stranger, Webhook: w.ID}, {}} {
		page, err := f.s.Deliveries(f.Context(), q)
		f.must(err)
		if len(page.Rows) != 0 {
			f.Errorf("%+v finds %d rows of another workspace", q, len(page.Rows))
		}
	}
	_, err := f.s.Delivery(f.Context(), stranger, pub.Deliveries[0].ID)
	f.wantCode(err, cybervault.CodeNotFound)
	_, err = f.s.Delivery(f.Context(), f.ws, cybervault.MakeID[cybervault.DeliveryID](pub.Deliveries[0].ID.Key(), pub.Deliveries[0].ID.Rest()^1))
	f.wantCode(err, cybervault.CodeNotFound)
}

func deliveriesUnknownStatus(f *fixture) {
	_, err := f.s.Deliveries(f.Context(), cybervault.DeliveryQuery{Workspace: f.ws, Statuses: []cybervault.DeliveryStatus{cybervault.DeliveryPending, "sleeping"}})
	f.wantCode(err, cybervault.CodeInvalid)
}
