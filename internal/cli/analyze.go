package cli

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/config"
	"github.com/cybervault/cybervault/internal/detect"
	"github.com/cybervault/cybervault/internal/detect/geo"
	"github.com/cybervault/cybervault/internal/detect/incident"
	"github.com/cybervault/cybervault/internal/detect/sigma"
	"github.com/cybervault/cybervault/internal/telemetry"
	"github.com/cybervault/cybervault/internal/telemetry/merge"
	"github.com/cybervault/cybervault/rules"
)

// maxShownUnreadable bounds how many unreadable lines the summary shows.
const maxShownUnreadable = 5

// maxShownRules bounds how many rules that cannot be used are shown.
const maxShownRules = 10

func newAnalyze(env *Env) *cobra.Command {
	a := analysis{env: env}
	cmd := &cobra.Command{
		Use: "analyze FILE…", GroupID: groupServer, Args: cobra.MinimumNArgs(1),
		Short: "Run the threat engine over files, without a server",
		Long: `Reads log files, all files below a directory, or stdin (-), compressed with gzip or not,
and prints the events that a server would publish for them. Nothing is stored or sent.
The records of all files are judged in the order of their times, which are those of the
log, so the same files give the same events. The threat engine is set up by the same
settings as a server's: flags, environment, or the file of settings.`,
		Example: `  cybervault analyze /var/log/nginx/access.log /var/log/auth.log
  cybervault analyze /var/log
  zcat old/*.gz | cybervault analyze --json - | jq .data.vector`,
		RunE: func(cmd *cobra.Command, args []string) error { return a.run(cmd.Context(), args) },
	}
	a.settings = config.Bind(cmd.Flags(), "rules", "geoip", "paranoia", "web-sites", "incident-quiet")
	cmd.Flags().StringVar(&a.source, "source", "", "name of the source that the records come from")
	cmd.Flags().StringVar(&a.format, "format", "", "read everything as this format instead of recognising it")
	cmd.Flags().BoolVar(&a.json, "json", false, "print the events' envelopes, one a line")
	return cmd
}

// analysis is one run of the threat engine over files.
type analysis struct {
	env            *Env
	source, format string
	json           bool
	settings       *config.Flags

	engine    *detect.Engine
	incidents incident.Memory
	total     telemetry.Summary
	late      int
	lines     []string // the first that could not be read, as the summary shows them
}

func (a *analysis) run(ctx context.Context, names []string) error {
	options := telemetry.Options{Source: a.source, Format: a.format, Now: a.env.Now}
	if _, err := telemetry.NewPieces(options); err != nil {
		return usagef("--format: %s", err)
	}
	files, err := logFiles(names, a.env)
	if err != nil {
		return err
	}
	settings, err := a.settings.Load(a.env.LookupEnv)
	if err != nil {
		return usagef("%s", err)
	}
	closeGeo, err := a.openEngine(settings)
	if err != nil {
		return err
	}
	defer closeGeo()
	// A fixed workspace: envelopes look as a server's do, and the same each time.
	workspace := cybervault.WorkspaceID{UUID: cybervault.UUIDFromParts(0, 0)}
	batch := a.engine.Begin(workspace)
	progress := newProgress(a.env, files)
	report, stopped := merge.Read(ctx, inputs(files), options, func(r *cybervault.Record) error {
		progress.record()
		return batch.Add(ctx, r)
	})
	took := progress.end()
	a.count(report)
	findings, judgeErr := batch.End(ctx)
	findings, groupErr := a.incidents.Analyse(ctx, workspace, findings, settings.IncidentQuiet)
	failed := []error{stopped, judgeErr, groupErr, a.print(workspace, findings)}
	for _, in := range report.Inputs {
		if in.Err != nil && stopped == nil { // or it says no more than that
			failed = append(failed, fmt.Errorf("%s: %w", inputName(in.Name), in.Err))
		}
	}
	a.summarise(len(files), len(findings), took)
	return errors.Join(failed...)
}

// openEngine makes the engine as a server with these settings does. What it returns
// closes the GeoIP databases.
func (a *analysis) openEngine(settings config.Config) (closeGeo func(), err error) {
	c := detect.Config{Now: a.env.Now, Paranoia: settings.Paranoia, Sites: settings.WebSites}
	closeGeo = func() {}
	if files := settings.Detect.GeoIP; len(files) > 0 {
		places, err := geo.Open(files...)
		if err != nil {
			return nil, usagef("geoip: %s", err)
		}
		closeGeo = func() { _ = places.Close() }
		c.Locate = places.Locate
	}
	if c.Rules, err = a.loadRules(settings.Detect.Rules); err == nil {
		a.engine, err = detect.New(c)
	}
	if err != nil {
		closeGeo()
		return nil, err
	}
	return closeGeo, nil
}

// loadRules loads the Sigma rules, and says on stderr which cannot be used.
func (a *analysis) loadRules(dirs []string) (*sigma.Engine, error) {
	sources := []detect.RuleSource{{FS: rules.FS()}}
	for _, dir := range dirs {
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return nil, usagef("--rules: %s is not a directory that can be read", dir)
		}
		sources = append(sources, detect.RuleSource{Name: dir, FS: os.DirFS(dir)})
	}
	engine, wrong, err := detect.LoadRules(sources...)
	for _, e := range wrong[:min(len(wrong), maxShownRules)] {
		fmt.Fprintf(a.env.Stderr, "a rule cannot be used: %s\n", clean(e.Error()))
	}
	if more := len(wrong) - maxShownRules; more > 0 {
		fmt.Fprintf(a.env.Stderr, "and %d more rules cannot be used\n", more)
	}
	return engine, err
}

func (a *analysis) count(report merge.Report) {
	a.late = report.Late
	for _, in := range report.Inputs {
		a.total.Records += in.Summary.Records
		a.total.Unreadable += in.Summary.Unreadable
		a.total.Bytes += in.Summary.Bytes
		for _, s := range in.Summary.Samples[:min(len(in.Summary.Samples), maxShownUnreadable-len(a.lines))] {
			a.lines = append(a.lines, fmt.Sprintf("%s:%d: %s: %s", inputName(in.Name), s.Line, s.Reason, short(s.Text, 120)))
		}
	}
}

// finding is what the table shows of an event's data.
type finding struct {
	Severity   string   `json:"severity"`
	Vector     string   `json:"vector"`
	Title      string   `json:"title"` // of an incident
	Pattern    string   `json:"pattern"`
	SourceIP   *string  `json:"source_ip"`
	User       *string  `json:"user"`
	Asset      *string  `json:"target_asset"`
	Count      int      `json:"count"`
	Confidence *float64 `json:"confidence"`
	MitreID    *string  `json:"mitre_id"`
	Counts     struct {
		Records int `json:"records"`
	} `json:"counts"`
}

func (a *analysis) print(workspace cybervault.WorkspaceID, findings []cybervault.Finding) error {
	t := &table{heading: []string{"TIME", "EVENT", "SEVERITY", "WHAT", "FROM", "USER", "TARGET", "RECORDS", "CONFIDENCE", "ATT&CK"}}
	for _, f := range findings {
		if a.json {
			if err := a.printEnvelope(workspace, f); err != nil {
				return err
			}
			continue
		}
		var d finding
		if err := json.Unmarshal(f.Data, &d); err != nil {
			return fmt.Errorf("an event's data is not what it should be: %w", err)
		}
		confidence := ""
		if d.Confidence != nil {
			confidence = strconv.FormatFloat(*d.Confidence, 'f', 2, 64)
		}
		t.add(moment(&f.Timestamp), f.Type, d.Severity, short(d.Vector+d.Pattern+d.Title, 100), text(d.SourceIP), text(d.User), text(d.Asset),
			strconv.Itoa(d.Count+d.Counts.Records), confidence, text(d.MitreID))
	}
	if len(t.rows) == 0 {
		return nil
	}
	return t.print(a.env.Stdout, colours(a.env, a.env.Stdout))
}

// printEnvelope prints the envelope that a server would store, with an id that
// is made from what it holds.
func (a *analysis) printEnvelope(workspace cybervault.WorkspaceID, f cybervault.Finding) error {
	sum := sha256.Sum256(append([]byte(f.Type+"\x00"+f.Key+"\x00"), f.Data...))
	low := binary.BigEndian.Uint64(sum[:]) & (1<<20 - 1) // counter and node of the key
	id := cybervault.UUIDFromParts(f.Timestamp.UnixMilli()<<20|int64(low), int64(binary.BigEndian.Uint64(sum[8:])>>10))
	raw, err := marshalPlain(cybervault.Envelope{
		ID: cybervault.EventID{UUID: id}, Event: f.Type, Timestamp: f.Timestamp, Data: f.Data,
		Metadata: cybervault.Metadata{WorkspaceID: workspace, EngineVersion: detect.EngineVersion(), IdempotencyKey: f.Key},
	})
	if err != nil {
		return err
	}
	return printLine(a.env.Stdout, raw)
}

func (a *analysis) summarise(files, events int, took time.Duration) {
	w := a.env.Stderr
	rate := ""
	if took >= time.Second { // below, loading the rules is most of it
		rate = fmt.Sprintf(", %.0f records a second", float64(a.total.Records)/took.Seconds())
	}
	fmt.Fprintf(w, "%d records (%.1f MB in %d file(s)%s), %d events, %d incidents, %d lines unreadable\n",
		a.total.Records, float64(a.total.Bytes)/1e6, files, rate, events, len(a.incidents.Incidents()), a.total.Unreadable)
	for _, line := range a.lines {
		fmt.Fprintf(w, "  %s\n", clean(line))
	}
	if more := a.total.Unreadable - len(a.lines); more > 0 && len(a.lines) > 0 {
		fmt.Fprintf(w, "  and %d more\n", more)
	}
	if a.late > 0 {
		fmt.Fprintf(w, "  %d records were too far from their place in time to be put there, and were judged late\n", a.late)
	}
}
