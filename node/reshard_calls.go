package node

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/levada-stream/levada/internal/failpoint"
	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/meta"
	"github.com/levada-stream/levada/partition"
)

// sealRequest asks a shard's leader to seal it for a reshard, which the control state of that version has in phase sealing.
type sealRequest struct {
	Version uint64
	Reshard uint64
}

const sealRequestSize = 24

// encode returns group, version and reshard, 8 bytes each, little-endian.
func (r sealRequest) encode(group uint64) []byte {
	b := binary.LittleEndian.AppendUint64(nil, group)
	b = binary.LittleEndian.AppendUint64(b, r.Version)
	return binary.LittleEndian.AppendUint64(b, r.Reshard)
}

// serveSeal seals a shard that this node leads and answers what it leaves to its
// children: a partition.Inheritance. The control state is asked whether that is wanted: a shard that was sealed cannot be opened again.
func (n *Node) serveSeal(ctx context.Context, _ string, request []byte) ([]byte, error) {
	if len(request) != sealRequestSize {
		return nil, fault.New(fault.Invalid, "seal wants %d bytes, got %d", sealRequestSize, len(request))
	}
	group := binary.LittleEndian.Uint64(request)
	if err := n.awaitVersion(ctx, binary.LittleEndian.Uint64(request[8:])); err != nil {
		return nil, err
	}
	state := n.metaStore.State()
	r, ok := state.Reshard(binary.LittleEndian.Uint64(request[16:]))
	if !ok || r.Phase != meta.ReshardSealing {
		return nil, fault.New(fault.Conflict, "group %d is not to be sealed", group)
	}
	sh, ok := state.ShardByGroup(group)
	if !ok || state.ReshardOf(r.StreamID, sh.Number) != r {
		return nil, fault.New(fault.Conflict, "group %d is not part of reshard %d", group, r.Number)
	}
	here, err := n.ledHere(sh)
	if err != nil {
		return nil, err
	}
	failpoint.Here("seal-before")
	sealed, err := here.replica.Seal()
	if err != nil {
		return nil, err
	}
	failpoint.Here("seal-after")
	return sealed.Append(nil), nil
}

// ledHere returns the replica of a shard that this node leads.
func (n *Node) ledHere(sh *meta.Shard) (*shard, error) {
	here := n.shards.byGroup(sh.Group)
	if here == nil || !here.raft.IsLeader() {
		return nil, n.notLeader(sh)
	}
	return here, nil
}

// decodeLeft decodes what a sealed shard left.
func decodeLeft(b []byte) (partition.Inheritance, error) {
	h, rest, err := partition.DecodeInheritance(b)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%w: %d bytes after the end", partition.ErrInheritance, len(rest))
	}
	return h, err
}

// encodeAdopt returns the group, 8 bytes little-endian, and what its parents leave; with nothing it only asks.
func encodeAdopt(group uint64, left []partition.Inheritance) []byte {
	b := binary.LittleEndian.AppendUint64(nil, group)
	for _, h := range left {
		b = h.Append(b)
	}
	return b
}

// serveAdopt lets a shard that this node leads take over from its parents. Asked without anything to adopt, it
// answers a Conflict if the shard has yet to.
func (n *Node) serveAdopt(_ context.Context, _ string, request []byte) ([]byte, error) {
	if len(request) < 8 {
		return nil, fault.New(fault.Invalid, "adopt wants a group, got %d bytes", len(request))
	}
	group, rest := binary.LittleEndian.Uint64(request), request[8:]
	sh, ok := n.metaStore.State().ShardByGroup(group)
	if !ok {
		return nil, fault.New(fault.Unavailable, "group %d is not known here yet", group)
	}
	here, err := n.ledHere(sh)
	if err != nil {
		return nil, err
	}
	if len(rest) == 0 {
		if here.replica.Pending() {
			return nil, fault.New(fault.Conflict, "%s has not adopted from its parents yet", sh.ID())
		}
		return nil, nil
	}
	var parents []partition.Inheritance
	for i := 0; len(rest) > 0; i++ {
		h, after, err := partition.DecodeInheritance(rest)
		if err != nil {
			return nil, fault.New(fault.Invalid, "%w", err)
		}
		if i >= len(sh.Parents) || h.Shard != sh.Parents[i] {
			return nil, fault.New(fault.Invalid, "shard %d is not parent %d of %s", h.Shard, i, sh.ID())
		}
		parents, rest = append(parents, h), after
	}
	if len(parents) != len(sh.Parents) {
		return nil, fault.New(fault.Invalid, "%s has %d parents, not %d", sh.ID(), len(sh.Parents), len(parents))
	}
	failpoint.Here("adopt-before")
	err = here.replica.Adopt(parents)
	failpoint.Here("adopt-after")
	return nil, err
}
