package history

import (
	"fmt"
	"time"

	"github.com/levada-stream/levada/internal/hashkey"
	"github.com/levada-stream/levada/internal/seqno"
)

// Outcome is what the writer of a record knows about it.
type Outcome uint8

const (
	// Unknown: no answer, or one that leaves open whether the record was written.
	Unknown Outcome = iota
	// Acked: the cluster promised to keep the record.
	Acked
	// Failed: the cluster said that it did not and will not write the record.
	Failed
)

// Write is one record that a test sent.
type Write struct {
	Value   Value
	Outcome Outcome
	// Shard and Seq are the place that the acknowledgement named; Acked only.
	Shard uint32
	Seq   seqno.Number
	// Sent and Done count from the start of the run.
	Sent, Done time.Duration
}

// Entry is one record as it was read.
type Entry struct {
	Seq seqno.Number
	// Value is zero when the payload or the key is not what was written.
	Value Value
}

// Replica is everything that one node's own replica of a shard holds after healing.
type Replica struct {
	Node  string
	Shard uint32
	// First is the lowest ordinal that the replica says it keeps.
	First   uint64
	Entries []Entry
}

// Reader is what one live consumer of a shard was given, over all its reconnections, in order.
type Reader struct {
	Name    string
	Shard   uint32
	Entries []Entry
	// Sights say when it had some of them.
	Sights []Sight
}

// ShardEnd is the state of one shard when the cluster had its time to heal.
type ShardEnd struct {
	Shard uint32
	// Leader is the node that leads the shard, "" for none.
	Leader string
	// Tails maps each replica's node to the ordinal after its last record.
	Tails map[string]uint64
}

// Shard is an entry of the partition map when the cluster had its time to heal.
type Shard struct {
	Number  uint32
	Keys    hashkey.Range
	Parents []uint32
	Closed  bool
	// End is the ordinal after the last record of a closed shard, EndTime the time of its seal in ms.
	End     uint64
	EndTime int64
}

// Stream is the history of one stream in one run.
type Stream struct {
	Name     string
	Shards   []Shard // all that there ever were
	Replicas int     // replicas that each shard is meant to have
	Writes   []Write
	Copies   []Replica
	Readers  []Reader
	Tails    []Tail
	Ends     []ShardEnd
}

// Violation is one broken promise.
type Violation struct {
	// Invariant is its short name, "I1" and so on.
	Invariant string
	// Detail says which record or shard, and what was expected.
	Detail string
}

// String returns "I1: detail".
func (v Violation) String() string { return v.Invariant + ": " + v.Detail }

// detailMax bounds how many violations of one invariant are listed: a lost
// segment would otherwise list a million.
const detailMax = 10

// report collects violations, counting those it does not list.
type report struct {
	stream string
	list   []Violation
	counts map[string]int
}

func (r *report) add(invariant, format string, args ...any) {
	r.counts[invariant]++
	if r.counts[invariant] <= detailMax {
		r.list = append(r.list, Violation{invariant, "stream " + r.stream + ": " + fmt.Sprintf(format, args...)})
	}
}

func (r *report) violations() []Violation {
	for _, name := range invariants {
		if n := r.counts[name]; n > detailMax {
			r.list = append(r.list, Violation{name, fmt.Sprintf("stream %s: and %d more", r.stream, n-detailMax)})
		}
	}
	return r.list
}

// invariants lists every name that a violation can carry.
var invariants = [...]string{"I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I9", "I10", "I13", "I14", "I15", "I16"}
