// Package model is the learned score of HTTP parameters: how likely a value is
// an attack, of which kind, and what in it says so.
//
// It stands within the detect stage, beside the rule set in web, which asks it
// about each value of a request. It holds the weights, how they were trained
// and how well they do; it decides nothing about events. A value's score depends on the
// value alone.
package model

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the weights
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"

	"github.com/cybervault/cybervault/internal/detect/decode"
)

// Version names the features and the generators. Weights of another version are
// refused, since they would be read against other features.
const Version = "ai_v1.0"

// Class is what a value is.
type Class uint8

// The classes. Their order is part of the weights' format.
const (
	Benign Class = iota
	SQLInjection
	XSS
	PathTraversal
	CommandInjection
	CodeInjection
	LDAPInjection
	SSRF
	HeaderInjection
	classes
)

var classNames = [classes]string{"norm", "sqli", "xss", "traversal", "cmdi", "code", "ldap", "ssrf", "crlf"}

// String is the class's short name, as rule ids have it: "sqli".
func (c Class) String() string { return classNames[c] }

// Info says where weights come from and what they are worth.
type Info struct {
	Version    string             `json:"version"`
	Seed       uint64             `json:"seed"`
	Command    string             `json:"command"`
	DataSHA256 string             `json:"data_sha256"` // of payload_train.csv
	Values     int                `json:"training_values"`
	Generated  int                `json:"training_values_generated"`
	Folds      int                `json:"folds"`
	Brier      float64            `json:"brier_score"`
	ECE        float64            `json:"expected_calibration_error"`
	BrierOdd   float64            `json:"brier_score_generated"`
	ECEOdd     float64            `json:"expected_calibration_error_generated"`
	Threshold  float64            `json:"threshold"`
	Found      map[string]float64 `json:"found_percent"`
	Flagged    float64            `json:"norm_flagged_percent"`
	Scale      float64            `json:"scale"` // a weight is its byte times that
	Features   int                `json:"features"`
	Classes    []string           `json:"classes"`
}

// Model is a set of weights. Safe for concurrent use.
type Model struct {
	Info   Info
	Digest string // SHA-256 of the whole file, in hex

	weights []int8 // by feature, then class
	pool    sync.Pool
}

//go:embed weights.bin
var embedded []byte

// Default is the model that is built in, read when it is first needed.
var Default = sync.OnceValues(func() (*Model, error) { return Read(embedded) })

// Read reads weights as Train writes them: one line of JSON, then the weights.
func Read(raw []byte) (*Model, error) {
	line, body, ok := bytes.Cut(raw, []byte("\n"))
	if !ok {
		return nil, errors.New("the model's weights have no heading")
	}
	m := &Model{}
	if err := json.Unmarshal(line, &m.Info); err != nil {
		return nil, fmt.Errorf("the model's heading: %w", err)
	}
	i := m.Info
	if i.Version != Version || i.Features != features || len(i.Classes) != int(classes) || len(body) != features*int(classes) {
		return nil, fmt.Errorf("the weights are of version %q with %d features, and this program reads %q with %d: train them again with cybervault model train", i.Version, i.Features, Version, features)
	}
	if !(i.Scale > 0) || !(i.Threshold > 0 && i.Threshold < 1) {
		return nil, errors.New("the model's heading has no scale or no threshold")
	}
	m.weights = make([]int8, len(body))
	for j, b := range body {
		m.weights[j] = int8(b)
	}
	sum := sha256.Sum256(raw)
	m.Digest = hex.EncodeToString(sum[:])
	m.pool.New = func() any { return &extractor{} }
	return m, nil
}

// Score is what the model makes of a value.
type Score struct {
	Attack float64 // probability that it is an attack of any kind
	Class  Class   // the likeliest kind of attack
	Text   string  // the value, or the window of it, with its encodings undone
	Undone []decode.Encoding
}

// Windows of a long value, so that much harmless text cannot hide a short attack.
const (
	window  = 4 << 10
	overlap = 256
)

// Score returns the score of a value: of its most suspicious window, and the
// worse of what it says as it stands and decoded.
func (m *Model) Score(value string) Score {
	text, undone := decode.Reveal(value)
	return m.ScoreText(text, undone)
}

// ScoreText scores a text whose encodings were undone.
func (m *Model) ScoreText(text string, undone []decode.Encoding) Score {
	x := m.pool.Get().(*extractor)
	defer m.pool.Put(x)
	best := Score{Attack: -1}
	for start := 0; ; start += window - overlap {
		end := min(start+window, len(text))
		part := text[start:end]
		if start == 0 || strings.ContainsAny(part, signs) {
			if s := m.judge(x, part, undone); s.Attack > best.Attack {
				best = s
			}
		}
		if end == len(text) {
			return best
		}
	}
}

// signs are the characters that hardly an attack does without.
const signs = "'\"<>()[]{};|&$`\\/=%*#!^~\n\x00"

func (m *Model) judge(x *extractor, text string, undone []decode.Encoding) Score {
	var logits [classes]float64
	for _, f := range x.extract(text, undone) {
		row := m.weights[int(f)*int(classes):][:classes]
		for k, w := range row {
			logits[k] += float64(w)
		}
	}
	for k := range logits {
		logits[k] *= m.Info.Scale
	}
	p := softmax(logits)
	s := Score{Attack: 1 - p[Benign], Text: text, Undone: undone, Class: SQLInjection}
	for k := SQLInjection; k < classes; k++ {
		if p[k] > p[s.Class] {
			s.Class = k
		}
	}
	return s
}

// softmax turns logits into probabilities.
func softmax(z [classes]float64) [classes]float64 {
	top := z[0]
	for _, v := range z[1:] {
		top = math.Max(top, v)
	}
	sum := 0.0
	for k := range z {
		z[k] = math.Exp(z[k] - top)
		sum += z[k]
	}
	for k := range z {
		z[k] /= sum
	}
	return z
}

// Reasons names the features that spoke most for the score's class, at most n,
// most telling first.
func (m *Model) Reasons(s Score, n int) []string {
	x := &extractor{names: map[uint32]string{}}
	type reason struct {
		text   string
		weight int
	}
	var all []reason
	for _, f := range x.extract(s.Text, s.Undone) {
		row := m.weights[int(f)*int(classes):][:classes]
		if w := int(row[s.Class]) - int(row[Benign]); w > 0 {
			all = append(all, reason{describe(f, x.names), w})
		}
	}
	var out []string
	for len(out) < n {
		best := -1
		for i, r := range all {
			if r.text != "" && (best < 0 || r.weight > all[best].weight) {
				best = i
			}
		}
		if best < 0 {
			break
		}
		out = append(out, all[best].text)
		for i := range all { // say a thing once
			if all[i].text == out[len(out)-1] || strings.Contains(out[len(out)-1], all[i].text) {
				all[i].text = ""
			}
		}
	}
	return out
}

func describe(f uint32, names map[uint32]string) string {
	if w, ok := featureWords[f]; ok {
		return w
	}
	if f >= featEncoding && f < featEncodingEnd {
		return "hidden in " + decode.Encoding(f-featEncoding).String()
	}
	if name := names[f]; name != "" {
		return "“" + name + "”"
	}
	return ""
}
