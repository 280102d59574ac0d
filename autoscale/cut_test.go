package autoscale

import (
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/levada-stream/levada/internal/hashkey"
)

func at(hi uint64) hashkey.Key { return hashkey.Key{Hi: hi << 32} }

// sampled returns n samples of each key.
func sampled(counts map[uint64]int) []Sample {
	var out []Sample
	for k, n := range counts {
		for range n {
			out = append(out, Sample{Key: at(k), Bytes: 100, Records: 1})
		}
	}
	return out
}

func whole(mbps float64) Shard {
	return Shard{Number: 7, Range: hashkey.Full, Split: Rate{Bytes: mbps * 1e6, Records: 10}}
}

func TestCutByLoad(t *testing.T) {
	p := policy(nil)
	even, skewed := map[uint64]int{}, map[uint64]int{}
	for k := range uint64(100) {
		even[k+1], skewed[k+1] = 1, 1
	}
	skewed[90] = 100 // half of the load
	hot := map[uint64]int{1: 3, 50: 90, 99: 7}
	for _, c := range []struct {
		name    string
		shard   Shard
		parts   int
		samples []Sample
		bounds  []hashkey.Key
		hot     hashkey.Key
	}{
		{"even keys in two", whole(1.5), 2, sampled(even), []hashkey.Key{at(51)}, hashkey.Key{}},
		{"and in four", whole(3), 4, sampled(even), []hashkey.Key{at(26), at(51), at(76)}, hashkey.Key{}},
		{"a heavy key, below the target, with as little beside it as can be", whole(1.5), 2, sampled(skewed), []hashkey.Key{at(90)}, hashkey.Key{}},
		{"one above the target is cut out", whole(3), 4, sampled(skewed), []hashkey.Key{at(51), at(90), at(90).Next()}, at(90)},
		{"one that is nearly all cannot be helped", whole(2), 2, sampled(hot), nil, at(50)},
		{"but one below its target can", whole(1.05), 2, sampled(hot), []hashkey.Key{at(50).Next()}, hashkey.Key{}},
		{"too few samples", whole(2), 2, sampled(map[uint64]int{5: 20}), []hashkey.Key{hashkey.SplitEven(2)[1].Start}, hashkey.Key{}},
		{"a single key", Shard{Range: hashkey.Range{Start: at(3), End: at(3)}, Split: Rate{Bytes: 2e6}}, 2, nil, nil, at(3)},
		{"few keys", Shard{Range: hashkey.Range{Start: at(3), End: at(3).Next()}, Split: Rate{Bytes: 2e6}}, 4, nil, []hashkey.Key{at(3).Next()}, hashkey.Key{}},
		{"all samples of other shards' keys", Shard{Range: hashkey.Range{Start: at(200), End: at(300)}}, 2, sampled(even), []hashkey.Key{{Hi: 250 << 32}}, hashkey.Key{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := CutByLoad(p, c.shard, c.parts, c.samples)
			if !slices.Equal(got.Bounds, c.bounds) {
				t.Errorf("cut at %v, want %v (%s)", got.Bounds, c.bounds, got.Reason)
			}
			if (got.Hot != nil) != (c.hot != hashkey.Key{}) || got.Hot != nil && got.Hot.Key != c.hot {
				t.Errorf("hot key %v, want %v", got.Hot, c.hot)
			}
			if got.Reason == "" {
				t.Error("no reason")
			}
		})
	}
}

// TestCutIsBalanced: no part is heavier than an even share by more than its heaviest key.
func TestCutIsBalanced(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		parts := rapid.IntRange(2, 16).Draw(t, "parts")
		keys := make([]weight, rapid.IntRange(2, 80).Draw(t, "keys"))
		total, heaviest := 0.0, 0.0
		for i := range keys {
			keys[i] = weight{at(uint64(i + 1)), 0.01 + rng.ExpFloat64()}
			total, heaviest = total+keys[i].weight, max(heaviest, keys[i].weight)
		}
		bounds, largest := balance(keys, total, parts)
		if len(bounds) > parts-1 || !slices.IsSortedFunc(bounds, hashkey.Key.Compare) {
			t.Fatalf("bounds %v for %d parts", bounds, parts)
		}
		if largest > total/float64(parts)+heaviest+1e-9 {
			t.Fatalf("%d parts of %.3f: the largest has %.3f, the heaviest key %.3f", parts, total, largest, heaviest)
		}
		sum := map[int]float64{}
		for _, k := range keys {
			i, found := slices.BinarySearchFunc(bounds, k.key, hashkey.Key.Compare)
			if found {
				i++
			}
			sum[i] += k.weight
		}
		for i, s := range sum {
			if s > largest+1e-9 {
				t.Fatalf("part %d has %.3f, the largest is said to have %.3f", i, s, largest)
			}
		}
	})
}

func TestHistogram(t *testing.T) {
	r := hashkey.SplitEven(4)[1]
	parts := r.SplitEven(Buckets)
	samples := []Sample{
		{Key: parts[0].Start, Bytes: 1}, {Key: parts[0].End, Bytes: 1}, {Key: parts[63].End, Bytes: 2}, {Key: hashkey.Max, Bytes: 100},
	}
	h := Histogram(r, samples)
	if len(h) != Buckets || h[0] != 0.5 || h[63] != 0.5 {
		t.Errorf("histogram %v", h)
	}
	for _, share := range Histogram(r, nil) {
		if share != 0 {
			t.Error("no samples have a share")
		}
	}
	if h := Histogram(hashkey.Range{Start: at(3), End: at(3)}, []Sample{{Key: at(3), Bytes: 1}}); h[0] != 1 {
		t.Errorf("of a single key: %v", h)
	}
	if top := Heaviest(samples, 1); len(top) != 1 || top[0].Key != hashkey.Max || top[0].Share < 0.96 {
		t.Errorf("heaviest %v", top)
	}
}
