package bench

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/cybervault/cybervault/internal/detect/sigma"
)

// chunkSize is how much telemetry a worker takes at a time.
const chunkSize = 256 << 10

// readTelemetry reads every file of a directory, and cuts those that hold a
// record a line into pieces.
func readTelemetry(dir string) (chunks [][]byte, err error) {
	err = filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(name) == "" {
			return err
		}
		data, err := os.ReadFile(name)
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
		chunks = append(chunks, cut(slices.Clip(data))...)
		return nil
	})
	return chunks, err
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
// comparisons stay. A regular expression gets a demand of its own beside its.
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
		v.Text = fmt.Sprintf("(?:%s)[^~]*q%dz", v.Text, n)
	case v.Kind == sigma.NumberValue || v.Kind == sigma.StringValue && !slices.Contains(i.Modifiers, "cidr") && !slices.Contains(i.Modifiers, "fieldref"):
		text := []byte(v.Text)
		for at, c := range text {
			switch {
			case c >= 'a' && c <= 'z':
				text[at] = 'a' + (c-'a'+byte(n))%26
			case c >= 'A' && c <= 'Z':
				text[at] = 'A' + (c-'A'+byte(n))%26
			case c >= '1' && c <= '9':
				text[at] = '1' + (c-'1'+byte(n))%9
			}
		}
		v.Text = string(text)
	}
}
