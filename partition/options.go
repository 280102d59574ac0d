package partition

import (
	"context"
	"io"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/levada-stream/levada/internal/hashkey"
	"github.com/levada-stream/levada/wal"
)

// Entry is one committed Raft entry.
type Entry struct {
	Index, Term uint64
	Head, Data  []byte // see Command.Encode; retained by the shard log, nobody modifies it
}

// Snapshot is a point of the state that can be written while Apply goes on.
type Snapshot interface {
	// Persist writes the snapshot. It first makes the shard log durable up to
	// it, so it may take as long as that takes.
	Persist(w io.Writer) error
	// Release gives up the snapshot, whether it was persisted or not.
	Release()
}

// Future is the outcome of a proposal.
type Future interface {
	// Wait blocks until the entry was applied here, and returns what Apply
	// returned for it, or until it is clear that this will not be known.
	Wait() (result any, err error)
}

// Consensus is the replica's Raft group. Its methods are safe for concurrent use.
type Consensus interface {
	// Propose appends to the Raft log in the order of the calls. It blocks only
	// for back-pressure. It retains head and data.
	Propose(head, data []byte) Future
	// IsLeader reports whether this node believes to lead the group.
	IsLeader() bool
	// Leader returns the node that leads, "" if unknown, and the present term.
	Leader() (nodeID string, term uint64)
}

// ShardLog is what a replica needs of its shard log; *wal.Log has it.
type ShardLog interface {
	Append(b wal.Block) (wal.Position, error)
	Flush(ctx context.Context, upTo uint64) error
	Position() wal.Position
	Start() wal.Position
	First() uint64
	Read(from uint64, maxBytes int) ([]wal.Block, error)
	SeekTime(ms int64) (uint64, error)
	Segments() []wal.SegmentInfo
	TruncateTo(p wal.Position) error
	Reset(p wal.Position) error
	DeleteBefore(ordinal uint64) error
	ReadRaw(from, to uint64, maxBytes int) ([]byte, uint64, error)
	AppendRaw(raw []byte) (wal.Position, error)
}

// Fetcher asks any peer of the group for the part of its log that starts with
// ordinal from, about maxBytes of it; the answer is what ServeFetch returned
// there. It should turn to another peer after an error.
type Fetcher func(ctx context.Context, group, from uint64, maxBytes int) ([]byte, error)

// Limits bound what a replica takes in. Zero fields have the defaults.
type Limits struct {
	EntryBytesMin    int   // while an entry is in flight, wait for so much before the next: 64 KiB
	EntryBytesTarget int   // no entry of several batches is larger: 256 KiB
	EntriesInFlight  int   // entries proposed and not yet applied: 8
	QueueBytesMax    int64 // batches waiting or in flight: 32 MiB
	RecordBytesMax   int   // data and key of one record: 1 MiB
	FetchBytes       int   // asked of a peer at once: 4 MiB
}

func (l Limits) withDefaults() Limits {
	byDefault := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	byDefault(&l.EntryBytesMin, 64<<10)
	byDefault(&l.EntryBytesTarget, 256<<10)
	byDefault(&l.EntriesInFlight, 8)
	byDefault(&l.RecordBytesMax, 1<<20)
	byDefault(&l.FetchBytes, 4<<20)
	if l.QueueBytesMax <= 0 {
		l.QueueBytesMax = 32 << 20
	}
	return l
}

// Options configure a Replica. Log is required.
type Options struct {
	Group    uint64
	StreamID uint64
	Shard    uint32
	Range    hashkey.Range // records outside are refused, unless their batch is pinned

	Log    ShardLog // opened by the caller, who closes it after the replica
	Fetch  Fetcher  // nil if there are no peers to fetch from
	Rules  Rules    // of a shard without snapshot; the same on all replicas, for ever
	Limits Limits
	Budget *Budget // the node's; nil = no bound but the replica's own
	// RepeatableRuns bounds the runs of records of repeatable calls that all open shards of the node remember together: while it
	// is used up those that lead take no repeatable calls. nil = no bound but the shards' own.
	RepeatableRuns *Budget
	Clock          func() time.Time // nil = time.Now
	Logger         hclog.Logger     // nil = silent
}

func (o Options) withDefaults() Options {
	o.Limits = o.Limits.withDefaults()
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	return o
}
