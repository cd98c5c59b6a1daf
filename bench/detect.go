package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/detect/sigma"
	"github.com/cybervault/cybervault/internal/telemetry"
)

// DetectOptions says what to measure the Sigma engine with.
type DetectOptions struct {
	Rules  []string // directories of Sigma rules
	Events string   // directory of telemetry, JSON or text, gzip or not
	Rounds int      // what is compared takes turns so often
	Times  int      // how many times as many rules to compare with; 1: none
	Stride int      // the plain evaluator gets one event of so many

	CPUProfile string    // file for the profile of the rounds; "": none
	Progress   io.Writer // a line for each step; nil for none
}

// DetectReport is what came of it. Rates are of the whole way from bytes to
// hits, on all cores.
type DetectReport struct {
	Scenario   string  `json:"scenario"`
	Machine    Machine `json:"machine"`
	Rules      int     `json:"rules"`
	NotLoaded  int     `json:"rules_not_loaded"`
	LoadS      float64 `json:"load_s"`
	Events     int     `json:"events"`
	Unreadable int     `json:"unreadable"`
	EventBytes int     `json:"event_bytes"` // on average
	Hits       int     `json:"hits"`

	PerS      float64   `json:"events_per_s"`
	Rates     []float64 `json:"rates"`
	CPU       float64   `json:"cpu_us_per_event"`
	ParseCPU  float64   `json:"parse_cpu_us_per_event"` // of which reading takes
	RSS       float64   `json:"rss_mb"`                 // the most, loading the rules included
	Reference float64   `json:"reference_per_s"`        // the plain evaluator, which looks at each rule of the log source
	Ratio     float64   `json:"ratio"`
	Differ    int       `json:"events_judged_differently"` // by the two

	Times      int       `json:"times,omitempty"`
	TimesRules int       `json:"times_rules,omitempty"`
	TimesPerS  float64   `json:"times_events_per_s,omitempty"`
	TimesRSS   float64   `json:"times_rss_mb,omitempty"`
	Slower     float64   `json:"times_slower,omitempty"` // the median over the rounds of the time with those to that with the rules alone
	Slowers    []float64 `json:"times_slowers,omitempty"`
}

// Detect measures the Sigma engine in this process.
func Detect(ctx context.Context, o DetectOptions) (*DetectReport, error) {
	r := &DetectReport{Scenario: "detect", Machine: thisMachine(), Times: o.Times}
	say := func(format string, args ...any) {
		if o.Progress != nil {
			fmt.Fprintf(o.Progress, format+"\n", args...)
		}
	}
	began := time.Now()
	var rules []*sigma.Rule
	for _, dir := range o.Rules {
		read, err := sigma.ParseFS(os.DirFS(dir), ".")
		if err != nil {
			return nil, err
		}
		rules = append(rules, read.Rules...)
		r.NotLoaded += len(read.Errors)
	}
	engine, failed := sigma.Compile(rules, sigma.Options{})
	r.LoadS, r.Rules = time.Since(began).Seconds(), len(rules)-len(failed)
	r.NotLoaded += len(failed)
	say("%d rules loaded in %.1f s", r.Rules, r.LoadS)
	in, err := readTelemetry(o.Events)
	if err != nil {
		return nil, err
	}
	defer in.close()
	if err := r.pace(ctx, o, engine, in, say); err != nil {
		return nil, err
	}
	if err := r.times(ctx, o, engine, rules, in, say); err != nil {
		return nil, err
	}
	return r, r.compare(ctx, o, engine, rules, in, say)
}

// passage is one way of all events through.
type passage struct {
	records, unreadable, bytes, hits int64
	wall, cpu                        time.Duration
}

// pass reads all pieces and judges their records, on all cores.
func pass(ctx context.Context, in *input, judge func(*cybervault.Record) int) (passage, error) {
	var next, records, unreadable, hits atomic.Int64
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed error
	fail := func(err error) {
		mu.Lock()
		failed = errors.Join(failed, err)
		mu.Unlock()
	}
	p := passage{bytes: in.bytes()}
	began, used := time.Now(), ownCPU()
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			var buf []byte
			for {
				i := int(next.Add(1)) - 1
				if i >= len(in.pieces) {
					return
				}
				var err error
				if buf, err = in.read(i, buf); err != nil {
					fail(err)
					return
				}
				found := 0
				sum, err := telemetry.Parse(ctx, bytes.NewReader(buf), telemetry.Options{}, func(rec *cybervault.Record) error {
					found += judge(rec)
					return nil
				})
				records.Add(int64(sum.Records))
				unreadable.Add(int64(sum.Unreadable))
				hits.Add(int64(found))
				if err != nil {
					fail(err)
				}
			}
		})
	}
	wg.Wait()
	p.wall, p.cpu = time.Since(began), ownCPU()-used
	p.records, p.unreadable, p.hits = records.Load(), unreadable.Load(), hits.Load()
	return p, failed
}

func (p passage) rate() float64 { return float64(p.records) / p.wall.Seconds() }

func (p passage) cpuEach() float64 { return float64(p.cpu.Microseconds()) / float64(max(p.records, 1)) }

func judgeBy(e *sigma.Engine) func(*cybervault.Record) int {
	return func(rec *cybervault.Record) int { return len(e.Match(rec)) }
}

// pace measures the engine, after one pass to warm up.
func (r *DetectReport) pace(ctx context.Context, o DetectOptions, engine *sigma.Engine, in *input, say func(string, ...any)) error {
	first, err := pass(ctx, in, judgeBy(engine))
	if err != nil {
		return err
	}
	if first.records == 0 {
		return fmt.Errorf("none of the events under %s could be read", o.Events)
	}
	r.Events, r.Unreadable, r.Hits = int(first.records), int(first.unreadable), int(first.hits)
	r.EventBytes = int(first.bytes / first.records)
	if o.CPUProfile != "" {
		f, err := os.Create(o.CPUProfile)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	var cpus, parses []float64
	for round := range o.Rounds {
		p, err := pass(ctx, in, judgeBy(engine))
		if err != nil {
			return err
		}
		parse, err := pass(ctx, in, func(*cybervault.Record) int { return 0 })
		if err != nil {
			return err
		}
		r.Rates, cpus, parses = append(r.Rates, p.rate()), append(cpus, p.cpuEach()), append(parses, parse.cpuEach())
		say("round %d: %.0f events/s, %.1f µs of processor time each, %.1f µs of it to read them", round+1, p.rate(), p.cpuEach(), parse.cpuEach())
	}
	r.PerS, r.CPU, r.ParseCPU, r.RSS = median(r.Rates), median(cpus), median(parses), peakMemory()
	return nil
}

// times measures many times as many rules beside the rules alone.
func (r *DetectReport) times(ctx context.Context, o DetectOptions, engine *sigma.Engine, rules []*sigma.Rule, in *input, say func(string, ...any)) error {
	if o.Times < 2 {
		return nil
	}
	many := slices.Clone(rules)
	for n := 1; n < o.Times; n++ {
		for _, rule := range rules {
			many = append(many, vary(rule, n))
		}
	}
	large, failed := sigma.Compile(many, sigma.Options{})
	r.TimesRules = len(many) - len(failed)
	say("%d rules", r.TimesRules)
	if _, err := pass(ctx, in, judgeBy(large)); err != nil {
		return err
	}
	var rates []float64
	for round := range o.Rounds {
		small, err := pass(ctx, in, judgeBy(engine))
		if err != nil {
			return err
		}
		p, err := pass(ctx, in, judgeBy(large))
		if err != nil {
			return err
		}
		rates, r.Slowers = append(rates, p.rate()), append(r.Slowers, p.cpu.Seconds()/small.cpu.Seconds())
		say("round %d: %d times as many rules take %.2f times as long", round+1, o.Times, r.Slowers[round])
	}
	r.TimesPerS, r.Slower, r.TimesRSS = median(rates), median(r.Slowers), peakMemory()
	return nil
}

// compare gives the plain evaluator a sample, and looks whether it judges
// otherwise.
func (r *DetectReport) compare(ctx context.Context, o DetectOptions, engine *sigma.Engine, rules []*sigma.Rule, in *input, say func(string, ...any)) error {
	sample, err := in.sample(o.Stride)
	if err != nil {
		return err
	}
	defer sample.close()
	plain := sigma.NewReference(rules, sigma.Options{})
	p, err := pass(ctx, sample, func(rec *cybervault.Record) int { return len(plain.Match(rec)) })
	if err != nil {
		return err
	}
	var differ atomic.Int64
	_, err = pass(ctx, sample, func(rec *cybervault.Record) int {
		hits, want := engine.Match(rec), plain.Match(rec)
		if !slices.EqualFunc(hits, want, func(h sigma.Hit, rule *sigma.Rule) bool { return h.Rule == rule }) {
			differ.Add(1)
		}
		return 0
	})
	r.Reference, r.Ratio, r.Differ = p.rate(), r.PerS/p.rate(), int(differ.Load())
	say("the plain evaluator: %.0f events/s", r.Reference)
	return err
}

// peakMemory is the most memory this process has had resident, in MB; 0 where /proc
// does not say.
func peakMemory() float64 {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kb / 1024
		}
	}
	return 0
}
