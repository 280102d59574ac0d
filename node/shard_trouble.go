package node

import (
	"errors"
	"time"

	"github.com/levada-stream/levada/meta"
)

const (
	// troublePauseMax is the longest pause between two tries to run a replica.
	troublePauseMax = time.Minute
	// troubleForgotten is how long a replica must have run for its next trouble to count as the first.
	troubleForgotten = 5 * time.Minute
)

// trouble is what is known of a replica that could not run, or ran and ended by itself.
type trouble struct {
	err   error // nil while the replica runs again
	pause time.Duration
	at    time.Time // of the last failure
}

// again returns the trouble after one more failure: the pauses grow.
func (t trouble) again(err error, now time.Time) trouble {
	pause := time.Second
	if t.pause > 0 && now.Sub(t.at) < troubleForgotten {
		pause = min(2*t.pause, troublePauseMax)
	}
	return trouble{err: err, pause: pause, at: now}
}

// due reports whether to try again.
func (t trouble) due(now time.Time) bool { return now.Sub(t.at) >= t.pause }

// ended says why a replica that was running does so no more, nil while it runs.
func (sh *shard) ended() error { return errors.Join(sh.replica.Failed(), sh.raft.Failure()) }

// troubled notes a failure. Called with mu held.
func (s *shardSet) troubled(p meta.GroupPlan, err error) {
	old := s.trouble[p.Group]
	if old.err == nil || old.err.Error() != err.Error() {
		s.log.Error("shard replica cannot run; trying again", "group", p.Group, "action", p.Action, "error", err)
	}
	s.trouble[p.Group] = old.again(err, time.Now())
}

// inTrouble counts the groups that cannot run.
func (s *shardSet) inTrouble() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	count := 0
	for group, t := range s.trouble {
		if t.err != nil && s.running[group] == nil {
			count++
		}
	}
	return count
}

// takeDown ends a replica that ended by itself, so that it can be opened again
// from what is on disk.
func (s *shardSet) takeDown(sh *shard) {
	sh.replica.Shutdown()
	s.n.host.StopGroup(sh.group)
	sh.replica.Close()
	if err := sh.log.Abandon(); err != nil {
		s.log.Debug("closing the log of a failed replica", "group", sh.group, "error", err)
	}
}
