package cybervault

// Limits on a preview of a filter.
const (
	PreviewEvents = 200 // the newest that are examined
	PreviewSample = 10  // of them that are named
)

// FilterPreview is what a filter would have done with recent events.
type FilterPreview struct {
	Examined int             `json:"examined"` // recent events of the chosen types, at most PreviewEvents
	Matched  int             `json:"matched"`  // of those, the ones that would have been delivered
	Errors   int             `json:"errors"`   // and the ones it could not be evaluated on
	Sample   []FilterVerdict `json:"sample"`   // newest first, at most PreviewSample, of each outcome some
}

// FilterVerdict is what a filter says of one event.
type FilterVerdict struct {
	Event   EventID `json:"id"`
	Type    string  `json:"event"`
	Matched bool    `json:"matched"`
	Why     string  `json:"why"`
}
