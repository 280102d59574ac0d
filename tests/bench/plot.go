package main

import (
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"
)

// Plots have no background of their own: their colours are of a middle
// brightness, which stands out from white and from black.
const (
	plotInk  = "#7d8590" // text and axes
	plotGrid = "#7d859040"
	plotFont = 12
)

// plotColour returns the n-th of the colours that tell series apart.
func plotColour(n int) string {
	colours := []string{"#2f81f7", "#d9822b", "#8e63ce", "#2da44e", "#cf4a6b", "#1f9ea8"}
	return colours[n%len(colours)]
}

// scale maps values to positions along an axis.
type scale struct {
	low, high float64 // of the values
	from, to  float64 // of the positions
	log       bool
}

func (s scale) at(v float64) float64 {
	low, high := s.low, s.high
	if s.log {
		v, low, high = math.Log(max(v, s.low)), math.Log(low), math.Log(high)
	}
	if high <= low {
		return s.from
	}
	return s.from + (v-low)/(high-low)*(s.to-s.from)
}

// ticks are the values to mark: round ones, or for a logarithmic axis the
// powers of ten with their doubles and fives where there is room.
func (s scale) ticks() []float64 {
	var out []float64
	if s.log {
		factors := []float64{1, 2, 5}
		if s.high/s.low > 1e3 {
			factors = factors[:1]
		}
		for decade := math.Pow(10, math.Floor(math.Log10(s.low))); decade <= s.high; decade *= 10 {
			for _, f := range factors {
				if v := decade * f; v >= s.low*0.999 && v <= s.high*1.001 {
					out = append(out, v)
				}
			}
		}
		return out
	}
	step := niceStep((s.high - s.low) / 6)
	for n := math.Ceil(s.low/step - 1e-9); n*step <= s.high+step*1e-9; n++ {
		out = append(out, n*step+0) // the sum makes a negative zero a plain one
	}
	return out
}

// niceStep is the smallest of 1, 2 and 5 times a power of ten that is not below a value.
func niceStep(v float64) float64 {
	if v <= 0 {
		return 1
	}
	decade := math.Pow(10, math.Floor(math.Log10(v)))
	for _, f := range []float64{1, 2, 5} {
		if f*decade >= v*(1-1e-9) {
			return f * decade
		}
	}
	return 10 * decade
}

// roomAbove is where an axis that starts at 0 ends: at the next round value.
func roomAbove(v float64) float64 {
	if v <= 0 {
		return 1
	}
	step := niceStep(v / 6)
	return math.Ceil(v/step) * step
}

// tickText writes a value as short as it can be.
func tickText(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }

// canvas collects the elements of one SVG picture.
type canvas struct {
	width, height float64
	body          strings.Builder
}

func (c *canvas) line(x1, y1, x2, y2 float64, colour, extra string) {
	fmt.Fprintf(&c.body, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" %s/>`+"\n", x1, y1, x2, y2, colour, extra)
}

func (c *canvas) rect(x, y, w, h float64, colour string) {
	fmt.Fprintf(&c.body, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`+"\n", x, y, w, h, colour)
}

// text writes at a place; anchor is start, middle or end.
func (c *canvas) text(x, y float64, anchor, text string) {
	fmt.Fprintf(&c.body, `<text x="%.1f" y="%.1f" text-anchor="%s">%s</text>`+"\n", x, y, anchor, html.EscapeString(text))
}

// upright writes from below to above, for the label of a vertical axis.
func (c *canvas) upright(x, y float64, text string) {
	fmt.Fprintf(&c.body, `<text transform="translate(%.1f,%.1f) rotate(-90)" text-anchor="middle">%s</text>`+"\n", x, y, html.EscapeString(text))
}

func (c *canvas) String() string {
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" font-family="sans-serif" font-size="%d" fill="%s">`+"\n",
		c.width, c.height, c.width, c.height, plotFont, plotInk) + c.body.String() + "</svg>\n"
}
