package node

import (
	"context"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"

	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/internal/vfs"
)

// diskGuard refuses appends before the disk is so full that the journal could
// not go on: what was acknowledged stays readable, and trimming still works.
type diskGuard struct {
	fs      vfs.FS
	dir     string
	reserve uint64 // bytes kept free
	log     hclog.Logger
	free    atomic.Uint64
	full    atomic.Bool
}

// The reserve holds what is written without a client asking: two more journal
// segments, and the shard logs' unwritten blocks.
const diskReserveMin = 64 << 20

func newDiskGuard(fsys vfs.FS, dir string, journalSegment int64, log hclog.Logger) *diskGuard {
	return &diskGuard{fs: fsys, dir: dir, reserve: max(diskReserveMin, 2*uint64(journalSegment)), log: log.Named("disk")}
}

// look measures. It logs only the changes.
func (d *diskGuard) look(context.Context) {
	free, err := d.fs.Free(d.dir)
	if err != nil {
		d.log.Warn("cannot tell how much disk is free", "error", err)
		return
	}
	d.free.Store(free)
	full := free < d.reserve
	if d.full.Swap(full) == full {
		return
	}
	if full {
		d.log.Error("disk is nearly full; appends are refused until there is room", "free_bytes", free, "reserve_bytes", d.reserve)
	} else {
		d.log.Info("disk has room again; appends are taken", "free_bytes", free)
	}
}

// diskDuty measures, and while the disk is nearly full hands the shards that
// this node leads to replicas whose disk is not: their streams go on there.
func (n *Node) diskDuty(ctx context.Context) {
	n.disk.look(ctx)
	if !n.disk.full.Load() {
		return
	}
	hints := n.hints()
	for _, sh := range n.shards.all() {
		if ctx.Err() != nil || !sh.raft.IsLeader() {
			continue
		}
		if to := heir(n.nodeID, sh.group, membersIn(sh.raft), hints); to != "" {
			if err := n.handOverGroup(sh.raft, to); err != nil {
				n.log.Warn("cannot hand over a shard while the disk is full", "group", sh.group, "error", err)
			}
		}
	}
}

// refusal returns the error for an append, nil while there is room.
func (d *diskGuard) refusal() error {
	if !d.full.Load() {
		return nil
	}
	return fault.New(fault.Throttled, "the disk of this node is nearly full: %d bytes are free, %d are kept in reserve; nothing was written; make room or lower the retention of streams", d.free.Load(), d.reserve)
}
