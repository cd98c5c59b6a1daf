package bench

// Figures are rates and what goes with them. Rates are of deliveries; each is the
// median of the rounds, and ratio the median of the ratios of the rounds.
type Figures struct {
	ReferencePerS  float64   `json:"reference_per_s,omitempty"`
	ReferenceAt    int       `json:"reference_concurrency,omitempty"`
	References     []float64 `json:"references_per_s,omitempty"`
	DeliveredPerS  float64   `json:"delivered_per_s"`
	Rates          []float64 `json:"rates_per_s,omitempty"`
	Ratio          float64   `json:"ratio,omitempty"`
	Ratios         []float64 `json:"ratios,omitempty"`
	CPUPerDelivery float64   `json:"cpu_us_per_delivery"` // of the server process
	ReferenceCPU   float64   `json:"reference_cpu_us_per_delivery,omitempty"`
	RSS            float64   `json:"rss_mb"` // of the server at the end

	cpus, referenceCPUs []float64
}

// Report is what a scenario found.
type Report struct {
	Scenario string  `json:"scenario"`
	About    string  `json:"about"`
	Machine  Machine `json:"machine"`
	Store    string  `json:"store"`

	EventBytes int `json:"event_bytes"`
	Webhooks   int `json:"webhooks"`
	Events     int `json:"events"` // of each round
	Rounds     int `json:"rounds"`
	Batch      int `json:"batch"` // events a publish call carries
	Publishers int `json:"publishers"`

	Figures
	Parts []Part `json:"parts,omitempty"` // what a scenario sets side by side

	LightPerS  int        `json:"light_events_per_s,omitempty"`
	PublishAck *Quantiles `json:"publish_ack_ms,omitempty"`
	Latency    *Quantiles `json:"latency_ms,omitempty"` // from before the publish call to the receiver

	// Kept is the rate in trouble as a share of the rate without: of the
	// webhooks that answer, of a full store, beside a backlog.
	Kept  float64   `json:"kept,omitempty"`
	Keeps []float64 `json:"keeps,omitempty"` // of each round

	MostTo100 float64 `json:"ratio_10000_to_100,omitempty"`

	// Of a past that was made up.
	History     int         `json:"history,omitempty"`
	Backlog     int         `json:"backlog,omitempty"`
	SeededPerS  float64     `json:"seeded_events_per_s,omitempty"`
	Pages       []PageTimes `json:"pages,omitempty"`
	SlowestPage float64     `json:"slowest_page_ms,omitempty"` // the greatest of the medians

	// From the start of the process after kill -9.
	ReadyS         float64 `json:"ready_s,omitempty"`
	FirstDeliveryS float64 `json:"first_delivery_s,omitempty"`

	Lost        int  `json:"lost"`
	Duplicates  int  `json:"duplicates"`
	AllRecorded bool `json:"all_recorded"` // the log had every attempt at the end of each round
}

// Part is one of several things that a scenario sets side by side.
type Part struct {
	Name         string  `json:"name"`
	Webhooks     int     `json:"webhooks"`
	CreatedPerS  float64 `json:"webhooks_created_per_s,omitempty"`
	ProtocolUsed string  `json:"protocol,omitempty"`
	Figures
}

func newReport(s Scenario, o Options) *Report {
	return &Report{
		Scenario: s.Name, About: s.About, Machine: thisMachine(), Store: o.Store, EventBytes: len(envelope()),
		Events: o.Events, Rounds: o.Rounds, Batch: o.Batch, Publishers: o.Publishers, AllRecorded: true,
	}
}

// add puts what one round came to, beside its reference.
func (f *Figures) add(reference, own pace) {
	f.References, f.Rates, f.Ratios = append(f.References, reference.rate), append(f.Rates, own.rate), append(f.Ratios, own.rate/reference.rate)
	f.cpus, f.referenceCPUs = append(f.cpus, own.cpu), append(f.referenceCPUs, reference.cpu)
}

// finish makes the medians of the rounds.
func (f *Figures) finish(reference *bare, s *site) {
	f.ReferenceAt = reference.at
	f.ReferencePerS, f.DeliveredPerS, f.Ratio = median(f.References), median(f.Rates), median(f.Ratios)
	f.CPUPerDelivery, f.ReferenceCPU = median(f.cpus), median(f.referenceCPUs)
	f.RSS = s.memory()
}

// keep sets two parts side by side, round by round.
func (r *Report) keep(without, with *Part) {
	for i := range with.Rates {
		r.Keeps = append(r.Keeps, with.Rates[i]/without.Rates[i])
	}
	r.Kept = median(r.Keeps)
	r.Figures = with.Figures
	r.Parts = []Part{*without, *with}
}
