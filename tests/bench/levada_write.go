package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/levada-stream/levada/client"
)

// levadaMode is one way to use Levada's client library.
type levadaMode struct {
	// producers is their number; they share one client and its connections.
	producers int
	// options are those of each producer.
	options client.ProducerOptions
	text    string
}

func (m levadaMode) String() string { return m.text }

// levadaDefaults is one producer as it comes.
func levadaDefaults() levadaMode {
	return levadaMode{producers: 1, text: "1 producer with the client library's defaults"}
}

// levadaSingles are the ways to send records one by one: a batch is full with one record, and each batch is a message of its own.
func levadaSingles() []mode {
	var all []mode
	for _, producers := range []int{1, 4, 16, 64} {
		all = append(all, levadaMode{
			producers: producers,
			options: client.ProducerOptions{
				Linger: -1, BatchRecords: 1, InFlightPerShard: 32,
				// What waits for its turn to be sent is no use to anybody: all producers together hold as much as one does by default.
				MaxBytesInFlight: int64(64 << 20 / producers),
			},
			text: fmt.Sprintf("batches of 1 record, %d producer(s) with 32 messages unacknowledged per shard", producers),
		})
	}
	return all
}

// writer creates the stream and returns a writer to it, whose mode must be a levadaMode or a kinesisMode.
func (c *levadaCluster) writer(ctx context.Context, t target) (writer, error) {
	if _, ok := t.how.(kinesisMode); ok {
		return newKinesisWriter(ctx, c.kinesis(), t)
	}
	how := t.how.(levadaMode)
	if err := c.createStream(ctx, t.shards); err != nil {
		return nil, fmt.Errorf("create %d shards: %w", t.shards, err)
	}
	w := &levadaWriter{callers: c.b.options.callers, stored: make([]atomic.Int64, t.shards), data: payload(t.size)}
	var err error
	if w.keys, err = c.keysOf(ctx, streamName(t.shards)); err != nil {
		return nil, err
	}
	for range how.producers {
		p, err := c.client.Producer(streamName(t.shards), how.options)
		if err != nil {
			w.close()
			return nil, err
		}
		w.producers = append(w.producers, p)
	}
	return w, nil
}

// keysOf returns a partition key for each shard of a stream.
func (c *levadaCluster) keysOf(ctx context.Context, stream string) ([]string, error) {
	shards, err := c.client.ListShards(ctx, stream)
	if err != nil {
		return nil, err
	}
	found := make([]string, len(shards))
	for i, s := range shards {
		start, err := client.ParseHashKey(s.GetHashStart())
		if err != nil {
			return nil, err
		}
		end, err := client.ParseHashKey(s.GetHashEnd())
		if err != nil {
			return nil, err
		}
		// Keys are hashed evenly, so that after so many tries a miss is a defect.
		for n := 0; found[i] == "" && n < 1000*len(shards); n++ {
			key := strconv.Itoa(n)
			if hash := (client.Record{PartitionKey: key}).HashKey(); hash.Compare(start) >= 0 && hash.Compare(end) <= 0 {
				found[i] = key
			}
		}
		if found[i] == "" {
			return nil, fmt.Errorf("no partition key found for shard %d", s.GetNumber())
		}
	}
	return found, nil
}

// payload is what every record carries: noise, so that nothing can compress it.
func payload(size int) []byte {
	data := make([]byte, size)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(data) // never fails
	return data
}

// levadaWriter writes with one or more producers.
type levadaWriter struct {
	callers   int
	producers []*client.Producer
	keys      []string       // of the shards
	stored    []atomic.Int64 // records acknowledged, by shard
	data      []byte
}

func (w *levadaWriter) size() int { return len(w.data) }

func (w *levadaWriter) flood(ctx context.Context, acked *atomic.Int64) error {
	var (
		callers sync.WaitGroup
		failed  atomic.Pointer[error]
	)
	settled := func(r client.Result) {
		if r.Err != nil {
			failed.CompareAndSwap(nil, &r.Err)
			return
		}
		w.stored[r.Shard].Add(1)
		acked.Add(1)
	}
	for i := range w.callers {
		callers.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 1))
			for n := i; ctx.Err() == nil && failed.Load() == nil; n++ {
				r := client.Record{PartitionKey: strconv.FormatUint(random.Uint64N(keys), 10), Data: w.data}
				if err := w.producers[n%len(w.producers)].PutFunc(ctx, r, settled); err != nil && ctx.Err() == nil {
					failed.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	callers.Wait()
	flushing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	for _, p := range w.producers {
		if err := p.Flush(flushing); err != nil {
			return err
		}
	}
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

func (w *levadaWriter) one(ctx context.Context, shard int) error {
	pending, err := w.producers[0].Put(ctx, client.Record{PartitionKey: w.keys[shard], Data: w.data})
	if err != nil {
		return err
	}
	_, err = pending.Wait(ctx)
	return err
}

func (w *levadaWriter) send(ctx context.Context, n uint64, data []byte, done func(shard int, err error)) error {
	r := client.Record{PartitionKey: strconv.FormatUint(spread(n)%keys, 10), Data: data}
	return w.producers[0].PutFunc(ctx, r, func(r client.Result) {
		if r.Err == nil {
			w.stored[r.Shard].Add(1)
		}
		done(int(r.Shard), r.Err)
	})
}

// storedPerShard returns the numbers of records that flood and send had acknowledged.
func (w *levadaWriter) storedPerShard() []int64 {
	all := make([]int64, len(w.stored))
	for i := range w.stored {
		all[i] = w.stored[i].Load()
	}
	return all
}

func (w *levadaWriter) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, p := range w.producers {
		_ = p.Close(ctx) // nothing is outstanding
	}
}
