package dashboard

import (
	"fmt"
	"strings"
	"time"
)

// chartHeight is the height of a chart's drawing, in the units of its viewBox;
// the browser stretches it to the room there is.
const chartHeight = 100

// chart is a stacked bar chart, one bar for each bucket of time, drawn as SVG
// by the template, with the same figures as a table beside it.
type chart struct {
	ID     string // of the drawing on its page
	Title  string
	Desc   string // what a person who cannot see it should know
	Series []chartSeries
	Bars   []chartBar
	Top    string // the value at the top of the scale
	Middle string
	Times  []string // labels below the bars, evenly spaced
	Width  int      // of the viewBox
	Empty  bool
}

type chartSeries struct {
	Name  string
	Class string // colours it
	Total string
}

type chartBar struct {
	Start  moment
	Words  string // "10:12: 3 critical, 1 info"
	Values []string
	Parts  []chartPart
	X      int // left edge of the bar's slot
}

type chartPart struct {
	Class string
	Y, H  string
}

// slot is the width of one bar with the gap beside it.
const slot = 10

// chartBucket is the input of one bar: a value for each series.
type chartBucket struct {
	start  moment
	label  string // on the time axis, "10:12"
	values []int64
}

// drawChart scales the buckets and words them.
func drawChart(id, title, noun string, series []chartSeries, buckets []chartBucket) chart {
	c := chart{ID: id, Title: title, Series: series, Width: max(1, len(buckets)) * slot}
	totals := make([]int64, len(series))
	var all, highest int64
	peak := 0
	for i, b := range buckets {
		var sum int64
		for s, v := range b.values {
			totals[s] += v
			sum += v
		}
		if all += sum; sum > highest {
			highest, peak = sum, i
		}
	}
	top := niceTop(highest)
	c.Top, c.Middle = count(top), ""
	if top%2 == 0 {
		c.Middle = count(top / 2)
	}
	for s := range c.Series {
		c.Series[s].Total = count(totals[s])
	}
	c.Empty = all == 0
	for i, b := range buckets {
		c.Bars = append(c.Bars, drawBar(b, i, c.Series, top))
	}
	c.Times = axis(buckets)
	c.Desc = "None in this time."
	if !c.Empty {
		var parts []string
		for s := range c.Series {
			if totals[s] > 0 {
				parts = append(parts, c.Series[s].Total+" "+strings.ToLower(c.Series[s].Name))
			}
		}
		c.Desc = fmt.Sprintf("%s %s: %s. Most at %s: %s.", count(all), noun, strings.Join(parts, ", "), buckets[peak].label, count(highest))
	}
	return c
}

func drawBar(b chartBucket, i int, series []chartSeries, top int64) chartBar {
	bar := chartBar{Start: b.start, X: i * slot}
	var words []string
	below := 0.0
	for s, v := range b.values {
		bar.Values = append(bar.Values, count(v))
		if v == 0 {
			continue
		}
		words = append(words, count(v)+" "+strings.ToLower(series[s].Name))
		h := float64(v) / float64(top) * chartHeight
		bar.Parts = append(bar.Parts, chartPart{Class: series[s].Class, Y: fmt.Sprintf("%.2f", chartHeight-below-h), H: fmt.Sprintf("%.2f", h)})
		below += h
	}
	if len(words) == 0 {
		words = []string{"none"}
	}
	bar.Words = b.label + " UTC: " + strings.Join(words, ", ")
	return bar
}

// niceTop rounds up to 2, 4, 6, 10 or 20 times a power of ten, so that the scale
// ends, and halves, at a number one can read.
func niceTop(n int64) int64 {
	for power := int64(1); ; power *= 10 {
		for _, step := range []int64{2, 4, 6, 10} {
			if step*power >= n {
				return step * power
			}
		}
	}
}

// axis picks five labels at most, the first and the last bucket's among them.
func axis(buckets []chartBucket) []string {
	n := len(buckets)
	if n == 0 {
		return nil
	}
	marks := min(5, n)
	labels := make([]string, 0, marks)
	for i := range marks {
		at := 0
		if marks > 1 {
			at = i * (n - 1) / (marks - 1)
		}
		labels = append(labels, buckets[at].label)
	}
	return labels
}

// bucketLabel words the start of a bucket as finely as its width needs.
func bucketLabel(t time.Time, width time.Duration) string {
	if width >= time.Hour {
		return t.UTC().Format("2 Jan 15:04")
	}
	return t.UTC().Format("15:04")
}
