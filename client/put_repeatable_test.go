package client

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/levada-stream/levada/internal/hashkey"
	"github.com/levada-stream/levada/wal/record"
)

// someRecords returns records with keys that repeat.
func someRecords(n int) []Record {
	all := make([]Record, n)
	for i := range all {
		all[i] = Record{PartitionKey: fmt.Sprint(i % 13), Data: fmt.Appendf(nil, "%d", i)}
	}
	return all
}

// evenMap is the map of a stream with so many even shards.
func evenMap(shards int) *partitionMap {
	m := &partitionMap{}
	for i, r := range hashkey.SplitEven(shards) {
		m.open = append(m.open, &shardInfo{number: uint32(i), keys: r})
	}
	return m
}

// TestNumbersStayWhateverTheShards: or a repetition after a split would be another call.
func TestNumbersStayWhateverTheShards(t *testing.T) {
	records := someRecords(100)
	all := number(records)
	for i := range all {
		all[i].number = uint64(i) + 1
	}
	for _, shards := range []int{1, 2, 7, 50} {
		runs := runsOf(evenMap(shards), all)
		if len(runs) > min(shards, 13) {
			t.Errorf("%d shards get %d batches", shards, len(runs))
		}
		next := uint64(1)
		last := map[string]int{}
		for _, r := range runs {
			for _, n := range r.records {
				if n.number != next || !r.shard.keys.Contains(n.key) || n.key != records[n.at].HashKey() {
					t.Fatalf("%d shards: record %d has number %d in place of %d, in shard %d", shards, n.at, n.number, next, r.shard.number)
				}
				next++
				key := records[n.at].PartitionKey
				if before, ok := last[key]; ok && before > n.at {
					t.Errorf("%d shards: records %d and %d of a key are out of order", shards, before, n.at)
				}
				last[key] = n.at
			}
		}
		if next != 101 {
			t.Errorf("%d records of 100", next-1)
		}
	}
	// What is left out leaves a gap: no run goes over it.
	left := slices.Delete(slices.Clone(all), 50, 51)
	if runs := runsOf(evenMap(1), left); len(runs) != 2 || runs[1].records[0].number != 52 {
		t.Errorf("%d runs", len(runs))
	}
}

func TestCallsAreTheSameOnlyIfAllIs(t *testing.T) {
	base := func() []Record {
		return []Record{{PartitionKey: "a", Data: []byte("b")}, {PartitionKey: "c", Data: []byte("d")}}
	}
	ids := map[record.ProducerID]string{}
	explicit := HashKey{Lo: 7}
	for what, c := range map[string]struct {
		stream, token string
		change        func(r []Record) []Record
	}{
		"the call":       {"s", "t", func(r []Record) []Record { return r }},
		"another stream": {"st", "", func(r []Record) []Record { return r }},
		"another token":  {"s", "u", func(r []Record) []Record { return r }},
		"other data":     {"s", "t", func(r []Record) []Record { r[1].Data = []byte("e"); return r }},
		"another key":    {"s", "t", func(r []Record) []Record { r[0].PartitionKey = "x"; return r }},
		"a hash key":     {"s", "t", func(r []Record) []Record { r[0].ExplicitHashKey = &explicit; return r }},
		"another order":  {"s", "t", func(r []Record) []Record { slices.Reverse(r); return r }},
		"fewer":          {"s", "t", func(r []Record) []Record { return r[:1] }},
		"moved bytes":    {"s", "t", func(r []Record) []Record { r[0].Data, r[1].PartitionKey = []byte("bc"), ""; return r }},
	} {
		id := repeatableID(c.stream, c.token, c.change(base()))
		if !id.Repeatable() || id != repeatableID(c.stream, c.token, c.change(base())) {
			t.Errorf("%s: %s", what, id)
		}
		if other, ok := ids[id]; ok {
			t.Errorf("%s is the same as %s", what, other)
		}
		ids[id] = what
	}
	if (&Producer{}).newSession().Repeatable() {
		t.Error("a session looks like a call")
	}
}

func TestPutRepeatable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, 3)
		defer f.close()
		s := f.create("s", 4)
		c, other := f.client(), f.client()
		defer c.Close()
		defer other.Close()
		records := someRecords(60)
		left := func(i int) bool { return s.shards[2].keys.Contains(records[i].HashKey()) }
		first, err := c.PutRepeatable(t.Context(), "s", "t", records, left, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		f.nodes[1].stop() // others pass on what is for the shards that it led
		again, err := other.PutRepeatable(t.Context(), "s", "t", records, nil, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[SequenceNumber]bool{}
		for i, r := range again {
			if r.Err != nil || seen[r.Sequence] || r.Duplicate == left(i) {
				t.Errorf("record %d: %+v", i, r)
			}
			seen[r.Sequence] = true
			if left(i) {
				if first[i] != (Result{}) {
					t.Errorf("record %d was left out: %+v", i, first[i])
				}
				continue
			}
			want := first[i]
			want.Duplicate = true
			if d := cmp.Diff(want, r); d != "" {
				t.Errorf("record %d: %s", i, d)
			}
		}
	})
}

func TestPutRepeatableFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, 2)
		defer f.close()
		s := f.create("s", 2)
		c := f.client()
		defer c.Close()
		put := func(stream string, records ...Record) ([]Result, error) {
			return c.PutRepeatable(t.Context(), stream, "t", records, nil, 2*time.Second)
		}
		if _, err := put("nope", Record{PartitionKey: "k"}); !IsNotFound(err) {
			t.Errorf("no stream: %v", err)
		}
		if _, err := put("s", make([]Record, RepeatableRecordsMax+1)...); !IsTooLarge(err) {
			t.Errorf("too many records: %v", err)
		}
		f.mu.Lock()
		for _, sh := range s.shards {
			sh.refuse["bad"] = true
		}
		f.mu.Unlock()
		good := Record{PartitionKey: keyFor(s.shards[0].keys), Data: []byte("x")}
		bad := Record{PartitionKey: "bad", ExplicitHashKey: &s.shards[1].keys.Start}
		results, err := put("s", Record{PartitionKey: strings.Repeat("x", 300)}, good, bad)
		if err != nil || !IsTooLarge(results[0].Err) || results[1].Err != nil || !IsInvalid(results[2].Err) || MaybeWritten(results[2].Err) {
			t.Errorf("%+v, %v", results, err)
		}
		f.mu.Lock()
		s.shards[0].leader = -1
		f.mu.Unlock()
		began := time.Now()
		results, err = put("s", good, Record{PartitionKey: good.PartitionKey, Data: bytes.Repeat([]byte("y"), 10)})
		if took := time.Since(began); err != nil || !IsUnavailable(results[0].Err) || !IsUnavailable(results[1].Err) || took > 10*time.Second {
			t.Errorf("no leader: %+v, %v, after %v", results, err, took)
		}
	})
}
