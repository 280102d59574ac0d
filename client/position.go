package client

import (
	"fmt"
	"time"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
)

// Position names a place in a shard: the nearest record at or after it. The
// zero value is TrimHorizon.
type Position struct {
	kind     positionKind
	sequence SequenceNumber
	number   int64 // ms for atTime
	ordinal  uint64
}

type positionKind uint8

const (
	trimHorizon positionKind = iota
	latest
	atSequence
	afterSequence
	atTime
	atOrdinal
)

// TrimHorizon is the oldest record kept.
func TrimHorizon() Position { return Position{} }

// Latest is the place after the newest record at the time of the call.
func Latest() Position { return Position{kind: latest} }

// AtSequence is the record of that sequence number.
func AtSequence(n SequenceNumber) Position { return Position{kind: atSequence, sequence: n} }

// AfterSequence is the record after that one: where a reader goes on.
func AfterSequence(n SequenceNumber) Position { return Position{kind: afterSequence, sequence: n} }

// AtTime is the first record that arrived at t or later, to the millisecond.
func AtTime(t time.Time) Position { return Position{kind: atTime, number: t.UnixMilli()} }

// AtOrdinal is the n-th record of the shard, from 0.
func AtOrdinal(n uint64) Position { return Position{kind: atOrdinal, ordinal: n} }

// String returns the position as the command line writes it.
func (p Position) String() string {
	switch p.kind {
	case latest:
		return "latest"
	case atSequence:
		return "at:" + p.sequence.String()
	case afterSequence:
		return "after:" + p.sequence.String()
	case atTime:
		return "time:" + time.UnixMilli(p.number).UTC().Format(time.RFC3339Nano)
	case atOrdinal:
		return fmt.Sprintf("ordinal:%d", p.ordinal)
	}
	return "trim-horizon"
}

func (p Position) proto() *levadav1.Position {
	switch p.kind {
	case latest:
		return &levadav1.Position{At: &levadav1.Position_Latest{Latest: true}}
	case atSequence:
		return &levadav1.Position{At: &levadav1.Position_AtSequence{AtSequence: p.sequence.String()}}
	case afterSequence:
		return &levadav1.Position{At: &levadav1.Position_AfterSequence{AfterSequence: p.sequence.String()}}
	case atTime:
		return &levadav1.Position{At: &levadav1.Position_AtTimeMs{AtTimeMs: p.number}}
	case atOrdinal:
		return &levadav1.Position{At: &levadav1.Position_AtOrdinal{AtOrdinal: p.ordinal}}
	}
	return &levadav1.Position{At: &levadav1.Position_TrimHorizon{TrimHorizon: true}}
}

// ordinalIn returns the ordinal that the position names in a shard, if it names
// one by itself. A sequence number does so only in the shard that it is from.
func (p Position) ordinalIn(shard uint32) (uint64, bool) {
	switch {
	case p.kind == atOrdinal:
		return p.ordinal, true
	case p.kind == atSequence && p.sequence.Shard() == uint16(shard):
		return p.sequence.Ordinal(), true
	case p.kind == afterSequence && p.sequence.Shard() == uint16(shard):
		return p.sequence.Ordinal() + 1, true
	}
	return 0, false
}
