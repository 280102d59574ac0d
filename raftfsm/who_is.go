package raftfsm

import (
	"bufio"
	"context"
	"errors"
	"time"
)

// nobody is the target of a hello that only wants to know who answers: no node has this id, so it is refused.
const nobody = "?"

// WhoIs returns the id of the node that answers at an address, of whatever cluster it is.
func (t *Transport) WhoIs(ctx context.Context, addr string) (nodeID string, err error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := t.o.Dial(ctx, addr)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err := conn.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return "", err
	}
	own := hello{version: wireVersion, lane: laneControl, cluster: t.o.ClusterID(), node: t.o.NodeID, target: nobody}
	if _, err := conn.Write(encodeHello(own)); err != nil {
		return "", err
	}
	h, err := readHello(bufio.NewReader(conn))
	return h.node, err
}
