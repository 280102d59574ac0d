package partition

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/levada-stream/levada/internal/seqno"
	"github.com/levada-stream/levada/wal/record"
)

// CommandKind is the first byte of a Raft command.
type CommandKind uint8

const (
	// CommandAppend stores batches of records.
	CommandAppend CommandKind = 1
	// CommandTrim moves the trim point: records below it are gone for readers.
	CommandTrim CommandKind = 2
	// CommandSeal closes the shard: its end is where this command stands in the log.
	CommandSeal CommandKind = 3
	// CommandTick only carries the leader's time, on which idle producers leave.
	CommandTick CommandKind = 4
	// CommandAdopt opens a shard that takes over from others, which were sealed.
	CommandAdopt CommandKind = 5
)

const (
	commandVersion    = 2 // of all that has nothing to do with repeatable calls
	commandVersionMax = 3 // of what has; 2 knows only producers
	commandHeaderSize = 16
	trimBodySize      = 8
)

// ErrCommand reports a Raft command that this version cannot apply. It stops
// the replica: skipping it would let the replicas drift apart.
var ErrCommand = errors.New("raft command cannot be applied")

// Command is a decoded Raft command.
type Command struct {
	Kind    CommandKind
	Time    int64          // the proposing leader's clock, ms since the Unix epoch, in [0, seqno.MaxTime]
	Batches []record.Batch // append: at least one; they alias the decoded bytes
	Trim    uint64         // trim: the first ordinal to keep

	Inheritances []Inheritance // adopt: of each parent, for the keys of this shard

	plain  bool   // it is of version 2: what looks like a repeatable call is a producer
	joined []byte // Batches as they were decoded, back to back; nil if they were not
}

// Encode returns the command as an entry carries it: head in its extensions, body as its data. A single
// batch is the body itself, not a copy; several are copied into one.
func (c Command) Encode() (head, body []byte) {
	head = make([]byte, 0, commandHeaderSize)
	head = append(head, byte(c.Kind), c.version(), 0, 0)
	head = binary.LittleEndian.AppendUint32(head, uint32(len(c.Batches)+len(c.Inheritances)))
	head = binary.LittleEndian.AppendUint64(head, uint64(c.Time))
	switch {
	case c.Kind == CommandTrim:
		return head, binary.LittleEndian.AppendUint64(nil, c.Trim)
	case c.Kind == CommandAdopt:
		for _, t := range c.Inheritances {
			body = t.Append(body)
		}
		return head, body
	case len(c.Batches) == 1:
		return head, c.Batches[0]
	}
	parts := make([][]byte, len(c.Batches))
	for i, b := range c.Batches {
		parts[i] = b
	}
	return head, bytes.Join(parts, nil) // does not clear the memory first, unlike make
}

// version returns the lowest version that says it all.
func (c Command) version() byte {
	repeatable := slices.ContainsFunc(c.Batches, func(b record.Batch) bool { return b.Producer().Repeatable() }) ||
		slices.ContainsFunc(c.Inheritances, func(h Inheritance) bool { return len(h.repeatables) > 0 })
	if repeatable && !c.plain {
		return commandVersionMax
	}
	return commandVersion
}

// DecodeCommand decodes a command. Batches alias body and are cut by length
// only: the proposer checked them, and the journal's checksum covers them since.
// The error wraps ErrCommand.
func DecodeCommand(head, body []byte) (Command, error) {
	if len(head) != commandHeaderSize {
		return Command{}, fmt.Errorf("%w: a header of %d bytes", ErrCommand, len(head))
	}
	if v := head[1]; v < commandVersion || v > commandVersionMax {
		return Command{}, fmt.Errorf("%w: version %d, %d to %d are known", ErrCommand, v, commandVersion, commandVersionMax)
	}
	if head[2]|head[3] != 0 {
		return Command{}, fmt.Errorf("%w: a reserved field is in use", ErrCommand)
	}
	c := Command{Kind: CommandKind(head[0]), Time: int64(binary.LittleEndian.Uint64(head[8:])), plain: head[1] == commandVersion}
	if c.Time < 0 || c.Time > seqno.MaxTime {
		return Command{}, fmt.Errorf("%w: time %d is out of range", ErrCommand, c.Time)
	}
	count := binary.LittleEndian.Uint32(head[4:])
	switch c.Kind {
	case CommandAppend:
		if c.plain { // the usual case
			return c.decodeBatches(count, body)
		}
		return needed(c.decodeBatches(count, body))
	case CommandAdopt:
		return needed(c.decodeInheritances(count, body))
	}
	if !c.plain {
		return Command{}, fmt.Errorf("%w: kind %d has no version %d", ErrCommand, c.Kind, commandVersionMax)
	}
	want := 0
	switch c.Kind {
	case CommandTrim:
		want = trimBodySize
	case CommandSeal, CommandTick:
	default:
		return Command{}, fmt.Errorf("%w: kind %d is unknown", ErrCommand, c.Kind)
	}
	if count != 0 || len(body) != want {
		return Command{}, fmt.Errorf("%w: kind %d with %d batches and %d bytes", ErrCommand, c.Kind, count, len(body))
	}
	if c.Kind == CommandTrim {
		c.Trim = binary.LittleEndian.Uint64(body)
	}
	return c, nil
}

// needed refuses a command that the lower version would have said: its meaning is one, and so is its encoding.
func needed(c Command, err error) (Command, error) {
	if err == nil && !c.plain && c.version() == commandVersion {
		return Command{}, fmt.Errorf("%w: version %d without a repeatable call", ErrCommand, commandVersionMax)
	}
	return c, err
}

func (c Command) decodeBatches(count uint32, body []byte) (Command, error) {
	if count == 0 || uint64(count) > uint64(len(body)/record.HeaderSize) {
		return Command{}, fmt.Errorf("%w: %d batches in %d bytes", ErrCommand, count, len(body))
	}
	c.Batches, c.joined = make([]record.Batch, count), body
	for i := range c.Batches {
		b, rest, err := record.ParseTrusted(body)
		if err != nil {
			return Command{}, fmt.Errorf("%w: batch %d: %w", ErrCommand, i, err)
		}
		c.Batches[i], body = b, rest
	}
	if len(body) != 0 {
		return Command{}, fmt.Errorf("%w: %d bytes after the last batch", ErrCommand, len(body))
	}
	return c, nil
}

func (c Command) decodeInheritances(count uint32, body []byte) (Command, error) {
	if count == 0 || count > ParentsMax {
		return Command{}, fmt.Errorf("%w: %d parents", ErrCommand, count)
	}
	for range count {
		t, rest, err := DecodeInheritance(body)
		if err != nil {
			return Command{}, fmt.Errorf("%w: %w", ErrCommand, err)
		}
		if len(t.repeatables) > 0 && c.plain {
			return Command{}, fmt.Errorf("%w: a parent leaves repeatable calls, version %d knows none", ErrCommand, commandVersion)
		}
		c.Inheritances, body = append(c.Inheritances, t), rest
	}
	if len(body) != 0 {
		return Command{}, fmt.Errorf("%w: %d bytes after the last parent", ErrCommand, len(body))
	}
	return c, nil
}
