package node

import (
	"context"
	"slices"

	"github.com/levada-stream/levada/meta"
	"github.com/levada-stream/levada/raftfsm"
)

// stepMetaMembership takes one step: up to metaVotersMax joined nodes vote,
// those that do already first; every other joined node follows.
func (n *Node) stepMetaMembership(ctx context.Context) {
	servers, err := n.metaRaft.Servers()
	if err != nil {
		return
	}
	state, alive := n.metaStore.State(), n.aliveNodes()
	joined := map[string]bool{}
	for _, node := range state.Nodes() {
		if node.State == meta.NodeJoined {
			joined[node.ID] = true
		}
	}
	for _, s := range servers {
		// A founder that has not registered yet is as good as joined, while it lives.
		if _, known := state.Node(s.ID); !known && alive[s.ID] {
			joined[s.ID] = true
		}
	}
	if len(joined) == 0 || !joined[n.nodeID] {
		return
	}
	voters, actual, absent := metaVoters(servers, joined, alive)
	if absent != "" && !slices.Contains(voters, absent) {
		n.log.Info("a node follows the meta group", "node", absent, "error", n.metaRaft.AddLearner(absent))
		return
	}
	n.stepMembership(ctx, n.metaRaft, meta.MetaGroup, voters, actual)
}

// votersIn returns the ids of a group's voters.
func votersIn(g *raftfsm.Group) []string {
	var ids []string
	for _, m := range membersIn(g) {
		if m.Voter {
			ids = append(ids, m.Node)
		}
	}
	return ids
}

// metaVoters chooses the voters of the meta group. It returns them, the members that
// matter to the choice, and a joined node that is not in the group yet.
func metaVoters(servers []raftfsm.Server, joined, alive map[string]bool) (voters []string, actual []meta.Member, absent string) {
	member := map[string]bool{}
	for _, s := range servers {
		member[s.ID] = true
		if s.Voter && joined[s.ID] && len(voters) < metaVotersMax {
			voters = append(voters, s.ID)
		}
	}
	for _, id := range sortedKeys(joined) {
		// A dead follower is not waited for: it would hold up every other step.
		if len(voters) < metaVotersMax && !slices.Contains(voters, id) && alive[id] {
			voters = append(voters, id)
		}
		if !member[id] && absent == "" {
			absent = id
		}
	}
	for _, s := range servers {
		if s.Voter || !joined[s.ID] || slices.Contains(voters, s.ID) {
			actual = append(actual, meta.Member{Node: s.ID, Voter: s.Voter})
		}
	}
	return voters, actual, absent
}

func sortedKeys(m map[string]bool) []string {
	ids := make([]string, 0, len(m))
	for id := range m {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// metaProblem says why the meta group is not as strong as it shall be, "" if it
// is: every joined node is in it, up to metaVotersMax of them vote, nobody else does.
func metaProblem(members []meta.Member, state *meta.State) string {
	in, voters, joined := map[string]bool{}, 0, 0
	for _, m := range members {
		in[m.Node] = true
		if m.Voter {
			voters++
		}
		if node, known := state.Node(m.Node); known && node.State != meta.NodeJoined {
			return "the meta group still has a member that has left: " + node.Name
		}
	}
	for _, node := range state.Nodes() {
		if node.State != meta.NodeJoined {
			continue
		}
		joined++
		if !in[node.ID] {
			return "node " + node.Name + " is not in the meta group yet"
		}
	}
	if voters < min(joined, metaVotersMax) {
		return "a node does not vote in the meta group yet"
	}
	return ""
}
