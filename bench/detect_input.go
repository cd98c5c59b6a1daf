package bench

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/cybervault/cybervault/internal/detect/sigma"
)

// chunkSize is how much telemetry a worker takes at a time.
const chunkSize = 256 << 10

// input is telemetry on disk, uncompressed and in pieces, so that it takes no
// memory of the process that is measured.
type input struct {
	file   *os.File
	pieces []piece
}

type piece struct{ from, size int64 }

// readTelemetry puts every file of a directory into one temporary file, and
// cuts those that hold a record a line into pieces.
func readTelemetry(dir string) (_ *input, err error) {
	in := &input{}
	if in.file, err = os.CreateTemp("", "cybervault-bench-*"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			in.close()
		}
	}()
	var at int64
	err = filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(name) == "" {
			return err
		}
		data, err := os.ReadFile(name) //nolint:gosec // G122: whoever runs a benchmark owns its input
		if err != nil {
			return err
		}
		if filepath.Ext(name) == ".gz" {
			zr, err := gzip.NewReader(bytes.NewReader(data))
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if data, err = io.ReadAll(zr); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		for _, part := range cut(data) {
			in.pieces = append(in.pieces, piece{at, int64(len(part))})
			at += int64(len(part))
		}
		_, err = in.file.Write(data)
		return err
	})
	return in, err
}

func (in *input) close() {
	_ = in.file.Close()
	_ = os.Remove(in.file.Name())
}

func (in *input) bytes() (n int64) {
	for _, p := range in.pieces {
		n += p.size
	}
	return n
}

// read reads a piece, into buf where it has room.
func (in *input) read(i int, buf []byte) ([]byte, error) {
	p := in.pieces[i]
	buf = slices.Grow(buf[:0], int(p.size))[:p.size]
	_, err := in.file.ReadAt(buf, p.from)
	return buf, err
}

// sample keeps one line of so many.
func (in *input) sample(stride int) (_ *input, err error) {
	out := &input{}
	if out.file, err = os.CreateTemp("", "cybervault-bench-*"); err != nil {
		return nil, err
	}
	var at int64
	n := 0
	for i := range in.pieces {
		data, err := in.read(i, nil)
		if err != nil {
			out.close()
			return nil, err
		}
		var part []byte
		for line := range bytes.Lines(data) {
			if n%stride == 0 {
				part = append(part, line...)
			}
			n++
		}
		if _, err := out.file.Write(part); err != nil {
			out.close()
			return nil, err
		}
		out.pieces = append(out.pieces, piece{at, int64(len(part))})
		at += int64(len(part))
	}
	return out, nil
}

// cut cuts at line breaks, unless lines are not records of their own.
func cut(data []byte) (out [][]byte) {
	for len(data) > chunkSize {
		end := bytes.LastIndexByte(data[:chunkSize], '\n') + 1
		if end <= 0 || end < len(data) && data[end] != data[0] {
			break
		}
		out = append(out, data[:end])
		data = data[end:]
	}
	return append(out, data)
}

// vary makes another rule of the same form, whose literals are others: letters
// and digits are moved on by n, so that lengths, wildcards and the number of
// comparisons stay.
func vary(rule *sigma.Rule, n int) *sigma.Rule {
	out := *rule
	out.ID = fmt.Sprintf("%s-%d", rule.ID, n)
	out.Detections = nil
	for _, d := range rule.Detections {
		det := *d
		det.Groups = nil
		for _, g := range d.Groups {
			var group sigma.Group
			for _, i := range g.Items {
				item := *i
				item.Values = slices.Clone(i.Values)
				for v := range item.Values {
					varyValue(&item, &item.Values[v], n)
				}
				group.Items = append(group.Items, &item)
			}
			det.Groups = append(det.Groups, group)
		}
		out.Detections = append(out.Detections, &det)
	}
	return &out
}

func varyValue(i *sigma.Item, v *sigma.Value, n int) {
	switch {
	case slices.Contains(i.Modifiers, "re"):
		text := varyExpression(v.Text, n)
		if _, err := regexp.Compile(text); err != nil || text == v.Text {
			text = fmt.Sprintf("(?:%s)q%dz", v.Text, n) // nothing that could be moved
		}
		v.Text = text
	case v.Kind == sigma.NumberValue || v.Kind == sigma.StringValue && !slices.Contains(i.Modifiers, "cidr") && !slices.Contains(i.Modifiers, "fieldref"):
		text := []byte(v.Text)
		for at, c := range text {
			text[at] = moved(c, n)
		}
		v.Text = string(text)
	}
}

// moved is another letter or digit; 0 stays, so that numbers keep their length.
func moved(c byte, n int) byte {
	switch {
	case c >= 'a' && c <= 'z':
		return 'a' + (c-'a'+byte(n%26))%26
	case c >= 'A' && c <= 'Z':
		return 'A' + (c-'A'+byte(n%26))%26
	case c >= '1' && c <= '9':
		return '1' + (c-'1'+byte(n%9))%9
	}
	return c
}

// varyExpression moves the literal characters of a regular expression, and leaves
// escapes, classes, repetitions and flags as they are.
func varyExpression(expr string, n int) string {
	out := []byte(expr)
	for i := 0; i < len(out); i++ {
		switch c := out[i]; {
		case c == '\\':
			i++
		case c == '[' || c == '{':
			end := bytes.IndexByte(out[i+1:], c+2) // ] and } stand two behind
			if end < 0 {
				return expr
			}
			i += end + 1
		case c == '(' && bytes.HasPrefix(out[i:], []byte("(?")):
			if end := bytes.IndexAny(out[i:], ":)"); end > 0 { // flags
				i += end
			}
		default:
			out[i] = moved(c, n)
		}
	}
	return string(out)
}
