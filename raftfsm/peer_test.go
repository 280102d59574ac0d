package raftfsm

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestDeathIsSeenInAnyOrder: a killed process's connections may end before its listener does, one by one. The dials
// that their ends bring about are answered then, and the death must be seen all the same, and soon.
func TestDeathIsSeenInAnyOrder(t *testing.T) {
	for name, gap := range map[string]time.Duration{"at once": 0, "within a probe": time.Millisecond, "slower than probes": 2 * probePause} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newMemNet()
				a, b := memTransport(t, n, "a"), memTransport(t, n, "b")
				defer a.Close()
				defer b.Close()
				var deaths atomic.Int64
				a.onPeerDeath(func(node string) {
					if node == "b" {
						deaths.Add(1)
					}
				})
				connectAll(t, a, b)
				n.killListenerLast("b", gap)
				time.Sleep(10 * probePause)
				if got := deaths.Load(); got != 1 {
					t.Errorf("the death was told %d times", got)
				}
			})
		})
	}
}

// TestDropIsNoDeath: a peer that closes all connections and listens on is alive, and is dialled a bounded number of times.
func TestDropIsNoDeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemNet()
		a, b := memTransport(t, n, "a"), memTransport(t, n, "b")
		defer a.Close()
		defer b.Close()
		a.onPeerDeath(func(string) { t.Error("a living node was called dead") })
		connectAll(t, a, b)
		n.dropConns("b", 0)
		time.Sleep(time.Minute)
		p := a.peer("b")
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.probing {
			t.Error("it is still probed")
		}
	})
}

// connectAll opens all shared lanes between two transports, both ways.
func connectAll(t *testing.T, a, b *Transport) {
	t.Helper()
	for _, pair := range [][2]*Transport{{a, b}, {b, a}} {
		for l := range lane(lanesShared) {
			if _, err := pair[0].peer(pair[1].o.NodeID).lane(l, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
}
