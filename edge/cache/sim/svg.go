package sim

import (
	"bytes"
	"fmt"
	"html"
	"io"
	"math"
	"slices"
)

// geometry of the plot, in pixels: two panels side by side, the legend below.
const (
	panelW, panelH = 380.0, 260.0
	panelX, panelY = 64.0, 48.0
	panelGap       = 84.0
)

// colours are of the palette of Okabe and Ito, told apart by those who see colours differently too.
var colours = [...]string{"#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#888888"}

// WriteSVG draws object and byte hit ratio over the size of the cache, a line for each policy.
func WriteSVG(w io.Writer, title string, runs []*Run) error {
	var b bytes.Buffer
	width, height := panelX+2*panelW+panelGap+24, panelY+panelH+96
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" viewBox="0 0 %.0f %.0f" font-family="sans-serif" font-size="12">`+"\n", width, height, width, height)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="#fff"/><text x="%.0f" y="20" font-size="15">%s</text>`+"\n", panelX, html.EscapeString(title))
	var policies []string
	var sizes []int64
	for _, r := range runs {
		if !slices.Contains(policies, r.Policy) {
			policies = append(policies, r.Policy)
		}
		sizes = append(sizes, r.Size)
	}
	slices.Sort(sizes)
	sizes = slices.Compact(sizes)
	if len(sizes) > 0 {
		panel(&b, panelX, "object hit ratio", policies, sizes, runs, func(r *Run) float64 { return r.ObjectRatio })
		panel(&b, panelX+panelW+panelGap, "byte hit ratio", policies, sizes, runs, func(r *Run) float64 { return r.ByteRatio })
	}
	for i, p := range policies {
		x, y := panelX+float64(i)*112, panelY+panelH+72
		fmt.Fprintf(&b, `<path d="M%.0f %.0fh22" stroke="%s" stroke-width="%d"/><text x="%.0f" y="%.0f">%s</text>`+"\n",
			x, y, colours[i%len(colours)], stroke(i), x+27, y+4, html.EscapeString(p))
	}
	b.WriteString("</svg>\n")
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write plot: %w", err)
	}
	return nil
}

// stroke is the width of line i; the first policy is the one to look at.
func stroke(i int) int {
	if i == 0 {
		return 3
	}
	return 2
}

func panel(b *bytes.Buffer, left float64, label string, policies []string, sizes []int64, runs []*Run, value func(*Run) float64) {
	top := 0.0
	for _, r := range runs {
		top = max(top, value(r))
	}
	step := 0.02
	for _, s := range []float64{0.02, 0.05, 0.1, 0.2} {
		if step = s; top/s <= 6 {
			break
		}
	}
	top = max(math.Ceil(top/step)*step, step)
	lo, hi := math.Log(float64(sizes[0])), math.Log(float64(sizes[len(sizes)-1]))
	x := func(size int64) float64 {
		if hi == lo {
			return left + panelW/2
		}
		return left + 12 + (panelW-24)*(math.Log(float64(size))-lo)/(hi-lo)
	}
	y := func(v float64) float64 { return panelY + panelH - panelH*v/top }
	for v := 0.0; v <= top+step/2; v += step {
		fmt.Fprintf(b, `<path d="M%.1f %.1fh%.0f" stroke="#ddd"/><text x="%.1f" y="%.1f" text-anchor="end">%.0f %%</text>`+"\n", left, y(v), panelW, left-6, y(v)+4, 100*v)
	}
	for _, s := range sizes {
		fmt.Fprintf(b, `<path d="M%.1f %.1fv5" stroke="#000"/><text x="%.1f" y="%.1f" text-anchor="middle">%s</text>`+"\n", x(s), panelY+panelH, x(s), panelY+panelH+19, bytesText(s))
	}
	fmt.Fprintf(b, `<path d="M%.1f %.1fv%.0fh%.0f" fill="none" stroke="#000"/>`+"\n", left, panelY, panelH, panelW)
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f">%s</text><text x="%.1f" y="%.1f" text-anchor="middle">size of the cache (logarithmic)</text>`+"\n", left, panelY-8, label, left+panelW/2, panelY+panelH+40)
	for i := len(policies) - 1; i >= 0; i-- { // the first is drawn last, over the others
		var line bytes.Buffer
		for _, s := range sizes {
			for _, r := range runs {
				if r.Policy == policies[i] && r.Size == s {
					fmt.Fprintf(&line, "%.1f,%.1f ", x(s), y(value(r)))
					fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`, x(s), y(value(r)), colours[i%len(colours)])
				}
			}
		}
		fmt.Fprintf(b, `<polyline fill="none" stroke="%s" stroke-width="%d" points="%s"/>`+"\n", colours[i%len(colours)], stroke(i), bytes.TrimSpace(line.Bytes()))
	}
}

// bytesText is n in the largest binary unit that leaves it at least 1.
func bytesText(n int64) string {
	f, units := float64(n), []string{"B", "KiB", "MiB", "GiB", "TiB"}
	for f >= 1024 && len(units) > 1 {
		f, units = f/1024, units[1:]
	}
	return fmt.Sprintf("%.3g %s", f, units[0])
}
