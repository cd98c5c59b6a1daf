package model

import "math"

// Folds is how many parts the labelled data is cut into: each is judged by a
// model that was trained on the others.
const Folds = 5

// Evaluation is what cross validation says: on the labelled file, and on made
// values of other seeds, which tell less, since the same grammar made them.
type Evaluation struct {
	Seed uint64 `json:"seed"`
	File Result `json:"file"`
	Made Result `json:"generated"`
}

// Result is how well scores did on values that were not trained on.
type Result struct {
	Values  int           `json:"values"`
	Brier   float64       `json:"brier_score"`
	ECE     float64       `json:"expected_calibration_error"`
	Classes []ClassResult `json:"classes"`
	Bins    []Bin         `json:"reliability"`
}

// ClassResult is how many values of a class were above the threshold.
type ClassResult struct {
	Class   string  `json:"class"`
	Values  int     `json:"values"`
	Above   int     `json:"above_threshold"`
	Percent float64 `json:"percent"`
	Named   int     `json:"named_rightly"` // of those above, given their own class
}

// Bin is the values whose score is in one tenth: how sure the model was of them,
// and how many were attacks.
type Bin struct {
	From    float64 `json:"from"`
	Values  int     `json:"values"`
	Mean    float64 `json:"mean_score"`
	Attacks float64 `json:"share_of_attacks"`
}

// Held is a labelled value with the score of a model that never saw it.
type Held struct {
	Sample
	Attack    float64
	Class     Class // the likeliest attack
	Threshold float64
}

// CrossValidate scores every labelled value below dir, and made ones, by models
// that were trained without them.
func CrossValidate(dir string, seed uint64) (file, made []Held, err error) {
	samples, _, err := LoadSamples(dir)
	if err != nil {
		return nil, nil, err
	}
	examples := prepare(samples)
	generated := prepare(Generate(seed, 1))
	for fold := range Folds {
		var train []example
		for i, e := range examples {
			if i%Folds != fold {
				train = append(train, e)
			}
		}
		train = append(train, generated...)
		w := fit(train, seed)
		limit := threshold(w, train)
		judge := func(s Sample, e *example) Held {
			p := softmax(logitsOf(w, e.features))
			h := Held{Sample: s, Attack: 1 - p[Benign], Class: SQLInjection, Threshold: limit}
			for k := SQLInjection; k < classes; k++ {
				if p[k] > p[h.Class] {
					h.Class = k
				}
			}
			return h
		}
		for i := fold; i < len(samples); i += Folds {
			file = append(file, judge(samples[i], &examples[i]))
		}
		other := Generate(seed+1000+uint64(fold), 0.1)
		for i, e := range prepare(other) {
			made = append(made, judge(other[i], &e))
		}
	}
	return file, made, nil
}

// Evaluate is CrossValidate, summed up.
func Evaluate(dir string, seed uint64) (*Evaluation, error) {
	file, made, err := CrossValidate(dir, seed)
	if err != nil {
		return nil, err
	}
	return &Evaluation{Seed: seed, File: sumUp(file), Made: sumUp(made)}, nil
}

const bins = 10

func sumUp(held []Held) Result {
	r := Result{Values: len(held)}
	var per [classes]ClassResult
	var n, attacks [bins]int
	var mean [bins]float64
	for _, h := range held {
		is := 0.0
		if h.Sample.Class != Benign {
			is = 1
		}
		r.Brier += float64((h.Attack - is) * (h.Attack - is))
		b := min(int(h.Attack*bins), bins-1)
		n[b]++
		attacks[b] += int(is)
		mean[b] += h.Attack
		c := &per[h.Sample.Class]
		c.Values++
		if h.Attack >= h.Threshold {
			c.Above++
			if h.Class == h.Sample.Class {
				c.Named++
			}
		}
	}
	for b := range bins {
		bin := Bin{From: float64(b) / bins, Values: n[b]}
		if n[b] > 0 {
			bin.Mean, bin.Attacks = mean[b]/float64(n[b]), float64(attacks[b])/float64(n[b])
			r.ECE += math.Abs(bin.Mean-bin.Attacks) * float64(n[b]) / float64(len(held))
			bin.Mean, bin.Attacks = round(bin.Mean), round(bin.Attacks)
		}
		r.Bins = append(r.Bins, bin)
	}
	for c := range classes {
		if p := per[c]; p.Values > 0 {
			p.Class, p.Percent = c.String(), math.Round(1e4*float64(p.Above)/float64(p.Values))/100
			r.Classes = append(r.Classes, p)
		}
	}
	r.Brier, r.ECE = round(r.Brier/float64(max(len(held), 1))), round(r.ECE)
	return r
}

func (r Result) found() map[string]float64 {
	out := map[string]float64{}
	for _, c := range r.Classes {
		if c.Class != Benign.String() {
			out[c.Class] = c.Percent
		}
	}
	return out
}

func (r Result) flagged() float64 {
	for _, c := range r.Classes {
		if c.Class == Benign.String() {
			return c.Percent
		}
	}
	return 0
}
