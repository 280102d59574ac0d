package main

import (
	"context"
	"fmt"
)

// clusterRemoveCommand retires a node.
type clusterRemoveCommand struct {
	target
	Node string `arg:"" help:"Name or id of the node. It must not be running, and cannot come back with its data."`
}

// Run implements the command.
func (c clusterRemoveCommand) Run(ctx context.Context, s *session) error {
	cl, err := c.connect(ctx, s)
	if err != nil {
		return err
	}
	defer cl.Close()
	id, err := cl.RemoveNode(ctx, c.Node)
	if err != nil {
		return err
	}
	if c.json() {
		return printJSON(s.out, map[string]string{"removed": id})
	}
	_, err = fmt.Fprintf(s.out, "removed %s (id %s)\n", c.Node, id)
	return err
}
