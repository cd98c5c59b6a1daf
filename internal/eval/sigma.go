package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/detect/sigma"
	"github.com/cybervault/cybervault/internal/telemetry"
)

// sigmaFigures say how many of SigmaHQ's rules load, and whether the rules fire
// on the events that their authors recorded for them, as often as they say.
type sigmaFigures struct {
	Rules       int      `json:"rules"`
	Loaded      int      `json:"loaded"`
	NotLoaded   []string `json:"not_loaded"`
	LoadSeconds float64  `json:"load_s"`
	Tests       int      `json:"regression_tests"`
	Fired       int      `json:"fired"` // of them, at least as often as told
	AsTold      int      `json:"as_told"`
	Others      []string `json:"not_as_told"`
	OtherHits   int      `json:"hits_of_other_rules"` // on the same events
}

// regression is what an info.yml says.
type regression struct {
	Rules []struct {
		ID string `yaml:"id"`
	} `yaml:"rule_metadata"`
	Tests []struct {
		Count *int `yaml:"match_count"`
	} `yaml:"regression_tests_info"`
}

func evalSigma(ctx context.Context, dir string) (sigmaFigures, error) {
	var out sigmaFigures
	root := filepath.Join(dir, "sigma", "sigmahq")
	roots, err := filepath.Glob(filepath.Join(root, "rules*"))
	if err != nil {
		return out, err
	}
	for i, r := range roots {
		roots[i] = filepath.Base(r)
	}
	began := time.Now()
	rules, err := sigma.ParseFS(os.DirFS(root), roots...)
	if err != nil {
		return out, err
	}
	engine, errs := sigma.Compile(rules.Rules, sigma.Options{})
	out.LoadSeconds = time.Since(began).Seconds()
	out.Rules = len(rules.Rules) + len(rules.Errors)
	out.Loaded = len(rules.Rules) - len(errs)
	for _, e := range append(rules.Errors, errs...) {
		out.NotLoaded = append(out.NotLoaded, e.Error())
	}
	err = filepath.WalkDir(filepath.Join(root, "regression_data"), func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Name() != "info.yml" {
			return err
		}
		return out.regression(ctx, engine, name)
	})
	return out, err
}

// regression runs the events beside one info.yml, where they are there as JSON.
func (out *sigmaFigures) regression(ctx context.Context, engine *sigma.Engine, name string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	var info regression
	if err := yaml.Unmarshal(text, &info); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	files, err := filepath.Glob(filepath.Join(filepath.Dir(name), "*.json"))
	if err != nil || len(files) == 0 || len(info.Rules) == 0 {
		return err
	}
	want, told := 1, false
	if len(info.Tests) > 0 && info.Tests[0].Count != nil {
		want, told = *info.Tests[0].Count, true
	}
	fired := 0
	var read telemetry.Summary
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		sum, err := telemetry.Parse(ctx, bytes.NewReader(data), telemetry.Options{}, func(rec *cybervault.Record) error {
			for _, h := range engine.Match(rec) {
				if h.ID == info.Rules[0].ID {
					fired++
				} else {
					out.OtherHits++
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
		read.Records += sum.Records
		read.Unreadable += sum.Unreadable
	}
	out.Tests++
	if fired >= want {
		out.Fired++
	}
	if fired == want || fired > want && !told {
		out.AsTold++
		return nil
	}
	out.Others = append(out.Others, fmt.Sprintf("%s: fired %d times, told %d; %d records read, %d unreadable",
		strings.TrimSuffix(filepath.Base(filepath.Dir(name)), "/"), fired, want, read.Records, read.Unreadable))
	return nil
}
