package detect_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/detect"
	"github.com/cybervault/cybervault/internal/detect/sample"
	"github.com/cybervault/cybervault/internal/telemetry"
)

// A file, or the body of one request, is a batch: records go in as telemetry
// reads them, and what they led to comes out at the end.
func Example() {
	ctx := context.Background()
	engine, err := detect.New(detect.Config{})
	if err != nil {
		log.Fatal(err)
	}
	asOf := func() time.Time { return time.Date(2026, 3, 11, 0, 0, 0, 0, time.UTC) }

	batch := engine.Begin(cybervault.WorkspaceID{})
	opts := telemetry.Options{Source: sample.AuthLogSource, Now: asOf}
	summary, err := telemetry.Parse(ctx, sample.AuthLog(), opts, func(rec *cybervault.Record) error {
		return batch.Add(ctx, rec)
	})
	if err != nil {
		log.Fatal(err)
	}
	findings, err := batch.End(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(summary.Records, "records,", len(findings), "events")
	for _, f := range findings {
		var data struct {
			Pattern  string `json:"pattern"`
			SourceIP string `json:"source_ip"`
			Severity string `json:"severity"`
			Count    int    `json:"count"`
		}
		if err := json.Unmarshal(f.Data, &data); err != nil {
			log.Fatal(err)
		}
		fmt.Println(f.Type, data.Pattern, data.SourceIP, data.Severity, data.Count)
	}
	// Output:
	// 60 records, 2 events
	// auth.suspicious brute_force 198.51.100.23 medium 10
	// auth.suspicious success_after_failures 198.51.100.140 critical 13
}
