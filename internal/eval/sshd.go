package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/telemetry"
)

// failJSON is what stands above each record of a fail2ban log file.
type failJSON struct {
	Match      bool   `json:"match"`
	Host       string `json:"host"`
	Constraint string `json:"constraint"`
	Desc       string `json:"desc"`
}

// sshdFigures say how fail2ban's sshd file is read: records marked as a failure
// must be read as one, with the right address; the others must not.
type sshdFigures struct {
	Records       int      `json:"records"`
	Unreadable    int      `json:"unreadable"`
	Marked        int      `json:"marked"`
	MarkedRead    int      `json:"marked_read_as_failure"`
	MarkedPercent float64  `json:"marked_read_percent"`
	Unmarked      int      `json:"unmarked"`
	Misread       int      `json:"unmarked_read_as_failure"`
	Mistakes      []string `json:"mistakes"`
}

// evalSSHD reads each of the file's records. A record whose mark holds in one of
// fail2ban's modes only, and that a second mark contradicts, is judged by the
// mark of the default mode.
func evalSSHD(ctx context.Context, dir string) (sshdFigures, error) {
	var out sshdFigures
	path := filepath.Join(dir, "auth", "fail2ban", "fail2ban", "tests", "files", "logs", "sshd")
	file, err := os.ReadFile(path)
	if err != nil {
		return out, err
	}
	// The marks are comments, which Parse leaves out; they are found again by
	// line number.
	marks := map[int]failJSON{}
	scan := bufio.NewScanner(bytes.NewReader(file))
	var mark failJSON
	for n := 1; scan.Scan(); n++ {
		line := scan.Text()
		if text, ok := strings.CutPrefix(line, "# failJSON:"); ok {
			mark = failJSON{}
			if err := json.Unmarshal([]byte(text), &mark); err != nil {
				return out, fmt.Errorf("%s line %d: %w", path, n, err)
			}
		} else if line != "" && line[0] != '#' {
			marks[n] = mark
		}
	}
	sum, err := telemetry.Parse(ctx, bytes.NewReader(file), telemetry.Options{
		Format: telemetry.FormatSyslog,
		Now:    func() time.Time { return time.Date(2005, 8, 14, 12, 0, 0, 0, time.UTC) },
	}, func(rec *cybervault.Record) error {
		mark := marks[rec.Line]
		if strings.Contains(mark.Constraint, "== 'aggressive'") {
			return nil
		}
		f := rec.Fields
		failure := f[cybervault.FieldOutcome] == cybervault.OutcomeFailure || f[cybervault.FieldConfirms] != ""
		source := f[cybervault.FieldSourceIP] + f[cybervault.FieldSourceName]
		switch {
		case mark.Match:
			out.Marked++
			if failure && (mark.Host == "" || sameAddress(source, mark.Host)) {
				out.MarkedRead++
			} else {
				out.Mistakes = append(out.Mistakes, fmt.Sprintf("line %d: marked (%s), read as %q from %q", rec.Line, mark.Host, f[cybervault.FieldOutcome], source))
			}
		default:
			out.Unmarked++
			if failure {
				out.Misread++
				out.Mistakes = append(out.Mistakes, fmt.Sprintf("line %d: not marked, read as failure from %q", rec.Line, source))
			}
		}
		return nil
	})
	out.Records, out.Unreadable = sum.Records, sum.Unreadable
	if out.Marked > 0 {
		out.MarkedPercent = percent(out.MarkedRead, out.Marked)
	}
	return out, err
}

// sameAddress forgives the leading zeros that some marks are written with.
func sameAddress(got, want string) bool {
	clean := func(s string) string {
		parts := strings.Split(s, ".")
		for i, p := range parts {
			if t := strings.TrimLeft(p, "0"); t != "" {
				parts[i] = t
			}
		}
		return strings.Join(parts, ".")
	}
	return clean(got) == clean(want)
}

func percent(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return math.Round(float64(part)*1e4/float64(whole)) / 100
}
