package client

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/wal/record"
)

func testWindow(limit int) *window {
	n := byte(0)
	return &window{
		limit: limit, idempotent: true, retryFor: time.Minute, dedup: 15 * time.Minute,
		newID: func() record.ProducerID { n++; return record.ProducerID{n} },
	}
}

func testBatch(t interface{ Fatal(...any) }, records int) *batch {
	b := &batch{builder: record.NewBuilder(64), done: make(chan struct{})}
	for range records {
		if err := b.builder.Add(record.Record{Key: []byte("k"), Data: []byte("d")}); err != nil {
			t.Fatal(err)
		}
		b.count++
	}
	return b
}

// admitted returns a window with n batches of 2 records, the first sent of them on a call.
func admitted(t *testing.T, n, sent int) (*window, []*batch, time.Time) {
	t.Helper()
	w, now := testWindow(8), time.Unix(1_700_000_000, 0)
	var all []*batch
	for range n {
		b := testBatch(t, 2)
		if err := w.admit(b, now); err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	for range sent {
		w.sending(now)
	}
	return w, all, now
}

func outcome(failed []failure) (maybe []bool) {
	for _, f := range failed {
		maybe = append(maybe, f.err.MaybeWritten)
	}
	return maybe
}

// What may and may not be said and sent again after each kind of failure.
func TestWindowVerdicts(t *testing.T) {
	refusedErr := &Error{Kind: Invalid, Message: "no"}
	for name, tc := range map[string]struct {
		sent       int
		before     func(*window)
		do         func(*window, time.Time) ([]failure, error)
		maybe      []bool // of the failed, in order
		left       int
		newSession bool
	}{
		"refused at the first attempt: only that one fails": {
			3, (*window).answered,
			func(w *window, _ time.Time) ([]failure, error) { return w.refused(refusedErr) },
			[]bool{false},
			3, true,
		},
		"refused after an attempt of unknown outcome: all that were sent are unknown": {
			3, func(w *window) { w.broken(); w.sending(time.Now()); w.answered() },
			func(w *window, _ time.Time) ([]failure, error) { return w.refused(refusedErr) },
			[]bool{true, true, true},
			1, true,
		},
		"throttled, then refused: the gap was a wall all along": {
			3, func(w *window) { w.answered(); w.sending(time.Now()); w.answered() },
			func(w *window, _ time.Time) ([]failure, error) { return w.refused(refusedErr) },
			[]bool{false},
			3, true,
		},
		"stale with nothing unknown: everything is numbered anew": {
			2, (*window).answered,
			func(w *window, _ time.Time) ([]failure, error) { return w.stale(refusedErr) }, nil, 4, true,
		},
		"stale with an unknown outcome: nothing sent may be sent again": {
			2, func(w *window) { w.broken(); w.sending(time.Now()); w.answered() },
			func(w *window, _ time.Time) ([]failure, error) { return w.stale(refusedErr) },
			[]bool{true, true},
			2, true,
		},
		"time is up, never sent": {
			0, func(*window) {},
			func(w *window, now time.Time) ([]failure, error) { return w.expire(now.Add(time.Hour), refusedErr) },
			[]bool{false, false, false, false},
			0, true,
		},
		"time is up, two sent, two not": {
			2, (*window).broken,
			func(w *window, now time.Time) ([]failure, error) { return w.expire(now.Add(time.Hour), refusedErr) },
			[]bool{true, true, false, false},
			0, true,
		},
		"half the de-duplication window is up, two sent": {
			2, (*window).broken,
			func(w *window, now time.Time) ([]failure, error) {
				w.retryFor = time.Hour
				return w.expire(now.Add(8*time.Minute), refusedErr)
			},
			[]bool{true, true},
			2, true,
		},
		"time is not up": {
			2, (*window).broken,
			func(w *window, now time.Time) ([]failure, error) { return w.expire(now.Add(time.Second), refusedErr) }, nil, 4, false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, all, now := admitted(t, 4, tc.sent)
			session := w.id
			tc.before(w)
			failed, err := tc.do(w, now)
			if err != nil {
				t.Fatal(err)
			}
			if got := outcome(failed); len(got) != len(tc.maybe) {
				t.Fatalf("failed %v, want %v", got, tc.maybe)
			} else {
				for i := range got {
					if got[i] != tc.maybe[i] || failed[i].b != all[i] {
						t.Errorf("failure %d: maybe written %t, want %t", i, got[i], tc.maybe[i])
					}
				}
			}
			if len(w.batches) != tc.left || (w.id != session) != tc.newSession {
				t.Errorf("%d left, new session %t", len(w.batches), w.id != session)
			}
			next := uint64(1)
			for i, b := range w.batches {
				if tc.newSession && (b.uncertain || b.encoded.FirstSequence() != next || b.encoded.Producer() != w.id) {
					t.Errorf("batch %d: uncertain %t, sequence %d of %s", i, b.uncertain, b.encoded.FirstSequence(), b.encoded.Producer())
				}
				next += uint64(b.count)
			}
		})
	}
}

func TestWindowIdleSessionIsReplaced(t *testing.T) {
	w, all, now := admitted(t, 1, 1)
	if b, ok := w.accept(&levadav1.AppendResponse{Id: all[0].id, Ranges: []*levadav1.AppendedRange{{Count: 2}}}, now); !ok || b != all[0] {
		t.Fatal("not accepted")
	}
	session := w.id
	for _, c := range []struct {
		idle time.Duration
		same bool
	}{{7 * time.Minute, true}, {8 * time.Minute, false}} {
		b := testBatch(t, 1)
		now = now.Add(c.idle)
		if err := w.admit(b, now); err != nil {
			t.Fatal(err)
		}
		if same := w.id == session; same != c.same || (!same && b.encoded.FirstSequence() != 1) {
			t.Errorf("idle %v: same session %t", c.idle, same)
		}
		w.sending(now)
		w.accept(&levadav1.AppendResponse{Id: b.id, Ranges: []*levadav1.AppendedRange{{Count: 1}}}, now)
	}
}

func TestWindowRefusesForeignAnswers(t *testing.T) {
	w, all, now := admitted(t, 2, 1)
	for _, r := range []*levadav1.AppendResponse{
		{Id: all[1].id, Ranges: []*levadav1.AppendedRange{{Count: 2}}},
		{Id: all[0].id},
		{Id: all[0].id, Ranges: []*levadav1.AppendedRange{{Count: 1}}},
		{Id: all[0].id, Ranges: []*levadav1.AppendedRange{{Count: 2}, {Count: 1}}},
	} {
		if _, ok := w.accept(r, now); ok {
			t.Errorf("accepted %v", r)
		}
	}
}

// The wall, by model: whatever subset of the copies sent ever reaches the
// service, in whatever order, a batch is taken at most once over all sessions, and one
// that failed for good never.
func TestWindowNeverTakesTwice(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w, now := testWindow(4), time.Unix(1_700_000_000, 0)
		type wire struct {
			b       *batch
			bytes   record.Batch
			arrived bool
		}
		var copies []wire // under way, for ever
		highest := map[record.ProducerID]uint64{}
		taken, gone := map[*batch]int{}, map[*batch]bool{}
		deliver := func(c wire) bool {
			p, first, n := c.bytes.Producer(), c.bytes.FirstSequence(), uint64(c.bytes.Count())
			switch {
			case first == highest[p]+1:
				highest[p] = first + n - 1
				taken[c.b]++
				return true
			case first+n-1 <= highest[p]:
				return true
			}
			return false
		}
		fail := func(failed []failure, err error) {
			if err != nil {
				rt.Fatal(err)
			}
			for _, f := range failed {
				gone[f.b] = !f.err.MaybeWritten
			}
		}
		e := &Error{Kind: Invalid}
		for range 40 {
			switch rapid.IntRange(0, 6).Draw(rt, "step") {
			case 0, 1:
				if w.room() {
					if err := w.admit(testBatch(rt, rapid.IntRange(1, 3).Draw(rt, "count")), now); err != nil {
						rt.Fatal(err)
					}
				}
			case 2: // send, and the copy is under way
				if b := w.unsent(); b != nil {
					w.sending(now)
					copies = append(copies, wire{b: b, bytes: b.encoded})
				}
			case 3: // any copy arrives, again or for the first time
				if len(copies) > 0 {
					c := &copies[rapid.IntRange(0, len(copies)-1).Draw(rt, "copy")]
					c.arrived = deliver(*c) || c.arrived
				}
			case 4:
				w.broken()
			case 5: // the first on the call is answered, its copy used up
				if w.sent > 0 {
					b := w.batches[0]
					for i := len(copies) - 1; i >= 0; i-- {
						if copies[i].b == b && &copies[i].bytes[0] == &b.encoded[0] {
							c := copies[i]
							copies = append(copies[:i], copies[i+1:]...)
							switch {
							case !c.arrived && rapid.Bool().Draw(rt, "refuse"):
								w.answered()
								fail(w.refused(e))
							case deliver(c):
								w.accept(&levadav1.AppendResponse{Id: b.id, Ranges: []*levadav1.AppendedRange{{Count: uint32(b.count)}}}, now)
							default:
								w.answered()
								fail(w.stale(e))
							}
							break
						}
					}
				}
			case 6:
				w.broken()
				if rapid.IntRange(0, 5).Draw(rt, "expire") == 0 {
					now = now.Add(2 * time.Minute)
				}
				fail(w.expire(now, e))
			}
		}
		for _, c := range copies {
			deliver(c)
		}
		for b, n := range taken {
			if n > 1 || gone[b] {
				rt.Fatalf("taken %d times, failed for good: %t", n, gone[b])
			}
		}
	})
}
