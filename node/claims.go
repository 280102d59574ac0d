package node

import (
	"fmt"
	"sync"
	"time"

	pb "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/internal/fault"
)

const (
	// claimLife is how long a claim is anybody's that is not renewed.
	claimLife = 10 * time.Second
	// claimsMax bounds the claims that a node keeps. Beyond it those go that were not renewed, then all: their holders renew them.
	claimsMax     = 100_000
	claimTextMax  = 64
	takeOverMsMax = 60_000
)

// claims are who has what, by group and name. They are in memory only: with a new leader whoever renews first has it.
type claims struct {
	mu  sync.Mutex
	all map[bucketKey]*claim
}

type claim struct {
	holder  string
	since   time.Time
	renewed time.Time
}

// claimKey is that of a claim for as long as a leader leads: what this node knew when it led the shard before, others may have
// changed since.
func claimKey(group, term uint64, name string) bucketKey {
	return bucketKey{group, fmt.Sprint(term, " ", name)}
}

func newClaims() *claims { return &claims{all: map[bucketKey]*claim{}} }

// take gives the claim to a holder, if nobody has it or it is as old as after; else it says when it will be.
func (c *claims) take(key bucketKey, holder string, after time.Duration, now time.Time) (held bool, wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.liveLocked(key, now); old != nil && old.holder != holder {
		if wait := after - now.Sub(old.since); wait > 0 {
			return false, wait
		}
	}
	c.setLocked(key, &claim{holder: holder, since: now, renewed: now}, now)
	return true, 0
}

// renew reports whether the holder, who took the claim so long ago, has it still. A new leader knows of nobody: of those who renew the one who took it last has it.
func (c *claims) renew(key bucketKey, holder string, age time.Duration, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	since := now.Add(-age)
	old := c.liveLocked(key, now)
	switch {
	case old != nil && old.holder == holder:
		old.renewed = now
	case old != nil && !since.After(old.since):
		return false
	default:
		c.setLocked(key, &claim{holder: holder, since: since, renewed: now}, now)
	}
	return true
}

// release ends the holder's claim, if it has it.
func (c *claims) release(key bucketKey, holder string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.all[key]; old != nil && old.holder == holder {
		delete(c.all, key)
	}
}

func (c *claims) liveLocked(key bucketKey, now time.Time) *claim {
	if old := c.all[key]; old != nil && now.Sub(old.renewed) < claimLife {
		return old
	}
	return nil
}

func (c *claims) setLocked(key bucketKey, one *claim, now time.Time) {
	if len(c.all) >= claimsMax && c.all[key] == nil {
		for k := range c.all {
			if c.liveLocked(k, now) == nil {
				delete(c.all, k)
			}
		}
		if len(c.all) >= claimsMax {
			clear(c.all)
		}
	}
	c.all[key] = one
}

// checkClaim refuses what no claim can be.
func checkClaim(req *pb.ClaimRequest) error {
	for field, text := range map[string]string{"name": req.GetName(), "holder": req.GetHolder()} {
		if text == "" || len(text) > claimTextMax {
			return fault.InvalidField(field, "the %s of a claim has 1 to %d bytes", field, claimTextMax)
		}
	}
	if req.GetTakeOverAfterMs() > takeOverMsMax {
		return fault.InvalidField("take_over_after_ms", "a claim is taken over after up to %d ms", takeOverMsMax)
	}
	if req.GetRenew() && req.GetRelease() {
		return fault.InvalidField("renew", "a claim is renewed or given up, not both")
	}
	return nil
}
