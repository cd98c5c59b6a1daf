// Command eval measures the threat engine on public data: what it reads, what
// it finds, what it wrongly finds, and how fast. It is a tool of development,
// run by "make eval", and no part of the product.
//
// It reads the folder that EVAL_DATA names, prints a table (or JSON with
// -json), and exits with 1 when data is missing or cannot be read, or when the
// gate before the rule set lost a detection, when a test of the rule set is lost
// against stock Coraza, or when training again gives other weights. Speed never fails it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/cybervault/cybervault/internal/detect/model"
)

type report struct {
	Machine  string           `json:"machine"`
	SSHD     sshdFigures      `json:"fail2ban_sshd"`
	Access   accessFigures    `json:"apache_access_log"`
	Params   paramsFigures    `json:"httpparams"`
	Model    modelFigures     `json:"model"`
	CRS      crsFigures       `json:"crs_regression_tests"`
	Scenario scenariosFigures `json:"crowdsec_scenarios"`
	Shipped  shippedFigures   `json:"shipped_rules"`
	Sigma    sigmaFigures     `json:"sigmahq"`
}

func main() {
	asJSON := flag.Bool("json", false, "print the figures as JSON")
	only := flag.String("only", "", `"scenarios": measure CrowdSec's scenarios alone`)
	flag.Parse()
	if err := run(context.Background(), os.Getenv("EVAL_DATA"), *only, *asJSON, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "eval:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir, only string, asJSON bool, out io.Writer) error {
	if dir == "" {
		return errors.New("EVAL_DATA is not set: it names the folder that holds the public data sets (docs/detection.md lists them)")
	}
	for _, need := range []string{"auth/fail2ban", "web/apache/access.log", "web/httpparams/payload_train.csv", "crowdsec-hub/tests", "sigma/sigmahq"} {
		if _, err := os.Stat(filepath.Join(dir, need)); err != nil {
			return fmt.Errorf("the data set %s is missing under EVAL_DATA: %w", need, err)
		}
	}
	r := report{Machine: fmt.Sprintf("%s/%s, %d cores, %s", runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), runtime.Version())}
	if only == "scenarios" {
		return evalScenariosAlone(ctx, dir, asJSON, out)
	}
	var err error
	if r.SSHD, err = evalSSHD(ctx, dir); err != nil {
		return err
	}
	if r.Access, err = evalAccess(ctx, dir); err != nil {
		return err
	}
	if r.Params, err = evalParams(ctx, dir); err != nil {
		return err
	}
	if r.Model, err = evalModel(dir); err != nil {
		return err
	}
	if r.CRS, err = evalCRS(ctx); err != nil {
		return err
	}
	if r.Scenario, err = evalScenarios(ctx, dir); err != nil {
		return err
	}
	if r.Shipped, err = evalShipped(ctx, dir); err != nil {
		return err
	}
	if r.Sigma, err = evalSigma(ctx, dir); err != nil {
		return err
	}
	if asJSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		err = enc.Encode(r)
	} else {
		err = r.table(out)
	}
	if err == nil && r.Access.LostByGate > 0 {
		err = fmt.Errorf("the gate changed the verdict on %d requests", r.Access.LostByGate)
	}
	if err == nil && r.Model.Digest != r.Model.Retrained {
		err = fmt.Errorf("training again gave the weights %s, and the program has %s", r.Model.Retrained, r.Model.Digest)
	}
	if err == nil && len(r.CRS.Lost) > 0 {
		err = fmt.Errorf("%d stages of the rule set's tests are lost against stock Coraza", len(r.CRS.Lost))
	}
	return err
}

func (r report) table(out io.Writer) error {
	w := &lines{out: out}
	w.print("machine: %s", r.Machine)
	w.print("")
	w.print("fail2ban's sshd file")
	w.print("  marked failures read as failures   %d of %d (%.2f %%)", r.SSHD.MarkedRead, r.SSHD.Marked, r.SSHD.MarkedPercent)
	w.print("  unmarked records read as failures  %d of %d", r.SSHD.Misread, r.SSHD.Unmarked)
	for _, m := range r.SSHD.Mistakes {
		w.print("    %s", m)
	}
	a := r.Access
	w.print("")
	w.print("Apache access log")
	w.print("  records / unreadable               %d / %d", a.Records, a.Unreadable)
	w.print("  lines/s, whole engine, gate on     %.0f (%.1f µs of processor time a line, rule set asked %d times)", a.GatedPerSecond, a.GatedCPU, a.GatedAsked)
	w.print("  lines/s, whole engine, gate off    %.0f (%.1f µs, %d times)", a.UngatedPerSecond, a.UngatedCPU, a.UngatedAsked)
	w.print("  verdicts the gate changed          %d", a.LostByGate)
	w.print("  requests that match a rule         %d", a.Matching)
	w.print("  events")
	for _, f := range a.Findings {
		w.print("    %s", f)
	}
	w.print("")
	w.print("HTTP parameter values, as GET parameters")
	for _, c := range r.Params.Classes {
		w.print("  %-16s found %6d of %6d (%.2f %%), by a rule %d, %d of them by undoing an encoding", c.Class, c.Matched, c.Values, c.Percent, c.ByRule, c.Decoded)
	}
	w.print("  verdicts the gate changed          %d", r.Params.LostByGate)
	w.print("")
	w.print("learned score, values not trained on; trained again: %v", r.Model.Digest == r.Model.Retrained)
	for _, part := range []model.Result{r.Model.File, r.Model.Made} {
		w.print("  %d values, Brier score %.4f, expected calibration error %.4f", part.Values, part.Brier, part.ECE)
		for _, c := range part.Classes {
			w.print("    %-14s above the threshold %6d of %6d (%.2f %%)", c.Class, c.Above, c.Values, c.Percent)
		}
	}
	w.print("")
	w.print("CRS regression tests at paranoia level 4, families %s", strings.Join(r.CRS.Families, " "))
	w.print("  stages as expected, ours / stock   %d / %d of %d (%d gained)", r.CRS.Ours, r.CRS.Stock, r.CRS.Stages, r.CRS.Gained)
	for _, m := range r.CRS.Lost {
		w.print("    lost %s", m)
	}
	w.print("")
	w.print("the %d shipped rules and correlations", r.Shipped.Rules)
	w.print("  CloudTrail techniques detected     %d of %d; %d of %d records matched by rules of another tactic alone", r.Shipped.Detected, r.Shipped.Techniques, r.Shipped.OtherTactic, r.Shipped.Records)
	w.print("  Windows captures detected          %d of %d", r.Shipped.CapturesFound, r.Shipped.Captures)
	for _, m := range append(r.Shipped.Undetected, r.Shipped.CapturesMissed...) {
		w.print("    missed %s", m)
	}
	w.print("")
	r.Scenario.table(w)
	w.print("")
	w.print("SigmaHQ rules")
	w.print("  loaded                             %d of %d in %.1f s", r.Sigma.Loaded, r.Sigma.Rules, r.Sigma.LoadSeconds)
	for _, m := range r.Sigma.NotLoaded {
		w.print("    %s", m)
	}
	w.print("  regression data: named rule fires  %d of %d, %d of them exactly as often as told (and %d hits of other rules)",
		r.Sigma.Fired, r.Sigma.Tests, r.Sigma.AsTold, r.Sigma.OtherHits)
	for _, m := range r.Sigma.Others {
		w.print("    %s", m)
	}
	return w.err
}

// lines prints until the first error.
type lines struct {
	out io.Writer
	err error
}

func (l *lines) print(format string, args ...any) {
	if l.err == nil {
		_, l.err = fmt.Fprintf(l.out, format+"\n", args...)
	}
}
