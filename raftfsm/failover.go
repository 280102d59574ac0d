package raftfsm

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// rankPause separates the campaigns of a group's surviving voters, so that mostly one runs alone.
	rankPause = 75 * time.Millisecond
	// rankJitter spreads the groups of one node.
	rankJitter = 50 * time.Millisecond
	// campaignPause is how long a campaign counts against the cap.
	campaignPause = 100 * time.Millisecond
	// campaignPatience is how long a group may take to accept that it campaigns.
	campaignPatience = time.Second
)

// campaign is an election that this node will start.
type campaign struct {
	g   *Group
	due time.Time
}

// peerDied starts elections in the groups that a dead node led, without waiting for their
// timeouts. A node is dead only if its address actively refuses connections (see peer.probe). The
// elections are ordinary ones: if the node should live after all, its groups change leaders and
// lose nothing.
func (h *Host) peerDied(node string) {
	h.start(func() {
		plan := h.plan(node, time.Now())
		running := make(chan time.Time, h.o.Campaigns) // when each stops to count
		for _, c := range plan {
			if len(running) == cap(running) {
				h.pause(<-running)
			}
			if !h.pause(c.due) {
				return
			}
			if c.g.campaign(node, h.closed) {
				running <- time.Now().Add(campaignPause)
			}
		}
	})
}

// pause waits until a time. It reports false if the host closes first.
func (h *Host) pause(until time.Time) bool {
	wait := time.Until(until)
	if wait <= 0 {
		return true
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-h.closed:
		return false
	}
}

// plan says when to campaign in which group, in order of time.
func (h *Host) plan(dead string, now time.Time) []campaign {
	var plan []campaign
	for _, g := range h.Groups() {
		if !g.leftBy(dead) {
			continue
		}
		servers, err := g.Servers()
		if err != nil {
			continue // it is stopping
		}
		if rank, ok := campaignRank(g.id, h.o.NodeID, dead, servers); ok {
			delay := time.Duration(rank)*rankPause + rand.N(rankJitter)
			plan = append(plan, campaign{g: g, due: now.Add(delay)})
		}
	}
	slices.SortFunc(plan, func(a, b campaign) int { return cmp.Compare(a.due.UnixNano(), b.due.UnixNano()) })
	return plan
}

// campaignRank returns a node's turn among the surviving voters of a group, different from group
// to group so that the leaders spread. ok is false if it has no vote.
func campaignRank(group uint64, node, dead string, servers []Server) (rank int, ok bool) {
	var voters []string
	for _, s := range servers {
		if s.Voter && s.ID != dead {
			voters = append(voters, s.ID)
		}
	}
	slices.Sort(voters)
	at := slices.Index(voters, node)
	if at < 0 {
		return 0, false
	}
	n := len(voters)
	return (at + n - int(group%uint64(n))) % n, true
}

// campaign makes this replica a candidate if the dead node still is its leader, or if it has
// refused its vote to who campaigned before it: that one lacks entries that this one has, and
// nobody else would try before the election timeout. It uses the message with which a leader
// hands over: it skips the pre-vote, which the other replicas would refuse as long as they think
// that they have a leader.
func (g *Group) campaign(dead string, closed <-chan struct{}) bool {
	in := g.current.Load()
	if in == nil {
		return false
	}
	state, voter := in.state(g.host.o.NodeID)
	leader, term := g.Leader()
	if state != raft.Follower || !voter || !g.leftBy(dead) || (leader != dead && g.voted(term)) {
		return false
	}
	if dead != "" {
		in.spurred(ReasonRefused)
	}
	answered := make(chan raft.RPCResponse, 1)
	timer := time.NewTimer(campaignPatience)
	defer timer.Stop()
	select {
	case in.trans.consumer <- raft.RPC{Command: &raft.TimeoutNowRequest{RPCHeader: rpcHeader([]byte(g.host.o.NodeID))}, RespChan: answered}:
		return true
	case <-timer.C: // busy: its own timeout will do
	case <-in.trans.closed:
	case <-closed:
	}
	return false
}

// voted reports whether this replica has given its vote in a term.
func (g *Group) voted(term uint64) bool {
	last, err := g.stores.stable.GetUint64([]byte(keyVoteTerm))
	return err == nil && last == term
}

// leftBy reports whether a node is the group's leader as far as known, or was when there was one: another
// replica may campaign already.
func (g *Group) leftBy(dead string) bool {
	leader, _ := g.Leader()
	if leader != "" || dead == "" {
		return leader == dead
	}
	in := g.current.Load()
	return in != nil && in.ledBy() == dead
}
