package raftfsm

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/internal/vfs"
)

func TestThreeNodesAgree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, 3, 1, 2)
		for _, id := range c.ids {
			c.nodes[id].run(c.members())
		}
		for _, g := range c.groups {
			l := c.leader(g)
			var futures []Future
			for i := range 200 {
				futures = append(futures, l.host.Group(g).Propose(fmt.Appendf(nil, "g%d-%d", g, i)))
			}
			for i, f := range futures {
				if r, err := f.Wait(); err != nil || r != i+1 {
					t.Fatalf("proposal %d: %v, %v", i, r, err)
				}
			}
			if got := c.agree(g, 200); len(got) != 200 || got[199] != fmt.Sprintf("g%d-199", g) {
				t.Fatalf("group %d has %d entries", g, len(got))
			}
			if err := l.host.Group(g).VerifyLeader(); err != nil {
				t.Errorf("verify: %v", err)
			}
		}
		for _, id := range c.ids {
			n := c.nodes[id]
			if g := n.host.Group(1); !g.IsLeader() {
				_, err := g.Propose([]byte("x")).Wait()
				if f := fault.As(err); f == nil || f.Kind != fault.NotLeader || f.LeaderNode != c.leader(1).id {
					t.Errorf("%s: proposal on a follower: %v", id, err)
				}
			}
		}
		c.close()
	})
}

// TestChaosInMemory cuts, stalls, kills and restarts nodes by seed while clients propose; what
// was acknowledged must be on every replica exactly once. RAFTFSM_SEEDS=100 tries more; a seed
// replays with -run 'TestChaosInMemory/^17$'.
func TestChaosInMemory(t *testing.T) {
	seeds := uint64(6)
	if testing.Short() {
		seeds = 2
	}
	if n, err := strconv.ParseUint(os.Getenv("RAFTFSM_SEEDS"), 10, 64); err == nil {
		seeds = n
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { chaos(t, seed) })
		})
	}
}

func chaos(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 7))
	c := newCluster(t, seed, 3, 1, 2)
	c.options = func(o *HostOptions) { o.SnapshotEntries = 60; o.TrailingLogs = 20 }
	for _, id := range c.ids {
		c.nodes[id].run(c.members())
	}
	stop := make(chan struct{})
	var clients sync.WaitGroup
	mu := make(chanLock, 1) // guards acked and the nodes' runs
	acked := map[uint64][]string{}
	for client := range 4 {
		clients.Go(func() {
			g := c.groups[client%2]
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				command := fmt.Sprintf("c%d-%d", client, i)
				if proposeAnywhere(c, mu, g, command+"|"+strings.Repeat("x", client*700)) {
					mu.Lock()
					acked[g] = append(acked[g], command)
					mu.Unlock()
				}
				time.Sleep(15 * time.Millisecond)
			}
		})
	}
	for range 14 {
		disturb(c, mu, rng)
	}
	close(stop)
	clients.Wait()
	for _, g := range c.groups {
		c.leader(g)
		checkAcknowledged(t, c.agree(g, len(acked[g])), acked[g])
		if len(acked[g]) < 100 {
			t.Errorf("group %d: only %d proposals succeeded", g, len(acked[g]))
		}
	}
	c.close()
}

// chanLock is a lock on which synctest's time goes on.
type chanLock chan struct{}

func (l chanLock) Lock()   { l <- struct{}{} }
func (l chanLock) Unlock() { <-l }

// proposeAnywhere makes one proposal to whoever leads and reports whether it was acknowledged.
func proposeAnywhere(c *testCluster, mu chanLock, g uint64, command string) bool {
	mu.Lock()
	var leader *Group
	for _, n := range c.nodes {
		if n.host != nil && n.host.Group(g) != nil && n.host.Group(g).IsLeader() {
			leader = n.host.Group(g)
		}
	}
	mu.Unlock()
	if leader == nil {
		time.Sleep(50 * time.Millisecond)
		return false
	}
	_, err := leader.Propose([]byte(command)).Wait()
	return err == nil
}

// disturb does one thing to the cluster, waits, and undoes it.
func disturb(c *testCluster, mu chanLock, rng *rand.Rand) {
	id := c.ids[rng.IntN(len(c.ids))]
	other := c.ids[rng.IntN(len(c.ids))]
	pause := time.Duration(200+rng.IntN(4000)) * time.Millisecond
	if rng.IntN(2) == 0 { // a slow disk, so that a leader has entries under way when the rest happens
		c.nodes[id].fault.Add(vfs.Rule{Ops: vfs.OpSync, Path: "*.seg", Times: 1 + rng.IntN(60), Delay: time.Duration(1+rng.IntN(80)) * time.Millisecond})
		time.Sleep(time.Duration(rng.IntN(200)) * time.Millisecond)
	}
	switch rng.IntN(4) {
	case 0:
		c.net.isolate(id, c.ids, true)
		time.Sleep(pause)
		c.net.isolate(id, c.ids, false)
	case 1:
		if other != id {
			c.net.stall(id, other, true)
			time.Sleep(pause)
			c.net.stall(id, other, false)
		}
	case 2:
		restart(c, mu, pause, id)
	case 3:
		restart(c, mu, pause, c.ids...)
	}
	time.Sleep(time.Duration(rng.IntN(3000)) * time.Millisecond)
}

func restart(c *testCluster, mu chanLock, pause time.Duration, ids ...string) {
	for _, id := range ids {
		mu.Lock()
		c.nodes[id].kill()
		mu.Unlock()
	}
	time.Sleep(pause)
	for _, id := range ids {
		mu.Lock()
		c.nodes[id].run(c.members())
		mu.Unlock()
	}
}

func checkAcknowledged(t *testing.T, list, acked []string) {
	t.Helper()
	count := map[string]int{}
	for _, s := range list {
		count[s]++
	}
	for _, s := range acked {
		if count[s] != 1 {
			t.Errorf("acknowledged %.20q is there %d times", s, count[s])
		}
	}
}

func TestRestartKeepsConfigurationAndData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, 3, 9)
		for _, id := range c.ids {
			c.nodes[id].run(c.members())
		}
		l := c.leader(9)
		for i := range 50 {
			if _, err := l.host.Group(9).Propose(fmt.Appendf(nil, "%d", i)).Wait(); err != nil {
				t.Fatal(err)
			}
		}
		c.agree(9, 50)
		for range 2 { // the second time also after a snapshot
			for _, id := range c.ids {
				c.nodes[id].kill()
			}
			for _, id := range c.ids {
				c.nodes[id].run(nil) // no bootstrap: everything comes from disk
			}
			for _, id := range c.ids {
				s, err := c.nodes[id].host.Group(9).Servers()
				if err != nil || len(s) != 3 {
					t.Fatalf("%s: servers %v, %v", id, s, err)
				}
			}
			c.leader(9)
			c.agree(9, 50)
			for _, id := range c.ids {
				if err := c.nodes[id].host.Group(9).Snapshot(); err != nil {
					t.Fatalf("%s: snapshot: %v", id, err)
				}
			}
		}
		c.close()
	})
}
