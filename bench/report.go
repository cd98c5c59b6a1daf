package bench

// Report is what a scenario found. Rates are of deliveries; ratio is the median
// of the ratios of the rounds.
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

	LightPerS  int        `json:"light_events_per_s,omitempty"`
	PublishAck *Quantiles `json:"publish_ack_ms,omitempty"`
	Latency    *Quantiles `json:"latency_ms,omitempty"` // from before the publish call to the receiver

	Lost        int  `json:"lost"`
	Duplicates  int  `json:"duplicates"`
	AllRecorded bool `json:"all_recorded"` // the log had every attempt at the end of each round
}

func newReport(s Scenario, o Options) *Report {
	return &Report{
		Scenario: s.Name, About: s.About, Machine: thisMachine(), Store: o.Store, EventBytes: len(envelope()),
		Events: o.Events, Rounds: o.Rounds, Batch: o.Batch, Publishers: o.Publishers, AllRecorded: true,
	}
}

// compared puts what the rounds of a scenario and its reference came to.
func (r *Report) compared(rounds []comparison) {
	var cpus, referenceCPUs []float64
	for _, c := range rounds {
		r.References = append(r.References, c.reference.rate)
		r.Rates = append(r.Rates, c.own.rate)
		r.Ratios = append(r.Ratios, c.own.rate/c.reference.rate)
		cpus, referenceCPUs = append(cpus, c.own.cpu), append(referenceCPUs, c.reference.cpu)
	}
	r.ReferencePerS, r.DeliveredPerS, r.Ratio = median(r.References), median(r.Rates), median(r.Ratios)
	r.CPUPerDelivery, r.ReferenceCPU = median(cpus), median(referenceCPUs)
}
