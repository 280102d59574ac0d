package meta

import (
	"sync"
	"testing"

	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/internal/hashkey"
)

// Readers follow the versions while commands are applied. Whatever they see is
// whole: the same lookups agree with each other, and versions only go up.
func TestReadersBesideTheWriter(t *testing.T) {
	b := cluster(t, 3)
	b.create("s", 200, 3)
	last := b.index + 300
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			version := uint64(0)
			for version < last {
				<-b.store.Watch(version)
				s := b.store.State()
				if s.Version() <= version {
					t.Errorf("woken at version %d by version %d", version, s.Version())
					return
				}
				version = s.Version()
				leaders := 0
				for st := range s.Streams() {
					for sh := range st.Shards() {
						if other, ok := s.ShardByGroup(sh.Group); !ok || other != sh {
							t.Errorf("group %d leads to another shard at version %d", sh.Group, version)
						}
						if sh.Term > 0 {
							leaders++
						}
					}
					if st.Leaderless() != 200-leaders {
						t.Errorf("version %d: %d shards without a leader, %d with one", version, st.Leaderless(), leaders)
					}
				}
				if _, ok := s.ShardForHash(1, hashkey.Max); !ok {
					t.Error("a key has no shard")
				}
			}
		})
	}
	for i := uint64(0); b.index < last; i++ {
		b.must(ReportLeaders{Leaders: []LeaderReport{{i%200 + 1, nodeID(int(i) % 3), i/200 + 1, ""}}})
	}
	wg.Wait()
}

func TestWatchWakesOnceAboveTheVersion(t *testing.T) {
	b := cluster(t, 1)
	woken := func(c <-chan struct{}) bool {
		select {
		case <-c:
			return true
		default:
			return false
		}
	}
	if !woken(b.store.Watch(b.index - 1)) {
		t.Error("a version that passed already does not wake")
	}
	wait := b.store.Watch(b.index)
	if woken(wait) {
		t.Error("woken by nothing")
	}
	// A refused command is a version too: its proposer waits for it.
	if result, _ := b.apply(RemoveNode{ID: "nobody"}); fault.KindOf(result.(error)) != fault.NotFound {
		t.Errorf("result %v", result)
	}
	if !woken(wait) {
		t.Error("not woken by a new version")
	}
}
