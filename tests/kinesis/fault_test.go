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

// TestNodeKillUnderTheSDK kills nodes and starts them again, under programs written with the AWS SDK.
func TestNodeKillUnderTheSDK(t *testing.T) {
	underFaults(t, "kills", func(f *fleet, victim *cluster.Node) error {
		before := f.count()
		if err := victim.Kill(); err != nil {
			return err
		}
		f.awaitProgress(before)
		time.Sleep(time.Second) // the others are alone for a while
		return victim.Start()
	}, func(bool) time.Duration { return resumeMax })
}

// TestPauseUnderTheSDK stops nodes for longer than the others wait for them and lets them go on, as a machine does that swaps or is moved.
func TestPauseUnderTheSDK(t *testing.T) {
	underFaults(t, "pauses", func(f *fleet, victim *cluster.Node) error {
		before, began := f.count(), time.Now()
		if err := victim.Pause(); err != nil {
			return err
		}
		f.awaitProgress(before)
		time.Sleep(pausedFor - time.Since(began))
		return victim.Resume()
	}, func(balanced bool) time.Duration {
		if balanced { // a request that is on its way in a paused node waits until that goes on: no one tells its client
			return resumeMax + pausedFor
		}
		return resumeMax
	})
}

// underFaults has nodes fail one after another, leaders of the stream's shards first, under each kind of fleet. strike makes a node fail, and brings it back when the
// programs go on; no put may take longer than longest says.
func underFaults(t *testing.T, faults string, strike func(*fleet, *cluster.Node) error, longest func(balanced bool) time.Duration) {
	if testing.Short() {
		t.Skip("makes nodes fail for a while; runs without -short")
	}
	for _, way := range fleets {
		t.Run(way.name, func(t *testing.T) {
			c := start(t)
			f, victims := launchBefore(t, c, faults, way.balanced)
			struck, led := 0, 0
			for end := time.Now().Add(time.Duration(*flagFaultSeconds) * time.Second); time.Now().Before(end) && !t.Failed(); struck++ {
				victim, shards := f.leading(c, victims, struck)
				led += shards
				if err := strike(f, victim); err != nil {
					t.Fatal(err)
				}
				awaitHealthy(t, c)
				time.Sleep(faultEvery)
			}
			f.land()
			fmt.Printf("%s of nodes (%s): %d, of which %d shards lost their leaders\n", faults, way.name, struck, led)
			if struck < 2 || led == 0 {
				t.Errorf("%s of no leader", faults)
			}
			f.checkPauses(longest(way.balanced))
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
