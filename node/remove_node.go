package node

import (
	"context"

	pb "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/meta"
)

// RemoveNode retires a node that is gone for good.
func (a *adminServer) RemoveNode(ctx context.Context, req *pb.RemoveNodeRequest) (*pb.RemoveNodeResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	node, err := findNode(a.n.metaStore.State(), req.GetNode())
	if err != nil {
		return nil, err
	}
	if node.State == meta.NodeJoined {
		if a.n.aliveNodes()[node.ID] {
			return nil, fault.New(fault.Conflict, "node %s (id %s) is running; stop it first", node.Name, node.ID)
		}
		if err := a.n.propose(ctx, &meta.RemoveNode{ID: node.ID, Time: a.n.now().UnixMilli()}); err != nil {
			return nil, err
		}
	}
	return &pb.RemoveNodeResponse{Id: node.ID}, nil
}

// findNode finds a node by id, or by name: of several nodes that had the name, the one that has it still.
func findNode(state *meta.State, name string) (*meta.Node, error) {
	if node, ok := state.Node(name); ok {
		return node, nil
	}
	var found *meta.Node
	for _, node := range state.Nodes() {
		if node.Name == name && (found == nil || node.State == meta.NodeJoined) {
			found = node
		}
	}
	if found == nil {
		e := fault.New(fault.NotFound, "there is no node %q; `levada cluster nodes` shows the nodes", name)
		e.Field = "node"
		return nil, e
	}
	return found, nil
}
