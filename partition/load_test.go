package partition

import (
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/internal/hashkey"
	"github.com/levada-stream/levada/wal/record"
)

// stored is the outcome of batches that were all stored at a time.
func stored(at int64, batches ...record.Batch) *Outcome {
	o := &Outcome{Time: at, Results: make([]AppendResult, len(batches))}
	for _, b := range batches {
		o.Count += uint32(b.Count())
	}
	return o
}

func near(got, want, tolerance float64) bool { return math.Abs(got-want) <= tolerance*want }

func TestLoadOverWindows(t *testing.T) {
	m := &loadMeter{}
	b := dataBatch(t, "k", "x")
	start := int64(1_000_000_000)
	for s := range int64(120) { // a record a second for two minutes, then three a second for half a minute
		m.add([]record.Batch{b}, stored(start+s*1000, b), 1000)
	}
	for s := range int64(90) {
		m.add([]record.Batch{b}, stored(start+120_000+s*1000/3, b), 1000)
	}
	now := start + 150_000
	for _, c := range []struct {
		window time.Duration
		at     int64
		want   Rate
	}{
		{30 * time.Second, now, Rate{3000, 3}},
		{10 * time.Second, now, Rate{3000, 3}},
		{150 * time.Second, now, Rate{1400, 1.4}},
		{15 * time.Second, now, Rate{3000, 3}},          // rounded down to a slice
		{time.Second, now, Rate{3000, 3}},               // no less than one
		{30 * time.Second, now + 9_999, Rate{3000, 3}},  // what has begun does not count
		{30 * time.Second, now + 10_000, Rate{2000, 2}}, // silence does
		{30 * time.Second, now + 40_000, Rate{}},
	} {
		if got := m.rate(c.at, c.window); got != c.want {
			t.Errorf("over %s until %d: %+v, want %+v", c.window, c.at-start, got, c.want)
		}
	}
	for s := range int64(2 * loadSlices) {
		m.add([]record.Batch{b}, stored(now+s*loadSliceMillis, b), 1)
	}
	if len(m.slices) != loadSlices {
		t.Errorf("%d slices are kept", len(m.slices))
	}
}

// TestSamplesStandForAll: by bytes and by records the samples give back each key's share, whatever the order and sizes of records.
func TestSamplesStandForAll(t *testing.T) {
	sizes := map[string]int{"small": 10, "middle": 3000, "large": 40_000, "often": 10}
	order := []string{"small", "often", "middle", "often", "large", "often"} // in turn, which even steps would follow
	m := &loadMeter{}
	bytes, records := map[hashkey.Key]float64{}, map[hashkey.Key]float64{}
	at := int64(6_000_000)
	for i := range 60_000 {
		key := order[i%len(order)]
		b := dataBatch(t, key, string(make([]byte, sizes[key])))
		o := stored(at+int64(i), b) // within one period
		m.add([]record.Batch{b}, o, len(b))
		for _, r := range b.Records() {
			bytes[r.HashKey()] += float64(r.Size())
			records[r.HashKey()]++
		}
	}
	samples := m.samples(at + 59_999)
	if len(samples) < samplesMax/2 || len(samples) > samplesMax {
		t.Fatalf("%d samples", len(samples))
	}
	gotBytes, gotRecords := map[hashkey.Key]float64{}, map[hashkey.Key]float64{}
	for _, s := range samples {
		gotBytes[s.Key] += s.Bytes
		gotRecords[s.Key] += s.Records
	}
	large := hashkey.FromPartitionKey([]byte("large"))
	if !near(gotBytes[large], bytes[large], 0.15) {
		t.Errorf("%.0f bytes of the large records are estimated, there were %.0f", gotBytes[large], bytes[large])
	}
	often := hashkey.FromPartitionKey([]byte("often"))
	if !near(gotRecords[often], records[often], 0.5) { // few of the samples are theirs
		t.Errorf("%.0f of the records that come often are estimated, there were %.0f", gotRecords[often], records[often])
	}
	// They are forgotten in time.
	if n := len(m.samples(at + 60_000)); n != len(samples) {
		t.Errorf("%d samples a moment later", n)
	}
	if n := len(m.samples(at + 120_000)); n != 0 {
		t.Errorf("%d samples two minutes later", n)
	}
}

// TestSamplesInTurn: keys that come in turn, in steps that fit the sampler's, are all found.
func TestSamplesInTurn(t *testing.T) {
	m := &loadMeter{}
	at := int64(6_000_000)
	for i := range 20_000 {
		b := dataBatch(t, fmt.Sprint("key", i%4), string(make([]byte, 1024-48-8-4)))
		m.add([]record.Batch{b}, stored(at, b), len(b))
	}
	count := map[hashkey.Key]int{}
	for _, s := range m.samples(at) {
		count[s.Key]++
	}
	for k, n := range count {
		if n < 20 || n > 110 {
			t.Errorf("key %s has %d samples of %v", k, n, count)
		}
	}
	if len(count) != 4 {
		t.Errorf("samples of %d keys: %v", len(count), count)
	}
}

// TestLoadOfAReplica: what is stored counts, on its clock; what is refused or known before does not.
func TestLoadOfAReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShard(t, fixtureOptions{delay: time.Millisecond})
		defer s.close()
		made := time.Now().UnixMilli()
		if got := s.replica.Load(made, time.Minute); got != (Rate{}) || s.replica.KeySamples(made) != nil || s.replica.LoadKnownSince() != made {
			t.Fatalf("an idle replica has load %+v since %d", got, s.replica.LoadKnownSince())
		}
		<-time.After(10*time.Second - time.Duration(made%10_000)*time.Millisecond)
		batch := makeBatch(t, 1, 1, 50)
		s.mustAppend(batch)
		s.mustAppend(batch) // a duplicate
		if got, err := s.replica.Append(t.Context(), []record.Batch{makeBatch(t, 1, 100, 50)}); err != nil || got[0].Err == nil || got[0].Err.Kind != fault.StaleProducer {
			t.Fatalf("a gap: %+v, %v", got, err)
		}
		<-time.After(10 * time.Second)
		want := Rate{Bytes: float64(len(batch)) / 10, Records: 5}
		if got := s.replica.Load(time.Now().UnixMilli(), 10*time.Second); got != want {
			t.Errorf("load %+v, want %+v", got, want)
		}
		if n := len(s.replica.KeySamples(time.Now().UnixMilli())); n < 3 {
			t.Errorf("%d samples of 50 records", n)
		}
	})
}

// TestSealAndAdoptOfReplicas takes a shard over by two others, restarts among them.
func TestSealAndAdoptOfReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parent := newShard(t, fixtureOptions{delay: time.Millisecond})
		defer parent.close()
		sent := keyed(t, 1, 1, lowKey, lowKey)
		parent.mustAppend(sent)
		left, err := parent.replica.Seal()
		if err != nil {
			t.Fatal(err)
		}
		child := newShard(t, fixtureOptions{delay: time.Millisecond, edit: func(o *Options) {
			o.Shard, o.Range, o.Rules.Child = 4, halves[0], true
		}})
		defer child.close()
		if _, err := child.replica.Append(t.Context(), []record.Batch{sent}); fault.KindOf(err) != fault.Throttled || !child.replica.Pending() {
			t.Fatalf("before it has adopted it answers %v", err)
		}
		if err := parent.replica.Adopt([]Inheritance{left}); fault.KindOf(err) != fault.Invalid {
			t.Errorf("a shard without parents adopts: %v", err)
		}
		for range 2 { // the second time there is nothing to do
			if err := child.replica.Adopt([]Inheritance{left}); err != nil || child.replica.Pending() {
				t.Fatalf("adopt: %v, pending %v", err, child.replica.Pending())
			}
		}
		if n := child.replica.Stats().Entries; n != 0 {
			t.Errorf("%d entries of appends", n)
		}
		got := child.mustAppend(sent, keyed(t, 1, 3, lowKey))
		if r := got[0].Ranges[0]; !r.Duplicate || !r.Elsewhere || r.Shard != 3 || got[1].Ranges[0].Time <= left.Time {
			t.Errorf("the child answers %+v", got)
		}
	})
}
