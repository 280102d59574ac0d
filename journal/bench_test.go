package journal

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/levada-stream/levada/internal/vfs"
)

// BenchmarkAppend measures durable appends of 64 KiB entries by groups side by side on a real disk.
func BenchmarkAppend(b *testing.B) {
	const size = 64 << 10
	for _, groups := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("groups=%d", groups), func(b *testing.B) {
			j, err := Open(vfs.OS(), b.TempDir(), Options{CacheBytes: 16 << 20})
			must(b, err)
			data := entry(1, 1, 1, size).Data
			var next atomic.Uint64
			b.SetBytes(size)
			b.SetParallelism((groups + 1) / 2)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				g, index := next.Add(1), uint64(0)
				for pb.Next() {
					index++
					if err := j.Append(g, []Entry{{Index: index, Term: 1, Data: data}}, index); err != nil {
						b.Error(err)
						return
					}
					if index%64 == 0 {
						if err := j.TruncatePrefix(g, index-16); err != nil {
							b.Error(err)
							return
						}
					}
				}
			})
			b.StopTimer()
			s := j.Stats()
			b.ReportMetric(float64(b.N)/float64(s.Rounds), "entries/round")
			must(b, j.Close())
		})
	}
}
