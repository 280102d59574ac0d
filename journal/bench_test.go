package journal

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/levada-stream/levada/internal/vfs"
)

// benchData is the data of one full entry.
func benchData(size int) []byte {
	rng := rand.New(rand.NewPCG(1, 2))
	out := make([]byte, size)
	for i := range out {
		out[i] = byte(rng.Uint32())
	}
	return out
}

// BenchmarkEncode encodes a round of one full entry: for a file that takes buffers as they are, and for one that
// needs them aligned and so a copy; with a checksum that the caller knew, and without.
func BenchmarkEncode(b *testing.B) {
	const size = 256 << 10
	for _, file := range []struct {
		name   string
		gather bool
	}{{"buffered", true}, {"direct", false}} {
		for _, summed := range []bool{true, false} {
			b.Run(fmt.Sprintf("file=%s/known=%t", file.name, summed), func(b *testing.B) {
				e := Entry{Index: 1, Term: 1, Data: benchData(size), Extensions: make([]byte, 16)}
				e.Sum, e.Summed = crcOf(0, e.Data), summed
				need := int64(roundHeaderSize + entrySize(&e))
				var encoder roundEncoder
				round := func() {
					encoder.start(need, file.gather)
					encoder.entry(kindEntry, 7, &e)
					encoder.finish(roundHeader{sequence: 1, number: 1})
				}
				round() // makes the buffer that later rounds use again
				b.SetBytes(size)
				b.ReportAllocs()
				for b.Loop() {
					round()
				}
			})
		}
	}
}

// BenchmarkAppend appends durably, each caller an entry at a time to a group of its own. In memory a sync costs
// next to nothing; on the disk what counts is how many callers share one, which entries/round says.
func BenchmarkAppend(b *testing.B) {
	for _, disk := range []string{"memory", "real"} {
		for _, size := range []int{4, 256} {
			for _, callers := range []int{1, 16, 64} {
				b.Run(fmt.Sprintf("disk=%s/entry=%dKiB/callers=%d", disk, size, callers), func(b *testing.B) {
					fs, dir := vfs.FS(vfs.NewMem(1)), "journal"
					if disk == "real" {
						fs, dir = vfs.OS(), b.TempDir()
					}
					segment := max(int64(size)<<10*64, 4<<20) // each file is filled with zeros first, which is not measured
					j, err := Open(fs, dir, Options{SegmentBytes: segment, SpareSegments: 2, CacheBytes: 16 << 20})
					must(b, err)
					appendFrom(b, j, callers, benchData(size<<10))
					must(b, j.Close())
				})
			}
		}
	}
}

// appendFrom lets callers append b.N entries in all.
func appendFrom(b *testing.B, j *Journal, callers int, data []byte) {
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	before := j.Stats().Rounds
	var left atomic.Int64
	var all sync.WaitGroup
	left.Store(int64(b.N))
	b.ResetTimer()
	for g := range uint64(callers) {
		all.Go(func() {
			for index := uint64(1); left.Add(-1) >= 0; index++ {
				err := j.Append(g, []Entry{{Index: index, Term: 1, Data: data}}, index)
				if err == nil && index%16 == 0 {
					err = j.TruncatePrefix(g, index-8)
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/float64(max(j.Stats().Rounds-before, 1)), "entries/round")
}
