// Package figures puts what a benchmark has measured before people: medians, the machine, bars. It is pure but for reading what the machine is.
package figures

import (
	"fmt"
	"html"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Median returns the middle of v, the upper one of two; 0 when there is nothing. It does not change v.
func Median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Clone(v)
	slices.Sort(v)
	return v[len(v)/2]
}

// Machine names what this runs on.
func Machine() string {
	return fmt.Sprintf("%s, %d cores, %s", cpuModel(), runtime.NumCPU(), runtime.GOOS)
}

func cpuModel() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.SplitSeq(string(b), "\n") {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
			return strings.TrimSpace(v)
		}
	}
	return runtime.GOARCH
}

// Today is the date, in UTC.
func Today() string { return time.Now().UTC().Format("2006-01-02") }

// Group is the bars of one scenario.
type Group struct {
	Name string
	Bars []Bar
}

// Bar is one of them.
type Bar struct {
	Series int     // index of the name of what was measured
	Value  float64 // its length
	Label  string
}

var colours = []string{"#d55e00", "#0072b2", "#009e73", "#cc79a7"}

// Plot draws groups of bars that end at limit, as SVG. names are the series.
func Plot(title string, names []string, groups []Group, limit float64) string {
	const left, width, bar, gap = 180, 560, 12, 14
	y := 60
	var t strings.Builder
	for i, s := range names {
		fmt.Fprintf(&t, `<rect x="%d" y="30" width="12" height="12" fill="%s"/><text x="%d" y="41">%s</text>`, left+i*130, colours[i%len(colours)], left+18+i*130, html.EscapeString(s))
	}
	for _, g := range groups {
		fmt.Fprintf(&t, `<text x="%d" y="%d" text-anchor="end">%s</text>`, left-8, y+bar, html.EscapeString(g.Name))
		for _, b := range g.Bars {
			length := min(b.Value, limit) / limit * width
			fmt.Fprintf(&t, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/><text x="%.1f" y="%d" font-size="10">%s</text>`,
				left, y, length, bar-1, colours[b.Series%len(colours)], left+4+length, y+bar-2, html.EscapeString(b.Label))
			y += bar
		}
		y += gap
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12"><rect width="100%%" height="100%%" fill="white"/>`+
		`<text x="%d" y="18" font-size="14">%s</text>%s</svg>`+"\n", left+width+110, y+10, left, html.EscapeString(title), t.String())
}
