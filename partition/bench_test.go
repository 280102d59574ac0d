package partition

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/levada-stream/levada/internal/hashkey"
	"github.com/levada-stream/levada/internal/vfs"
	"github.com/levada-stream/levada/wal"
	"github.com/levada-stream/levada/wal/record"
)

// benchBatch makes a batch of about so many bytes, of records of 1 KiB.
func benchBatch(b *testing.B, size int) record.Batch {
	b.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	builder := record.NewBuilder(size)
	data := make([]byte, 1<<10-64)
	for builder.Len()+1<<10 <= size {
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		if err := builder.Add(record.Record{Key: fmt.Appendf(nil, "sensor-%06d", rng.IntN(1<<20)), Data: data}); err != nil {
			b.Fatal(err)
		}
	}
	return builder.Finish(record.ProducerID{}, 0, false)
}

// perEntry runs a benchmark with the two shapes of an entry of 256 KiB: one full batch, and as many small ones as fit.
func perEntry(b *testing.B, bench func(b *testing.B, batches []record.Batch)) {
	for _, c := range []struct {
		name  string
		count int
		size  int
	}{{"256KiB", 1, 256 << 10}, {"4KiB", 64, 4 << 10}} {
		b.Run("batch="+c.name, func(b *testing.B) {
			batches := make([]record.Batch, c.count)
			size := 0
			for i := range batches {
				batches[i] = benchBatch(b, c.size)
				size += len(batches[i])
			}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			bench(b, batches)
		})
	}
}

// BenchmarkEncode makes an entry of its batches.
func BenchmarkEncode(b *testing.B) {
	perEntry(b, func(b *testing.B, batches []record.Batch) {
		c := Command{Kind: CommandAppend, Time: 1_700_000_000_000, Batches: batches}
		for b.Loop() {
			c.Encode()
		}
	})
}

// BenchmarkDecode finds the batches of an entry, as each replica does before it applies it.
func BenchmarkDecode(b *testing.B) {
	perEntry(b, func(b *testing.B, batches []record.Batch) {
		head, body := Command{Kind: CommandAppend, Time: 1_700_000_000_000, Batches: batches}.Encode()
		for b.Loop() {
			if _, err := DecodeCommand(head, body); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkApply decides about one batch of one record. Producers take turns, so each batch looks at
// another one's memory; each of them has all the positions it may keep.
func BenchmarkApply(b *testing.B) {
	for _, producers := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprintf("producers=%d", producers), func(b *testing.B) {
			s := NewState(Rules{ProducersMax: producers})
			batches := make([]record.Batch, producers)
			for i := range batches {
				builder := record.NewBuilder(0)
				if err := builder.Add(record.Record{Key: []byte("k"), Data: []byte("d")}); err != nil {
					b.Fatal(err)
				}
				var id record.ProducerID
				binary.LittleEndian.PutUint64(id[:], uint64(i)*0x9e3779b97f4a7c15+1)
				batches[i] = builder.Finish(id, 1, false)
			}
			sent, known := 0, uint64(0)
			next := func() {
				batch := batches[sent%producers]
				// The state reads the header alone, so the batch need not be encoded anew. 32 is where the number is.
				binary.LittleEndian.PutUint64(batch[32:], known+uint64(sent/producers)+1)
				sent++
				if o := s.Apply(Command{Kind: CommandAppend, Time: int64(sent), Batches: []record.Batch{batch}}); o.Count != 1 {
					b.Fatal("refused")
				}
			}
			for range producers {
				next()
			}
			for _, p := range s.producers.byID {
				for len(p.spans) < rememberedSpans {
					p.accept(1, p.spans[len(p.spans)-1].first+2, p.seen)
				}
			}
			known = rememberedSpans - 1
			b.ReportAllocs()
			for b.Loop() {
				next()
			}
			if s.Producers() != producers {
				b.Fatalf("%d producers are remembered", s.Producers())
			}
		})
	}
}

// instantGroup is consensus that agrees at once: a goroutine applies what is proposed, as Raft's does.
type instantGroup struct {
	proposed chan *fakeFuture // capacity: more than a replica has in flight
	ended    chan struct{}
}

func startInstant(apply func([]Entry) []any) *instantGroup {
	g := &instantGroup{proposed: make(chan *fakeFuture, 64), ended: make(chan struct{})}
	go func() {
		defer close(g.ended)
		index := uint64(0)
		for f := range g.proposed {
			index++
			f.end(apply([]Entry{{Index: index, Term: 1, Head: f.head, Data: f.data}})[0], nil)
		}
	}()
	return g
}

// Propose implements Consensus.
func (g *instantGroup) Propose(head, data []byte) Future {
	f := &fakeFuture{head: head, data: data, done: make(chan struct{})}
	g.proposed <- f
	return f
}

// IsLeader implements Consensus.
func (g *instantGroup) IsLeader() bool { return true }

// Leader implements Consensus.
func (g *instantGroup) Leader() (string, uint64) { return "me", 1 }

// forgetfulLog is a shard log whose blocks are never written: it measures what a replica does, not a disk.
type forgetfulLog struct {
	*wal.Log
	pos wal.Position
}

// Append implements ShardLog.
func (l *forgetfulLog) Append(b wal.Block) (wal.Position, error) {
	l.pos.Next, l.pos.Index, l.pos.Time = b.First+uint64(b.Count), b.Index, b.Time
	return l.pos, nil
}

// Position implements ShardLog.
func (l *forgetfulLog) Position() wal.Position { return l.pos }

// BenchmarkEnqueue takes batches from the queue through consensus, of which there is none, to their answers. An
// operation is 256 KiB, of which up to 16 are under way. Where the shard has only a part of the keys, each
// record's key is hashed.
func BenchmarkEnqueue(b *testing.B) {
	almost := hashkey.Range{End: hashkey.Key{Hi: hashkey.Max.Hi, Lo: hashkey.Max.Lo - 1}}
	for _, keys := range []struct {
		name string
		hashkey.Range
	}{{"all", hashkey.Full}, {"part", almost}} {
		b.Run("keys="+keys.name, func(b *testing.B) {
			perEntry(b, func(b *testing.B, batches []record.Batch) {
				w := wal.NewWriter(wal.WriterOptions{})
				log, err := wal.Open(vfs.NewMem(1), "log", wal.Options{Group: 7, Shard: 3, Writer: w})
				if err != nil {
					b.Fatal(err)
				}
				r := NewReplica(Options{Group: 7, StreamID: 5, Shard: 3, Range: keys.Range, Log: &forgetfulLog{Log: log}})
				g := startInstant(r.Apply)
				r.Attach(g)
				enqueueAll(b, r, batches)
				r.Shutdown()
				close(g.proposed)
				<-g.ended
				r.Close()
				if err := errors.Join(log.Abandon(), w.Close()); err != nil {
					b.Error(err)
				}
			})
		})
	}
}

// enqueueAll enqueues the batches once per operation and waits for all answers.
func enqueueAll(b *testing.B, r *Replica, batches []record.Batch) {
	underWay := make(chan struct{}, 16)
	var answers sync.WaitGroup
	for b.Loop() {
		underWay <- struct{}{}
		answers.Add(1)
		left := len(batches)
		done := func(a AppendResult, err error) {
			if err != nil || a.Err != nil {
				b.Error(err, a.Err)
			}
			if left--; left == 0 {
				<-underWay
				answers.Done()
			}
		}
		for i := range batches {
			r.Enqueue(batches[i:i+1], done)
		}
	}
	answers.Wait()
}
