package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// clean makes text from elsewhere safe to show: what could move the cursor,
// change colours or turn the direction of writing becomes a visible mark.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || unicode.IsGraphic(r) {
			return r
		}
		return '\uFFFD'
	}, s)
}

// short cuts text to n characters.
func short(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

// A palette colours words; the zero value leaves them as they are.
type palette struct{ on bool }

// colours returns a palette that is on if w is a terminal that wants colours.
func colours(env *Env, w io.Writer) palette {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return palette{}
	}
	if v, ok := env.LookupEnv("NO_COLOR"); ok && v != "" { // no-color.org
		return palette{}
	}
	v, _ := env.LookupEnv("TERM")
	return palette{on: v != "dumb"}
}

func (p palette) paint(code, s string) string {
	if !p.on || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (p palette) bold(s string) string { return p.paint("1", s) }
func (p palette) dim(s string) string  { return p.paint("2", s) }
func (p palette) good(s string) string { return p.paint("32", s) }
func (p palette) bad(s string) string  { return p.paint("31", s) }
func (p palette) warn(s string) string { return p.paint("33", s) }

// word colours the words that say how something stands.
func (p palette) word(s string) string {
	switch strings.TrimSpace(s) {
	case "delivered", "enabled", "valid", "succeeded":
		return p.good(s)
	case "dead_letter", "failed", "WRONG", "critical", "revoked":
		return p.bad(s)
	case "pending", "held", "disabled", "high":
		return p.warn(s)
	case "skipped", "cancelled", "info":
		return p.dim(s)
	}
	return s
}

// A table prints rows under a heading, in columns as wide as their widest cell.
type table struct {
	heading []string
	rows    [][]string
}

func (t *table) add(cells ...string) {
	for i, c := range cells {
		cells[i] = strings.ReplaceAll(clean(c), "\n", " ")
	}
	t.rows = append(t.rows, cells)
}

func (t *table) print(w io.Writer, p palette) error {
	widths := make([]int, len(t.heading))
	for _, row := range append([][]string{t.heading}, t.rows...) {
		for i, c := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	var b bytes.Buffer
	line := func(row []string, colour func(string) string) {
		for len(row) > 0 && row[len(row)-1] == "" { // no spaces at the end of a line
			row = row[:len(row)-1]
		}
		for i, c := range row {
			if i < len(row)-1 {
				c += strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c)+2)
			}
			b.WriteString(colour(c))
		}
		b.WriteByte('\n')
	}
	line(t.heading, p.bold)
	for _, row := range t.rows {
		line(row, p.word)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// details prints names and values, one a line; empty values are left out.
func details(w io.Writer, p palette, pairs ...string) error {
	width := 0
	for pair := range slices.Chunk(pairs, 2) {
		width = max(width, utf8.RuneCountInString(pair[0]))
	}
	var b bytes.Buffer
	for pair := range slices.Chunk(pairs, 2) {
		name, value := pair[0], strings.ReplaceAll(clean(pair[1]), "\n", " ")
		if value == "" {
			continue
		}
		fmt.Fprintf(&b, "%s%s  %s\n", p.dim(name), strings.Repeat(" ", width-utf8.RuneCountInString(name)), p.word(value))
	}
	_, err := w.Write(b.Bytes())
	return err
}

// marshalPlain is json.Marshal that leaves <, > and & as they are.
func marshalPlain(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return b.Bytes(), err
}

// printLine prints a JSON value on one line, otherwise as it is.
func printLine(w io.Writer, raw []byte) error {
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return fmt.Errorf("the server's answer is not JSON: %w", err)
	}
	b.WriteByte('\n')
	_, err := w.Write(b.Bytes())
	return err
}

// printPretty prints a JSON value over several lines.
func printPretty(w io.Writer, raw []byte) error {
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		return fmt.Errorf("the server's answer is not JSON: %w", err)
	}
	b.WriteByte('\n')
	_, err := io.WriteString(w, clean(b.String()))
	return err
}

// moment shows a time to the second, in UTC; "" for none.
func moment(t *time.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

// text shows what may be absent.
func text[T any](v *T) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(*v)
}
