package partition

import (
	"fmt"
	"testing"

	"github.com/levada-stream/levada/wal/record"
)

// producerID returns a producer named by one byte; 0 is none.
func producerID(n byte) record.ProducerID {
	if n == 0 {
		return record.ProducerID{}
	}
	return record.ProducerID{0: 0xAA, 15: n}
}

// makeBatch builds a batch of n records; the data of each says who sent it as which number.
func makeBatch(t testing.TB, producer byte, first uint64, n int) record.Batch {
	t.Helper()
	b := record.NewBuilder(0)
	for i := range n {
		addRecord(t, b, "key", fmt.Sprintf("p%d-%d", producer, first+uint64(i)))
	}
	return b.Finish(producerID(producer), first, false)
}

// dataBatch builds a batch without producer of records with the given data.
func dataBatch(t testing.TB, key string, data ...string) record.Batch {
	t.Helper()
	b := record.NewBuilder(0)
	for _, d := range data {
		addRecord(t, b, key, d)
	}
	return b.Finish(record.ProducerID{}, 0, false)
}

func addRecord(t testing.TB, b *record.Builder, key, data string) {
	t.Helper()
	if err := b.Add(record.Record{Key: []byte(key), Data: []byte(data)}); err != nil {
		t.Fatal(err)
	}
}

// recordData lists the data of all records of encoded batches.
func recordData(t testing.TB, payload ...[]byte) []string {
	t.Helper()
	var out []string
	for _, p := range payload {
		for len(p) > 0 {
			b, rest, err := record.Parse(p)
			if err != nil {
				t.Fatalf("stored bytes are no batch: %v", err)
			}
			for _, r := range b.Records() {
				out = append(out, string(r.Data))
			}
			p = rest
		}
	}
	return out
}

// place is where one record is stored.
type place struct {
	Ordinal   uint64
	Time      int64
	Duplicate bool
}

func places(a AppendResult) []place {
	var out []place
	for _, r := range a.Ranges {
		for i := range uint64(r.Count) {
			p := place{r.First, r.Time, r.Duplicate}
			if r.First != UnknownOrdinal {
				p.Ordinal += i
			}
			out = append(out, p)
		}
	}
	return out
}

func appendCommand(time int64, batches ...record.Batch) Command {
	return Command{Kind: CommandAppend, Time: time, Batches: batches}
}
