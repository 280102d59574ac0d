package chaos

import (
	"math/rand/v2"
	"testing"
	"time"
)

// fault is one thing that the nemesis does to the cluster.
type fault uint8

const (
	killBusiest  fault = iota // kill -9 of the node that leads most shards
	killMeta                  // kill -9 of the node that leads the meta group
	killRandom                // kill -9 of any node
	pauseBusiest              // SIGSTOP, then SIGCONT
	pauseMeta
	pauseRandom
	stopRandom     // SIGTERM: an orderly restart
	isolateBusiest // no traffic between nodes reaches or leaves it
	isolateMeta
	muteBusiest // what it sends to other nodes does not arrive
	deafBusiest // what other nodes send to it does not arrive
	cutPair     // two nodes do not reach each other, but both reach the rest
	killAll     // kill -9 of all nodes at once
	wipeRandom  // kill -9, delete the data directory, start again
	faultCount
)

var faultNames = [faultCount]string{
	"kill of the busiest leader", "kill of the meta leader", "kill of a node",
	"pause of the busiest leader", "pause of the meta leader", "pause of a node",
	"orderly restart of a node",
	"isolation of the busiest leader", "isolation of the meta leader", "muting of the busiest leader",
	"deafening of the busiest leader", "cut between two nodes",
	"kill of all nodes", "wipe of a node",
}

func (f fault) String() string { return faultNames[f] }

// pauses reports whether f stops a process and continues it.
func (f fault) pauses() bool { return f == pauseBusiest || f == pauseMeta || f == pauseRandom }

// cuts reports whether f cuts links between nodes, until all are mended.
func (f fault) cuts() bool { return f >= isolateBusiest && f <= cutPair }

// lasts reports whether f goes on for the drawn pause rather than until the end of its step.
func (f fault) lasts() bool { return f.pauses() || f.cuts() }

// weights say how often each fault is drawn.
var weights = [faultCount]int{
	killBusiest: 5, killMeta: 3, killRandom: 3, pauseBusiest: 4, pauseMeta: 3, pauseRandom: 2,
	stopRandom: 2, isolateBusiest: 2, isolateMeta: 2, muteBusiest: 2, deafBusiest: 2, cutPair: 2,
	killAll: 4, wipeRandom: 4,
}

// step is one turn of the nemesis. Everything random about it is drawn before it starts, so
// that the same seed gives the same steps however long the cluster takes over each.
type step struct {
	// faults is empty in a quiet turn. Two faults hit the cluster together.
	faults []fault
	// victims picks a node for each fault that does not pick by role.
	victims [2]int
	// gap lies between two faults and between their ends; hold before the first
	// is undone; pause is how long a process sleeps or a link is cut; settle comes last.
	gap, hold, pause, settle time.Duration
}

// draw returns the next step.
func draw(rng *rand.Rand) step {
	between := func(low, high time.Duration) time.Duration { return low + time.Duration(rng.Int64N(int64(high-low))) }
	s := step{
		victims: [2]int{rng.IntN(1 << 20), rng.IntN(1 << 20)},
		gap:     between(0, 500*time.Millisecond),
		hold:    between(0, 1200*time.Millisecond),
		pause:   between(100*time.Millisecond, 5*time.Second),
		settle:  between(0, time.Second),
	}
	quiet, double := rng.IntN(4) == 0, rng.IntN(10) < 3
	first, second := drawFault(rng), drawFault(rng)
	switch {
	case quiet:
		s.settle += 500 * time.Millisecond
	case double && first < killAll && second < killAll:
		s.faults = []fault{first, second}
	default:
		s.faults = []fault{first}
	}
	return s
}

func drawFault(rng *rand.Rand) fault {
	total := 0
	for _, w := range weights {
		total += w
	}
	at := rng.IntN(total)
	for f, w := range weights {
		if at -= w; at < 0 {
			return fault(f)
		}
	}
	return killRandom
}

// TestDraw checks that steps depend on the seed alone, that each fault has its
// turn, and that a quarter of the turns is quiet.
func TestDraw(t *testing.T) {
	const turns = 4000
	a, b := rand.New(rand.NewPCG(1, 2)), rand.New(rand.NewPCG(1, 2))
	var quiet, pairs int
	var seen [faultCount]int
	for range turns {
		s, again := draw(a), draw(b)
		if len(s.faults) != len(again.faults) || s.victims != again.victims || s.hold != again.hold {
			t.Fatalf("one seed, two steps: %+v and %+v", s, again)
		}
		if len(s.faults) == 0 {
			quiet++
		}
		if len(s.faults) == 2 {
			pairs++
		}
		for _, f := range s.faults {
			seen[f]++
		}
	}
	if quiet < turns/5 || quiet > turns*3/10 {
		t.Errorf("%d of %d turns are quiet, want a quarter", quiet, turns)
	}
	if pairs < turns/10 {
		t.Errorf("%d of %d turns have two faults", pairs, turns)
	}
	for f, n := range seen {
		if n < turns/50 {
			t.Errorf("%v was drawn %d times in %d turns", fault(f), n, turns)
		}
	}
}
