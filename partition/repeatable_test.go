package partition

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/internal/hashkey"
	"github.com/levada-stream/levada/wal/record"
)

func callID(n int) record.ProducerID {
	return record.RepeatableID([16]byte{0: 0xCA, 14: byte(n >> 8), 15: byte(n)})
}

// call returns records [from, to) of a repeatable call.
func call(t testing.TB, n, from, to int) record.Batch {
	t.Helper()
	b := record.NewBuilder(0)
	for i := from; i < to; i++ {
		addRecord(t, b, "key", fmt.Sprintf("c%d-%d", n, i))
	}
	return b.Finish(callID(n), uint64(from), false)
}

// calls is a command as it is decoded.
func calls(t testing.TB, time int64, batches ...record.Batch) Command {
	t.Helper()
	c, err := DecodeCommand(appendCommand(time, batches...).Encode())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCallsAreStoredOnce(t *testing.T) {
	s := NewState(Rules{})
	o := s.Apply(calls(t, 100, call(t, 1, 4, 7), call(t, 2, 1, 2)))
	if got := recordData(t, o.Payload...); cmp.Diff([]string{"c1-4", "c1-5", "c1-6", "c2-1"}, got) != "" {
		t.Errorf("stored %q", got)
	}
	o = s.Apply(calls(t, 200, call(t, 1, 4, 7), call(t, 1, 2, 9), call(t, 1, 2, 9)))
	again := []place{{0, 100, true}, {1, 100, true}, {2, 100, true}}
	some := []place{{4, 200, false}, {5, 200, false}, {0, 100, true}, {1, 100, true}, {2, 100, true}, {6, 200, false}, {7, 200, false}}
	all := []place{{4, 200, true}, {5, 200, true}, {0, 100, true}, {1, 100, true}, {2, 100, true}, {6, 200, true}, {7, 200, true}}
	for i, want := range [][]place{again, some, all} {
		if d := cmp.Diff(want, places(o.Results[i])); d != "" || o.Results[i].Err != nil {
			t.Errorf("batch %d: %v %s", i, o.Results[i].Err, d)
		}
	}
	if got := recordData(t, o.Payload...); cmp.Diff([]string{"c1-2", "c1-3", "c1-7", "c1-8"}, got) != "" || o.Count != 4 || o.Duplicates != 3+3+7 {
		t.Errorf("stored %q, %d records, %d duplicates", got, o.Count, o.Duplicates)
	}
	if s.Producers() != 0 || s.repeatables.runs != 4 {
		t.Errorf("%d producers, %d runs", s.Producers(), s.repeatables.runs)
	}
}

func TestCallsLeaveWithTheWindow(t *testing.T) {
	s := NewState(Rules{ProducerWindow: time.Minute})
	s.Apply(calls(t, 1000, call(t, 1, 1, 3)))
	for now := int64(1000); now < 200_000; now += 29_000 { // each repetition is a sign of life
		if o := s.Apply(calls(t, now, call(t, 1, 1, 3))); o.Count != 0 {
			t.Fatalf("stored again at %d", now)
		}
	}
	now := s.Time()
	s.Apply(Command{Kind: CommandTick, Time: now + 30_000})
	s.Apply(Command{Kind: CommandTick, Time: now + 60_000})
	if o := s.Apply(calls(t, now+60_000, call(t, 1, 1, 2))); o.Count != 0 {
		t.Error("forgotten within the window")
	}
	s.Apply(Command{Kind: CommandTick, Time: now + 90_000})
	s.Apply(Command{Kind: CommandTick, Time: now + 120_000})
	s.Apply(Command{Kind: CommandTick, Time: now + 120_001})
	if len(s.repeatables.byID) != 0 || s.repeatables.runs != 0 || s.repeatables.order.Len() != 0 {
		t.Errorf("%d runs are kept", s.repeatables.runs)
	}
}

// TestCallsDoNotPushOut: neither each other nor producers.
func TestCallsDoNotPushOut(t *testing.T) {
	s := NewState(Rules{})
	s.Apply(appendCommand(100, makeBatch(t, 1, 1, 1)))
	for i := range repeatableMax {
		if o := s.Apply(calls(t, 100, call(t, i, 1, 2))); o.Count != 1 {
			t.Fatalf("call %d: %v", i, o.Results[0].Err)
		}
	}
	o := s.Apply(calls(t, 100, call(t, repeatableMax, 1, 2), call(t, 0, 1, 2), call(t, 0, 1, 3), makeBatch(t, 1, 1, 2)))
	for i, kind := range []fault.Kind{fault.Throttled, 0, fault.Throttled} {
		if err := o.Results[i].Err; (kind == 0) != (err == nil) || err != nil && (err.Kind != kind || err.RetryAfter == 0) {
			t.Errorf("batch %d: %v", i, err)
		}
	}
	if d := cmp.Diff([]place{{0, 100, true}, {repeatableMax + 1, 100, false}}, places(o.Results[3])); d != "" {
		t.Errorf("the producer: %s", d)
	}
}

func TestCallsAcrossSplitAndMerge(t *testing.T) {
	parent := NewState(Rules{})
	parent.Apply(calls(t, 100, call(t, 1, 1, 5)))
	h := seal(t, parent, 7, hashkey.Full, 200)
	o := parent.Apply(calls(t, 210, call(t, 1, 2, 4), call(t, 1, 4, 6), call(t, 2, 1, 2)))
	if d := cmp.Diff([]place{{1, 100, true}, {2, 100, true}}, places(o.Results[0])); d != "" {
		t.Errorf("a repetition after the seal: %s", d)
	}
	for _, r := range o.Results[1:] {
		if r.Err == nil || r.Err.Kind != fault.ShardClosed {
			t.Errorf("something new after the seal: %+v", r)
		}
	}
	low, high := adopt(t, halves[0], 300, h), adopt(t, halves[1], 300, h)
	o = low.Apply(calls(t, 310, call(t, 1, 1, 3), call(t, 2, 1, 3)))
	want := []ResultRange{{Count: 2, First: 0, Time: 100, Duplicate: true, Elsewhere: true, Shard: 7}}
	if d := cmp.Diff(want, o.Results[0].Ranges); d != "" || o.Count != 2 {
		t.Errorf("stored %d: %s", o.Count, d)
	}
	o = high.Apply(calls(t, 310, call(t, 1, 3, 6), call(t, 2, 3, 5)))
	if o.Count != 1+2 || o.Duplicates != 2 {
		t.Errorf("stored %d, %d duplicates", o.Count, o.Duplicates)
	}
	// What both parents have of the same call is put together, and what they have of a common ancestor is not doubled.
	merged := adopt(t, hashkey.Full, 500, seal(t, low, 8, halves[0], 400), seal(t, high, 9, halves[1], 400))
	o = merged.Apply(calls(t, 510, call(t, 1, 1, 7), call(t, 2, 1, 5)))
	want = []ResultRange{
		{Count: 4, First: 0, Time: 100, Duplicate: true, Elsewhere: true, Shard: 7}, {Count: 1, First: 0, Time: 310, Duplicate: true, Elsewhere: true, Shard: 9}, {Count: 1, First: 0, Time: 510},
	}
	if d := cmp.Diff(want, o.Results[0].Ranges); d != "" {
		t.Error(d)
	}
	if o.Count != 1 || merged.repeatables.runs != 3+2 {
		t.Errorf("stored %d, %d runs", o.Count, merged.repeatables.runs)
	}
}

// TestOldAppendsKnowNoCalls: replicas that apply an old log again must come to what it came to then.
func TestOldAppendsKnowNoCalls(t *testing.T) {
	s := NewState(Rules{})
	head, body := appendCommand(100, call(t, 1, 1, 2), call(t, 1, 5, 6)).Encode()
	if head[1] != 3 {
		t.Errorf("version %d", head[1])
	}
	head[1] = 2
	c, err := DecodeCommand(head, body)
	if err != nil {
		t.Fatal(err)
	}
	o := s.Apply(c)
	if o.Results[0].Err != nil || o.Results[1].Err == nil || o.Results[1].Err.Kind != fault.StaleProducer || s.Producers() != 1 || len(s.repeatables.byID) != 0 {
		t.Errorf("%+v", o.Results)
	}
	if head, _ := appendCommand(100, makeBatch(t, 1, 1, 1)).Encode(); head[1] != 2 {
		t.Errorf("an append without calls has version %d", head[1])
	}
}

func TestSnapshotOfCalls(t *testing.T) {
	s := NewState(Rules{})
	s.Apply(calls(t, 100, makeBatch(t, 1, 1, 1), call(t, 1, 4, 7), call(t, 2, 1, 2)))
	s.Apply(calls(t, 200, call(t, 1, 1, 9)))
	data := EncodeSnapshot(Identity{}, Position{Next: s.next, Time: 200}, s)
	if data[4] != 3 {
		t.Errorf("version %d", data[4])
	}
	_, p, back, err := DecodeSnapshot(data)
	if err != nil {
		t.Fatal(err)
	}
	if again := EncodeSnapshot(Identity{}, p, back); !bytes.Equal(data, again) {
		t.Error("the snapshot is another after decoding")
	}
	o := back.Apply(calls(t, 300, call(t, 1, 1, 9), call(t, 2, 1, 2)))
	if o.Count != 0 || o.Duplicates != 9 || back.repeatables.runs != 4 {
		t.Errorf("stored %d, %d runs", o.Count, back.repeatables.runs)
	}
	for i := range len(data) - 4 { // every bit has a meaning or is refused; the checksum is made to fit
		bad := bytes.Clone(data)
		bad[i] ^= 0x80
		bad = reseal(bad)
		if _, p, got, err := DecodeSnapshot(bad); err == nil && i >= snapshotHeaderSize && !bytes.Equal(EncodeSnapshot(Identity{}, p, got), bad) {
			t.Errorf("byte %d: taken, but not kept", i)
		}
	}
}

// TestGoldenCalls holds the table of docs/formats/raft-commands.md and the code together.
func TestGoldenCalls(t *testing.T) {
	c := &repeatable{id: callID(0x0102), seen: 0x0a0b, runs: []run{{1, span{count: 2, first: 3, time: 4}}, {9, span{count: 5, first: 6, time: 7, ancestor: 8}}}}
	want := "ca000000" + "00008000" + "80000000" + "00000102" + "0b0a000000000000" + "02000000" + "00000000" +
		"0100000000000000" + "02000000" + "0300000000000000" + "0400000000000000" + "0000000000000000" +
		"0900000000000000" + "05000000" + "0600000000000000" + "0700000000000000" + "0800000000000000"
	if got := hex.EncodeToString(appendRepeatable(nil, c)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	h := Inheritance{Shard: 7, Time: 0x0a0b, Range: hashkey.Full, repeatables: []*repeatable{c}}
	head := "07000000" + "00000080" + "0000000000000000" + "0b0a000000000000" + strings.Repeat("00", 16) + strings.Repeat("ff", 16) + "01000000"
	body := h.Append(nil)
	if got := hex.EncodeToString(body); got != head+want {
		t.Errorf("got  %s\nwant %s", got, head+want)
	}
}

// TestCallsOverAnyShards sends the records of calls again and again, in any parts, over splits and merges: each is stored once, and always said to be in the same place.
func TestCallsOverAnyShards(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const records = 12
		type where struct {
			shard   uint32
			ordinal uint64
			time    int64
		}
		placed := map[[2]int]where{}
		stored := map[string]int{}
		now, number := int64(100), uint32(0)
		type shardOf struct {
			number   uint32
			from, to int // records, that stand for keys
			keys     hashkey.Range
			state    *State
		}
		part := hashkey.SplitEven(records)
		keysOf := func(from, to int) hashkey.Range { return hashkey.Range{Start: part[from].Start, End: part[to-1].End} }
		shards := []*shardOf{{0, 0, records, hashkey.Full, NewState(Rules{})}}
		child := func(from, to int, parents ...*shardOf) *shardOf {
			var left []Inheritance
			for _, p := range parents {
				left = append(left, seal(t, p.state, p.number, p.keys, now))
			}
			number++
			return &shardOf{number, from, to, keysOf(from, to), adopt(t, keysOf(from, to), now+1, left...)}
		}
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			now += 10
			i := rapid.IntRange(0, len(shards)-1).Draw(rt, "shard")
			sh := shards[i]
			switch rapid.IntRange(0, 5).Draw(rt, "step") {
			case 0:
				if sh.to-sh.from > 1 {
					cut := rapid.IntRange(sh.from+1, sh.to-1).Draw(rt, "cut")
					shards = append(shards[:i:i], append([]*shardOf{child(sh.from, cut, sh), child(cut, sh.to, sh)}, shards[i+1:]...)...)
				}
			case 1:
				if i+1 < len(shards) {
					shards = append(shards[:i:i], append([]*shardOf{child(sh.from, shards[i+1].to, sh, shards[i+1])}, shards[i+2:]...)...)
				}
			default:
				n := rapid.IntRange(1, 3).Draw(rt, "call")
				from := rapid.IntRange(sh.from, sh.to-1).Draw(rt, "from")
				to := rapid.IntRange(from+1, sh.to).Draw(rt, "to")
				o := sh.state.Apply(calls(t, now, call(t, n, from+1, to+1)))
				if o.Results[0].Err != nil {
					rt.Fatal(o.Results[0].Err)
				}
				for _, d := range recordData(t, o.Payload...) {
					if stored[d]++; stored[d] > 1 {
						rt.Fatalf("%s is stored twice", d)
					}
				}
				at := from
				for _, r := range o.Results[0].Ranges {
					for k := range r.Count {
						w := where{sh.number, r.First + uint64(k), r.Time}
						if r.Elsewhere {
							w.shard = r.Shard
						}
						if had, ok := placed[[2]int{n, at}]; ok != r.Duplicate || ok && had != w {
							rt.Fatalf("record %d of call %d is at %+v, it was at %+v, %v", at, n, w, had, ok)
						}
						placed[[2]int{n, at}] = w
						at++
					}
				}
				if at != to {
					rt.Fatalf("results of %d records of %d", at-from, to-from)
				}
			}
		}
	})
}
