package record

import (
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"testing"
)

// benchBytes is the size of a full batch of the client library.
const benchBytes = 256 << 10

// benchRecords makes the records of a full batch: noise under keys of many producers.
func benchRecords(size int) []Record {
	rng := rand.New(rand.NewPCG(1, uint64(size)))
	data := make([]byte, benchBytes)
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	var all []Record
	for at, room := 0, benchBytes-HeaderSize; ; at += size {
		r := Record{Key: fmt.Appendf(nil, "sensor-%06d", rng.IntN(1<<20))}
		if room -= r.Size() + size; room < 0 {
			return all
		}
		r.Data = data[at : at+size]
		all = append(all, r)
	}
}

func benchBatch(b *testing.B, records []Record) Batch {
	b.Helper()
	builder := NewBuilder(benchBytes)
	for _, r := range records {
		if err := builder.Add(r); err != nil {
			b.Fatal(err)
		}
	}
	return builder.Finish(ProducerID{1}, 1, false)
}

func perRecordSize(b *testing.B, bench func(b *testing.B, records []Record)) {
	for _, c := range []struct {
		name string
		size int
	}{{"100B", 100}, {"1KiB", 1 << 10}, {"64KiB", 64<<10 - 64}} {
		b.Run("record="+c.name, func(b *testing.B) {
			b.ReportAllocs()
			bench(b, benchRecords(c.size))
		})
	}
}

// BenchmarkBuild encodes the records of a full batch, whose size was guessed right.
func BenchmarkBuild(b *testing.B) {
	perRecordSize(b, func(b *testing.B, records []Record) {
		b.SetBytes(int64(benchBatch(b, records).Len()))
		for b.Loop() {
			benchBatch(b, records)
		}
	})
}

// BenchmarkParse checks a full batch, as a leader does with each that arrives.
func BenchmarkParse(b *testing.B) {
	perRecordSize(b, func(b *testing.B, records []Record) {
		batch := benchBatch(b, records)
		b.SetBytes(int64(batch.Len()))
		for b.Loop() {
			if _, _, err := Parse(batch); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkChecksum is the part of BenchmarkParse that no parser can do without.
func BenchmarkChecksum(b *testing.B) {
	perRecordSize(b, func(b *testing.B, records []Record) {
		batch := benchBatch(b, records)
		b.SetBytes(int64(batch.Len()))
		for b.Loop() {
			if crc32.Checksum(batch[offFlags:], castagnoli) != batch.Checksum() {
				b.Fatal("checksum")
			}
		}
	})
}

// BenchmarkRecords walks over the records of a full batch without checking it.
func BenchmarkRecords(b *testing.B) {
	perRecordSize(b, func(b *testing.B, records []Record) {
		batch := benchBatch(b, records)
		b.SetBytes(int64(batch.Len()))
		for b.Loop() {
			n := 0
			for _, r := range batch.Records() {
				n += len(r.Data)
			}
			if n < benchBytes/2 {
				b.Fatal(n)
			}
		}
	})
}
