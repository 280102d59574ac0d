package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// bar is one bar of a chart: the median, and the lowest and highest as a whisker.
type bar struct {
	label         string
	value, lo, hi float64
	series        int // what shares a colour
}

// barChart draws bars from left to right.
func barChart(title, unit string, bars []bar) string {
	const left, right, top, high, gap = 230, 90, 46, 20, 8
	c := &canvas{width: 820, height: float64(top + len(bars)*(high+gap) + 48)}
	most := 0.0
	for _, b := range bars {
		most = max(most, b.hi, b.value)
	}
	x := scale{low: 0, high: roomAbove(most), from: left, to: c.width - right}
	bottom := c.height - 44
	c.text(left, 22, "start", title)
	for _, t := range x.ticks() {
		c.line(x.at(t), top-6, x.at(t), bottom, plotGrid, "")
		c.text(x.at(t), bottom+16, "middle", tickText(t))
	}
	c.text((x.from+x.to)/2, bottom+36, "middle", unit)
	for i, b := range bars {
		y := float64(top + i*(high+gap))
		c.text(left-8, y+high*0.7, "end", b.label)
		c.rect(x.from, y, x.at(b.value)-x.from, high, plotColour(b.series))
		middle := y + high/2
		c.line(x.at(b.lo), middle, x.at(b.hi), middle, plotInk, `stroke-width="2"`)
		for _, end := range []float64{b.lo, b.hi} {
			c.line(x.at(end), middle-5, x.at(end), middle+5, plotInk, `stroke-width="2"`)
		}
		c.text(x.at(max(b.hi, b.value))+6, y+high*0.7, "start", tickText(math.Round(b.value*10)/10))
	}
	c.line(x.from, top-6, x.from, bottom, plotInk, "")
	return c.String()
}

// point is a place in a line chart.
type point struct{ x, y float64 }

// series is one line of a chart.
type series struct {
	name   string
	points []point
	colour int
	dash   string // of SVG's stroke-dasharray; "" is a full line
}

// axes say what the axes of a line chart show.
type axes struct {
	title, x, y string
	logY        bool
}

// lineChart draws lines, with a mark at each point where there are few.
func lineChart(a axes, lines []series) string {
	const left, right, top, bottom = 76, 200, 46, 374
	c := &canvas{width: 860, height: 424}
	lines = slices.DeleteFunc(slices.Clone(lines), func(s series) bool { return len(s.points) == 0 })
	x, y := scalesOf(a, lines)
	x.from, x.to, y.from, y.to = left, c.width-right, bottom, top
	c.text(left, 22, "start", a.title)
	for _, t := range y.ticks() {
		c.line(left, y.at(t), x.to, y.at(t), plotGrid, "")
		c.text(left-8, y.at(t)+4, "end", tickText(t))
	}
	for _, t := range x.ticks() {
		c.line(x.at(t), top, x.at(t), bottom, plotGrid, "")
		c.text(x.at(t), bottom+18, "middle", tickText(t))
	}
	c.line(left, top, left, bottom, plotInk, "")
	c.line(left, bottom, x.to, bottom, plotInk, "")
	c.text((x.from+x.to)/2, bottom+40, "middle", a.x)
	c.upright(18, (top+bottom)/2, a.y)
	for i, s := range lines {
		var path []string
		for _, p := range s.points {
			path = append(path, fmt.Sprintf("%.1f,%.1f", x.at(p.x), y.at(p.y)))
		}
		fmt.Fprintf(&c.body, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2" stroke-dasharray="%s"/>`+"\n", strings.Join(path, " "), plotColour(s.colour), s.dash)
		for _, p := range s.points {
			if len(s.points) <= 12 {
				fmt.Fprintf(&c.body, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", x.at(p.x), y.at(p.y), plotColour(s.colour))
			}
		}
		at := float64(top + 10 + 20*i)
		c.line(x.to+12, at-4, x.to+36, at-4, plotColour(s.colour), fmt.Sprintf(`stroke-width="2" stroke-dasharray="%s"`, s.dash))
		c.text(x.to+42, at, "start", s.name)
	}
	return c.String()
}

// scalesOf finds what the axes must hold. Both start at 0, but a logarithmic one.
func scalesOf(a axes, lines []series) (x, y scale) {
	y = scale{low: math.Inf(1), log: a.logY}
	for _, s := range lines {
		for _, p := range s.points {
			x.high, y.high = max(x.high, p.x), max(y.high, p.y)
			if p.y > 0 {
				y.low = min(y.low, p.y)
			}
		}
	}
	x.high = roomAbove(x.high)
	if !a.logY || math.IsInf(y.low, 1) {
		return x, scale{high: roomAbove(y.high)}
	}
	y.low = math.Pow(10, math.Floor(math.Log10(y.low)))
	y.high = max(10*y.low, math.Pow(10, math.Ceil(math.Log10(y.high))))
	return x, y
}
