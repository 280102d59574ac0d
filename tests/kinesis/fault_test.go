package kinesis

import (
	"context"
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/levada-stream/levada/tests/internal/cluster"
)

var flagFaultSeconds = flag.Int("kinesis.faultseconds", 20, "how long nodes are killed or paused in each of the tests of that")

const (
	// resumeMax is how long a put may take, its retries included, and a shard be silent, when a node fails: what the others take to notice and
	// elect, and what the SDK waits between attempts.
	resumeMax = 12 * time.Second
	// faultEvery is the time between the recovery from a fault and the next one.
	faultEvery = time.Second
	pausedFor  = 8 * time.Second
)

// fleets are the ways in which programs reach the nodes: one of three alone, which does not fail then, or all of them through a load balancer.
var fleets = []struct {
	name     string
	balanced bool
}{{"endpoint", false}, {"balanced", true}}

// TestNodeKillUnderTheSDK kills nodes one after another, leaders of the stream's shards first, and starts them again, under programs written with the AWS SDK.
func TestNodeKillUnderTheSDK(t *testing.T) {
	if testing.Short() {
		t.Skip("kills nodes for a while; runs without -short")
	}
	for _, way := range fleets {
		t.Run(way.name, func(t *testing.T) {
			c := start(t)
			f, victims := launchBefore(t, c, "kills", way.balanced)
			kills, led := 0, 0
			for end := time.Now().Add(time.Duration(*flagFaultSeconds) * time.Second); time.Now().Before(end) && !t.Failed(); kills++ {
				victim, shards := f.leading(c, victims, kills)
				led += shards
				before := f.count()
				if err := victim.Kill(); err != nil {
					t.Fatal(err)
				}
				f.awaitProgress(before)
				time.Sleep(time.Second) // the others are alone for a while
				if err := victim.Start(); err != nil {
					t.Fatal(err)
				}
				awaitHealthy(t, c)
				time.Sleep(faultEvery)
			}
			f.land()
			fmt.Printf("kills of nodes (%s): %d, of which %d shards lost their leaders\n", way.name, kills, led)
			if kills < 2 || led == 0 {
				t.Error("no leader was killed")
			}
			f.checkPauses(resumeMax)
		})
	}
}

// TestPauseUnderTheSDK stops nodes for longer than the others wait for them and lets them go on, as a machine does that swaps or is moved.
func TestPauseUnderTheSDK(t *testing.T) {
	if testing.Short() {
		t.Skip("pauses nodes for a while; runs without -short")
	}
	for _, way := range fleets {
		t.Run(way.name, func(t *testing.T) {
			c := start(t)
			f, victims := launchBefore(t, c, "pauses", way.balanced)
			pauses, led := 0, 0
			for end := time.Now().Add(time.Duration(*flagFaultSeconds) * time.Second); time.Now().Before(end) && !t.Failed(); pauses++ {
				victim, shards := f.leading(c, victims, pauses)
				led += shards
				before, began := f.count(), time.Now()
				if err := victim.Pause(); err != nil {
					t.Fatal(err)
				}
				f.awaitProgress(before)
				time.Sleep(pausedFor - time.Since(began))
				if err := victim.Resume(); err != nil {
					t.Fatal(err)
				}
				awaitHealthy(t, c)
				time.Sleep(faultEvery)
			}
			f.land()
			fmt.Printf("pauses of nodes (%s): %d of %v, of which %d shards lost their leaders\n", way.name, pauses, pausedFor, led)
			if pauses < 2 || led == 0 {
				t.Error("no leader was paused")
			}
			// A request that is on its way in a paused node waits until that goes on: no one tells its client.
			longest := resumeMax
			if way.balanced {
				longest += pausedFor
			}
			f.checkPauses(longest)
		})
	}
}

// launchBefore starts a fleet that calls two nodes, or all three behind a balancer, and returns the nodes that may fail.
func launchBefore(t *testing.T, c *cluster.Cluster, stream string, balanced bool) (*fleet, []*cluster.Node) {
	t.Helper()
	nodes := c.Nodes
	admin := sdk(nodes[0], nil)
	if balanced {
		at := balance(t, nodes).address()
		return launch(t, admin, stream, []string{at}, at, at), nodes
	}
	return launch(t, admin, stream, []string{nodes[0].Kinesis}, nodes[0].Kinesis, nodes[0].Kinesis), nodes[1:]
}

// leading returns the one of the nodes that leads most shards of the stream, in every third turn another one, and how many shards it leads.
func (f *fleet) leading(c *cluster.Cluster, among []*cluster.Node, turn int) (*cluster.Node, int) {
	f.t.Helper()
	shards, err := c.Nodes[0].Shards(f.t.Context(), f.stream)
	if err != nil {
		f.t.Fatal(err)
	}
	state, err := c.State(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	leads := map[*cluster.Node]int{}
	for _, sh := range shards {
		leads[c.ByID(state, sh.GetLeaderNode())]++
	}
	best := among[turn%len(among)]
	if turn%3 == 2 {
		return best, leads[best]
	}
	for _, n := range among {
		if leads[n] > leads[best] {
			best = n
		}
	}
	return best, leads[best]
}

// awaitProgress waits until more is acknowledged than there was: a round of every writer at least.
func (f *fleet) awaitProgress(from int) {
	f.t.Helper()
	for deadline := time.Now().Add(resumeMax); f.count() < from+2*writersPerFleet*keysPerWriter; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			f.t.Errorf("%v after a fault, %d records are acknowledged since", resumeMax, f.count()-from)
			return
		}
	}
}

// checkPauses holds the longest waits of the programs against a bound.
func (f *fleet) checkPauses(most time.Duration) {
	f.t.Helper()
	for who, pause := range map[string]time.Duration{"a put": f.longest, "a shard that is polled": f.polled.pause, "a shard that is pushed": f.pushed.pause} {
		if pause > most {
			f.t.Errorf("%s waited for %v", who, pause.Round(time.Millisecond))
		}
	}
}

func awaitHealthy(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), cluster.StartMax)
	defer cancel()
	if err := c.AwaitHealthy(ctx); err != nil {
		t.Fatal(err)
	}
}
