package model

import (
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sort"

	"github.com/cybervault/cybervault/internal/detect/decode"
)

// Sample is a value with what it is.
type Sample struct {
	Value string
	Class Class
	made  bool // by the generators
}

// dataFile is the labelled data, below the folder of the data sets.
const dataFile = "web/httpparams/payload_train.csv"

var fileClasses = map[string]Class{"norm": Benign, "sqli": SQLInjection, "xss": XSS, "path-traversal": PathTraversal, "cmdi": CommandInjection}

// LoadSamples reads the labelled values below dir, and the digest of their file.
func LoadSamples(dir string) ([]Sample, string, error) {
	raw, err := os.ReadFile(filepath.Join(dir, dataFile))
	if err != nil {
		return nil, "", err
	}
	rows, err := csv.NewReader(bytes.NewReader(raw)).ReadAll()
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", dataFile, err)
	}
	var out []Sample
	for i, row := range rows[1:] {
		class, ok := fileClasses[row[min(2, len(row)-1)]]
		if len(row) != 4 || !ok {
			return nil, "", fmt.Errorf("%s: row %d is not a value, its length, its kind and its label", dataFile, i+2)
		}
		out = append(out, Sample{Value: row[0], Class: class})
	}
	sum := sha256.Sum256(raw)
	return out, hex.EncodeToString(sum[:]), nil
}

// How many values of each class are made, and what one counts in training: the
// file's few command injections as much as its many words of a dictionary.
var made = [classes]int{
	Benign: 26000, SQLInjection: 4000, XSS: 4000, PathTraversal: 2500, CommandInjection: 3500, CodeInjection: 3500,
	LDAPInjection: 800, SSRF: 1000, HeaderInjection: 1000,
}

var fileWeight = [classes]float64{Benign: 1, SQLInjection: 0.5, XSS: 2, PathTraversal: 3, CommandInjection: 6}

// Generate makes labelled values: attacks in many forms and encodings, and
// harmless texts that look odd. The same seed makes the same.
func Generate(seed uint64, share float64) []Sample {
	g := newGrammar(seed, benignLists, attackLists)
	var out []Sample
	for c := range classes {
		for range int(share * float64(made[c])) {
			s := Sample{Class: c, made: true}
			if c == Benign {
				s.Value = g.benignText()
			} else {
				s.Value = g.attackText(c)
			}
			out = append(out, s)
		}
	}
	return out
}

// example is a sample as the training sees it.
type example struct {
	features []uint32
	class    Class
	weight   float64
	made     bool
}

func prepare(samples []Sample) []example {
	var x extractor
	out := make([]example, 0, len(samples))
	for _, s := range samples {
		text, undone := decode.Reveal(s.Value)
		e := example{class: s.Class, weight: 1, made: s.made}
		if !s.made {
			e.weight = fileWeight[s.Class]
		}
		e.features = append(e.features, x.extract(text[:min(len(text), window)], undone)...)
		out = append(out, e)
	}
	return out
}

// What the training does: descent by single examples with a step of its own for
// each weight (AdaGrad), weights drawn to zero (L2).
const (
	epochs = 8
	step   = 0.12
	l2     = 2e-5
)

// fit returns the weights, by feature and class. The products are rounded one by
// one, so that no machine fuses them with the sums and comes to others.
func fit(examples []example, seed uint64) []float32 {
	w := make([]float32, features*int(classes))
	g2 := make([]float32, len(w))
	order := make([]int, len(examples))
	for i := range order {
		order[i] = i
	}
	rng := rand.New(rand.NewPCG(seed, 0x666974))
	for range epochs {
		rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, i := range order {
			learn(w, g2, &examples[i])
		}
	}
	return w
}

func learn(w, g2 []float32, e *example) {
	p := softmax(logitsOf(w, e.features))
	p[e.class]--
	for k := range p {
		p[k] *= e.weight
	}
	for _, f := range e.features {
		row := w[int(f)*int(classes):][:classes]
		sum := g2[int(f)*int(classes):][:classes]
		for k := range row {
			grad := float32(p[k]) + float32(l2*row[k])
			sum[k] += float32(grad * grad)
			row[k] -= float32(step * grad / float32(math.Sqrt(float64(sum[k]))+1e-6))
		}
	}
}

func logitsOf(w []float32, fs []uint32) [classes]float64 {
	var z [classes]float64
	for _, f := range fs {
		for k, v := range w[int(f)*int(classes):][:classes] {
			z[k] += float64(v)
		}
	}
	return z
}

// attackOf is the probability of any attack.
func attackOf(w []float32, fs []uint32) float64 {
	return 1 - softmax(logitsOf(w, fs))[Benign]
}

// mostFlagged is the share of harmless training values that the threshold may
// flag, and leastThreshold is its floor.
const (
	mostFlagged    = 0.0004
	leastThreshold = 0.75
)

// threshold is the score above which a value counts as an attack: such that
// hardly a harmless value of the training side is above it, and never below three
// quarters: what a site's visitors write is odder than any generator's texts.
func threshold(w []float32, examples []example) float64 {
	var scores []float64
	for i := range examples {
		if e := &examples[i]; e.class == Benign {
			scores = append(scores, attackOf(w, e.features))
		}
	}
	if len(scores) == 0 {
		return leastThreshold
	}
	sort.Float64s(scores)
	return math.Max(leastThreshold, math.Min(0.95, scores[len(scores)-1-int(mostFlagged*float64(len(scores)))]))
}

// Train fits the weights to the labelled values below dir and to made ones, and
// returns them in the form that Read reads, with what cross validation says of
// them. The same data and seed give the same bytes.
func Train(dir string, seed uint64) ([]byte, *Evaluation, error) {
	file, digest, err := LoadSamples(dir)
	if err != nil {
		return nil, nil, err
	}
	eval, err := Evaluate(dir, seed)
	if err != nil {
		return nil, nil, err
	}
	generated := Generate(seed, 1)
	examples := prepare(append(file, generated...))
	w := fit(examples, seed)
	top := 0.0
	for _, v := range w {
		top = math.Max(top, math.Abs(float64(v)))
	}
	info := Info{
		Version: Version, Seed: seed, Command: fmt.Sprintf("cybervault model train --data DIR --seed %d --out FILE", seed), DataSHA256: digest,
		Values: len(file), Generated: len(generated), Folds: Folds, Brier: eval.File.Brier, ECE: eval.File.ECE, BrierOdd: eval.Made.Brier, ECEOdd: eval.Made.ECE,
		Found: eval.File.found(), Flagged: eval.File.flagged(), Scale: top / 127, Features: features, Classes: classNames[:],
	}
	info.Threshold = round(threshold(w, examples))
	head, err := json.Marshal(info)
	if err != nil {
		return nil, nil, err
	}
	out := make([]byte, 0, len(head)+1+len(w))
	out = append(append(out, head...), '\n')
	for _, v := range w {
		out = append(out, byte(int8(math.Round(float64(v)/info.Scale))))
	}
	return out, eval, nil
}

func round(v float64) float64 { return math.Round(v*1e4) / 1e4 }
