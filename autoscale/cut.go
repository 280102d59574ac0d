package autoscale

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/levada-stream/levada/internal/hashkey"
	"github.com/levada-stream/levada/meta"
)

const (
	// samplesMin is how many samples a cut by load needs: below it the shard is cut evenly.
	samplesMin = 24
	// hotShare is how much of a shard's load one key must be for a split to be of no use.
	hotShare = 0.8
	// Buckets is the resolution of a Histogram.
	Buckets = 64
)

// A Sample stands for records near it: for so many, with so many bytes.
type Sample struct {
	Key            hashkey.Key
	Bytes, Records float64
}

// A HotKey is a key that alone takes more than a shard's target.
type HotKey struct {
	Key   hashkey.Key
	Share float64 // of its shard's load
	Load  float64 // 1 is the target of a shard
}

// String says which key it is and how hot.
func (h *HotKey) String() string {
	return fmt.Sprintf("hash key %s has %.0f %% of the load, %.0f %% of a shard's target", h.Key, 100*h.Share, 100*h.Load)
}

// A Cut is where to split a shard.
type Cut struct {
	// Bounds are the first keys of the children but the first; none if no split would help.
	Bounds []hashkey.Key
	// Hot is set if one key alone is above the target of a shard.
	Hot *HotKey
	// Reason says how the bounds were chosen, or why there are none.
	Reason string
}

// CutByLoad returns where to split a shard into parts, at least 2, of about equal load, by samples of its
// records. A key is never cut in two, so a part may be as heavy as its heaviest key.
func CutByLoad(p meta.Scaling, sh Shard, parts int, samples []Sample) Cut {
	if sh.Range.Start == sh.Range.End {
		load := Load(p, sh.Split)
		c := Cut{Reason: fmt.Sprintf("shard %d has a single hash key, %s, and cannot be split", sh.Number, sh.Range.Start)}
		if load > 1 {
			c.Hot = &HotKey{Key: sh.Range.Start, Share: 1, Load: load}
		}
		return c
	}
	keys, total := weigh(p, sh, samples)
	if len(samples) < samplesMin || total == 0 {
		return Cut{Bounds: evenly(sh.Range, parts), Reason: fmt.Sprintf("cut evenly, as only %d records were sampled", len(samples))}
	}
	heaviest := slices.MaxFunc(keys, func(a, b weight) int { return cmp.Compare(a.weight, b.weight) })
	hot := &HotKey{Key: heaviest.key, Share: heaviest.weight / total, Load: heaviest.weight / total * Load(p, sh.Split)}
	if hot.Load <= 1 {
		hot = nil
	}
	if hot != nil && hot.Share >= hotShare {
		return Cut{Hot: hot, Reason: hot.String() + ": no split would help"}
	}
	bounds, largest := balance(keys, total, parts)
	if len(bounds) == 0 {
		return Cut{Hot: hot, Reason: fmt.Sprintf("nearly all records of shard %d have hash key %s: no split would help", sh.Number, heaviest.key)}
	}
	reason := fmt.Sprintf("cut by %d samples, the largest part has %.0f %% of the load", len(samples), 100*largest/total)
	if hot != nil {
		reason += "; " + hot.String()
	}
	return Cut{Bounds: bounds, Hot: hot, Reason: reason}
}

func evenly(r hashkey.Range, parts int) []hashkey.Key {
	for ; parts >= 2; parts-- { // a range of few keys is cut into fewer
		if ranges := r.SplitEven(parts); ranges != nil {
			var bounds []hashkey.Key
			for _, part := range ranges[1:] {
				bounds = append(bounds, part.Start)
			}
			return bounds
		}
	}
	return nil
}

type weight struct {
	key    hashkey.Key
	weight float64
}

// weigh returns the sampled keys in the shard's range, ascending, and the sum of their weights: of bytes
// or records, whichever the shard is nearer to its target by.
func weigh(p meta.Scaling, sh Shard, samples []Sample) (keys []weight, total float64) {
	byBytes := p.RecordsPerSecond == 0 ||
		p.BytesPerSecond > 0 && sh.Split.Bytes/float64(p.BytesPerSecond) >= sh.Split.Records/float64(p.RecordsPerSecond)
	for _, s := range samples {
		if !sh.Range.Contains(s.Key) {
			continue // sent to this shard by its number
		}
		w := s.Records
		if byBytes {
			w = s.Bytes
		}
		keys = append(keys, weight{s.Key, w})
		total += w
	}
	slices.SortFunc(keys, func(a, b weight) int { return a.key.Compare(b.key) })
	joined := keys[:0]
	for _, k := range keys {
		if n := len(joined); n > 0 && joined[n-1].key == k.key {
			joined[n-1].weight += k.weight
			continue
		}
		joined = append(joined, k)
	}
	return joined, total
}

// balance cuts before the keys at which the sum is nearest to a multiple of an even share.
func balance(keys []weight, total float64, parts int) (bounds []hashkey.Key, largest float64) {
	share := total / float64(parts)
	sum, part, next := 0.0, 0.0, 1
	for i, k := range keys {
		if i > 0 && next < parts && sum+k.weight/2 >= share*float64(next) {
			// The bound goes next to the heavier of the two, so that keys between them, too light to be
			// sampled, fall to the lighter side.
			bound := k.key
			if keys[i-1].weight > k.weight {
				bound = keys[i-1].key.Next()
			}
			bounds = append(bounds, bound)
			largest, part = max(largest, part), 0
			next++
		}
		sum, part = sum+k.weight, part+k.weight
		for next < parts && share*float64(next) < sum-k.weight/2 {
			next++ // a heavy key takes several shares
		}
	}
	return bounds, max(largest, part)
}

// Histogram returns the shares of the load, by bytes, of Buckets even parts of a range; they add up to 1, or to 0 without samples.
func Histogram(r hashkey.Range, samples []Sample) []float64 {
	out := make([]float64, Buckets)
	var starts []hashkey.Key
	for _, part := range r.SplitEven(Buckets) {
		starts = append(starts, part.Start)
	}
	if starts == nil {
		starts = []hashkey.Key{r.Start} // fewer keys than buckets
	}
	total := 0.0
	for _, s := range samples {
		if r.Contains(s.Key) {
			total += s.Bytes
		}
	}
	for _, s := range samples {
		if r.Contains(s.Key) && total > 0 {
			i, found := slices.BinarySearchFunc(starts, s.Key, hashkey.Key.Compare)
			if !found {
				i--
			}
			out[i] += s.Bytes / total
		}
	}
	return out
}

// Heaviest returns up to n keys with the largest shares of the bytes, the heaviest first.
func Heaviest(samples []Sample, n int) []HotKey {
	byKey := map[hashkey.Key]float64{}
	total := 0.0
	for _, s := range samples {
		byKey[s.Key] += s.Bytes
		total += s.Bytes
	}
	var out []HotKey
	for key, bytes := range byKey {
		out = append(out, HotKey{Key: key, Share: bytes / total})
	}
	slices.SortFunc(out, func(a, b HotKey) int {
		return cmp.Or(cmp.Compare(b.Share, a.Share), a.Key.Compare(b.Key))
	})
	return out[:min(n, len(out))]
}
