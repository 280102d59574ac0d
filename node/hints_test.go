package node

import (
	"testing"

	"github.com/levada-stream/levada/membership"
	"github.com/levada-stream/levada/meta"
)

// A node that died before the meta group's leader was last started is unknown to
// that leader's gossip. Its replicas must be replaced all the same.
func TestForgottenNodeIsReplaced(t *testing.T) {
	s := storeOf(t, 4)
	create := meta.CreateStream{Name: "s", Settings: meta.Settings{Replicas: 3}.WithDefaults(), Placement: [][]string{{"node-0", "node-1", "node-2"}}}
	apply(t, s, create, 10)
	var seen []membership.Node
	for _, id := range []string{"node-0", "node-1", "node-3"} {
		seen = append(seen, membership.Node{Meta: membership.Meta{NodeID: id}, State: membership.NodeAlive})
	}
	const started = 1_000_000
	hints := hintsOf(seen, nil, s.State().Nodes(), started)
	grace := s.State().Cluster().Settings.DeadGraceSeconds * 1000
	if commands := meta.Repair(s.State(), hints, started+grace); len(commands) != 0 {
		t.Errorf("replaced before the grace period is over: %+v", commands)
	}
	commands := meta.Repair(s.State(), hints, started+grace+1)
	if len(commands) != 1 || commands[0].Replicas[2] != "node-3" {
		t.Errorf("commands %+v, want node-2 replaced by node-3", commands)
	}
}
