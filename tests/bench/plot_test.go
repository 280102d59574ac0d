package main

import (
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		s    scale
		want []float64
	}{
		{scale{low: 0, high: 120}, []float64{0, 20, 40, 60, 80, 100, 120}},
		{scale{low: 0, high: 0.5}, []float64{0, 0.1, 0.2, 0.30000000000000004, 0.4, 0.5}},
		{scale{low: 1, high: 100, log: true}, []float64{1, 2, 5, 10, 20, 50, 100}},
		{scale{low: 1, high: 1e4, log: true}, []float64{1, 10, 100, 1000, 10000}},
	} {
		if got := c.s.ticks(); !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v, want %v", c.s, got, c.want)
		} else if first := tickText(got[0]); first != "0" && first != "1" {
			t.Errorf("%+v begins at %s", c.s, first)
		}
	}
}

func TestScale(t *testing.T) {
	linear := scale{low: 0, high: 10, from: 100, to: 200}
	if got := linear.at(5); got != 150 {
		t.Errorf("half way is at %v", got)
	}
	down := scale{low: 1, high: 100, from: 300, to: 100, log: true}
	if got := down.at(10); got < 199.9 || got > 200.1 {
		t.Errorf("the middle of two decades is at %v", got)
	}
	if got := down.at(0); got != 300 {
		t.Errorf("what is too small for a logarithmic axis is at %v", got)
	}
}

// TestPlotsAreXML draws every picture from results with text that needs escaping.
func TestPlotsAreXML(t *testing.T) {
	r := report{
		Throughput: []throughput{
			{Row: "p1", System: "levada", Shards: 1, usage: usage{MBps: 100}},
			{Row: "p1", System: "levada", Shards: 1, usage: usage{MBps: 120}},
			{Row: "p1", System: "a<b>&c", Shards: 1, usage: usage{MBps: 0}},
		},
		Active:  []active{{System: "levada", usage: usage{Records: 10, Seconds: 2}}},
		Reading: []reading{{System: "levada", Settings: "one reader", MBps: 5}},
		Paced: []paced{
			{System: "levada", Asked: 20, quantiles: quantiles{P50: 1000, P99: 5000, P999: 20_000}},
			{System: "levada", Asked: 50, quantiles: quantiles{P50: 2000, P99: 9000, P999: 90_000}},
			{System: "slow", Asked: 20, Behind: true},
		},
		Soak: &soak{Samples: []soakSample{{Seconds: 10, Nodes: make([]nodeSample, nodes)}, {Seconds: 20, Nodes: make([]nodeSample, nodes)}}},
	}
	all := r.plots()
	for _, name := range []string{"p1", "p5", "p10", "p14", "soak-throughput", "soak-latency", "soak-memory", "soak-disk"} {
		if all[name] == "" {
			t.Errorf("no picture %s", name)
		}
	}
	for name, text := range all {
		if strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
			t.Errorf("%s has places that are no numbers", name)
		}
		d := xml.NewDecoder(strings.NewReader(text))
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Errorf("%s: %v", name, err)
				break
			}
		}
	}
	if strings.Count(all["p14"], "<polyline") != 3 {
		t.Error("a system that falls behind has a line")
	}
}
