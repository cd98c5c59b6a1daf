package telemetry

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/cybervault/cybervault"
)

const accessLine = `192.0.2.7 - - [10/Mar/2026:09:12:33 +0100] "GET / HTTP/1.1" 200 5 "-" "x"`

func gzipped(t testing.TB, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	if _, err := zw.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func readPiece(t testing.TB, r *Pieces, piece []byte) ([]*cybervault.Record, Summary) {
	t.Helper()
	var out []*cybervault.Record
	sum, err := r.Read(t.Context(), piece, func(rec *cybervault.Record) error {
		out = append(out, rec)
		return nil
	})
	if err != nil {
		t.Fatalf("%q: %v", piece, err)
	}
	if sum.Records != len(out) {
		t.Fatalf("%q: summary says %d records, %d were handed on", piece, sum.Records, len(out))
	}
	return out, sum
}

func newPieces(t testing.TB, opts Options) *Pieces {
	t.Helper()
	opts.Now = asOf
	r, err := NewPieces(opts)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A piece that is broken, in whichever way, takes no other with it.
func TestABrokenPieceSpoilsNoOther(t *testing.T) {
	t.Parallel()
	bomb := gzipped(t, strings.Repeat("x", 10_000))
	broken := map[string][]byte{
		"open object":      []byte(`{"method":"GET","url":"/",`),
		"open array":       []byte(`[`),
		"open string":      []byte(`{"url":"/`),
		"not gzip":         {0x1f, 0x8b, 0xff, 0x00},
		"gzip cut off":     gzipped(t, accessLine)[:20],
		"too long for one": bomb,
		"noise":            []byte("\x00\xff\xfe"),
	}
	for name, piece := range broken {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newPieces(t, Options{Source: "web", MaxBytes: 5000})
			if out, sum := readPiece(t, r, piece); len(out) != 0 || sum.Unreadable == 0 && name != "open array" {
				t.Errorf("the broken piece gave %d records, %d unreadable", len(out), sum.Unreadable)
			}
			out, sum := readPiece(t, r, []byte(accessLine))
			if len(out) != 1 || sum.Unreadable != 0 {
				t.Fatalf("the piece after it gave %d records, %d unreadable: %+v", len(out), sum.Unreadable, sum.Samples)
			}
			if out[0].Source != "web" || out[0].Line != 1 {
				t.Errorf("source %q, line %d; want web, 1", out[0].Source, out[0].Line)
			}
		})
	}
}

// What sshd said of a connection in one piece is known in the next.
func TestConnectionsLastFromPieceToPiece(t *testing.T) {
	t.Parallel()
	lines := []string{
		"Mar 10 08:00:00 gate sshd[7]: Invalid user admin from 192.0.2.9 port 4022",
		"Mar 10 08:00:01 gate sshd[7]: Failed password for invalid user admin from 192.0.2.9 port 4022 ssh2",
		"Mar 10 08:00:02 gate sshd[7]: Connection closed by invalid user admin 192.0.2.9 port 4022 [preauth]",
	}
	whole, _ := read(t, strings.Join(lines, "\n"), Options{})
	r := newPieces(t, Options{})
	for i, line := range lines {
		out, _ := readPiece(t, r, []byte(line))
		if len(out) != 1 {
			t.Fatalf("line %d: %d records", i+1, len(out))
		}
		for field, want := range whole[i].Fields {
			if got := out[0].Fields[field]; got != want {
				t.Errorf("line %d: %s = %q, want %q as in one file", i+1, field, got, want)
			}
		}
	}
}

func TestPiecesTellWhoseErrorItIs(t *testing.T) {
	t.Parallel()
	if _, err := NewPieces(Options{Format: "xml"}); cybervault.ErrorCode(err) != cybervault.CodeInvalid {
		t.Errorf("unknown format: %v, want CodeInvalid", err)
	}
	r := newPieces(t, Options{})
	full := errors.New("full")
	if _, err := r.Read(t.Context(), []byte(accessLine), func(*cybervault.Record) error { return full }); !errors.Is(err, full) {
		t.Errorf("the yield's error came back as %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if sum, err := r.Read(ended, []byte(accessLine), func(*cybervault.Record) error { return nil }); !errors.Is(err, context.Canceled) || sum.Unreadable != 0 {
		t.Errorf("a context that ended: %v, %d unreadable; want its error and no blame on the piece", err, sum.Unreadable)
	}
	if _, err := r.Read(t.Context(), []byte(accessLine), func(*cybervault.Record) error { panic("own") }); err != nil {
		t.Errorf("a parser that panics: %v", err)
	}
}

func FuzzPieces(f *testing.F) {
	f.Add([]byte(accessLine), []byte(`{"url":"/"`))
	f.Add([]byte("["), []byte("\x1f\x8b"))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		r := newPieces(t, Options{MaxBytes: 1 << 20})
		readPiece(t, r, first)
		readPiece(t, r, second)
		if out, _ := readPiece(t, r, []byte(accessLine)); len(out) != 1 {
			t.Fatalf("%d records of a sound line after %q and %q", len(out), first, second)
		}
	})
}
