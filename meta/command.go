package meta

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// CommandVersion is the highest version of a command that this release writes.
// A new field or a changed meaning needs a higher one. Encode writes the lowest
// that says everything, so that releases which know no more can go on as long as nothing new is used.
const CommandVersion = 3

// CommandBytesMax bounds an encoded command.
const CommandBytesMax = 8 << 20

// Errors of Decode and Apply that no replica can step over.
var (
	// ErrUnknownCommand reports a type that this release does not know and that
	// is not marked as one to be ignored.
	ErrUnknownCommand = errors.New("unknown meta command: this node runs an older release than the proposer; upgrade it")
	// ErrNewerCommand reports a known type in a version this release does not know.
	ErrNewerCommand = errors.New("meta command of a newer version: upgrade this node")
	// ErrMalformedCommand reports bytes that are no command.
	ErrMalformedCommand = errors.New("malformed meta command")
)

// A Command is a change of the control state. The types of this package are the
// only ones.
type Command interface {
	// Type is the name under which the command travels.
	Type() string
	apply(t *txn) (any, error)
}

// envelope is the outer form of a command. Types and fields of the envelope are
// fixed for all versions.
type envelope struct {
	Version   int             `json:"v"`
	Type      string          `json:"type"`
	Ignorable bool            `json:"ignorable,omitempty"` // a release that does not know it may skip it
	Body      json.RawMessage `json:"body"`
}

// A versioned command has fields that version 1 does not know.
type versioned interface {
	// version is the lowest version that says everything which is set.
	version() int
}

func versionOf(c Command) int {
	if v, ok := c.(versioned); ok {
		return v.version()
	}
	return 1
}

// versionIf is 2 for a command that uses a field of version 2, else 1.
func versionIf(second bool) int {
	if second {
		return 2
	}
	return 1
}

// knownVersion is the highest version of a command of that type.
func knownVersion(c Command) int {
	switch c.(type) {
	case *CreateStream:
		return CommandVersion
	case versioned:
		return 2
	}
	return 1
}

// newCommand returns a pointer to an empty command of that type, nil if it is unknown.
func newCommand(typ string) Command {
	switch typ {
	case "init_cluster":
		return new(InitCluster)
	case "set_cluster":
		return new(SetCluster)
	case "register_node":
		return new(RegisterNode)
	case "remove_node":
		return new(RemoveNode)
	case "create_stream":
		return new(CreateStream)
	case "update_stream":
		return new(UpdateStream)
	case "delete_stream":
		return new(DeleteStream)
	case "report_leaders":
		return new(ReportLeaders)
	case "set_replicas":
		return new(SetReplicas)
	case "replica_status":
		return new(ReplicaStatus)
	case "begin_reshard":
		return new(BeginReshard)
	case "seal_reshard":
		return new(SealReshard)
	case "finish_reshard":
		return new(FinishReshard)
	case "abort_reshard":
		return new(AbortReshard)
	case "set_goal":
		return new(SetGoal)
	case "cancel_goal":
		return new(CancelGoal)
	case "drop_shards":
		return new(DropShards)
	case "set_scaling":
		return new(SetScaling)
	case "log_scaling":
		return new(LogScaling)
	case "salt_key":
		return new(SaltKey)
	case "put_document":
		return new(PutDocument)
	}
	return nil
}

// Encode returns the bytes to propose. Commands are given by value or pointer.
// The same command gives the same bytes.
func Encode(c Command) ([]byte, error) {
	body, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", c.Type(), err)
	}
	data, err := json.Marshal(envelope{Version: versionOf(c), Type: c.Type(), Body: body})
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", c.Type(), err)
	}
	if len(data) > CommandBytesMax {
		return nil, limitError("command", CommandBytesMax, "the command has %d bytes, the limit is %d", len(data), CommandBytesMax)
	}
	return data, nil
}

// Decode returns the command (a pointer to one of the types of this package), or
// nil with no error for an unknown one that may be ignored. Errors:
// ErrUnknownCommand, ErrNewerCommand, ErrMalformedCommand.
func Decode(data []byte) (Command, error) {
	if len(data) > CommandBytesMax {
		return nil, fmt.Errorf("%w: %d bytes", ErrMalformedCommand, len(data))
	}
	var e envelope
	if err := unmarshalStrict(data, &e); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformedCommand, err)
	}
	if e.Version < 1 || e.Type == "" {
		return nil, fmt.Errorf("%w: no version or no type", ErrMalformedCommand)
	}
	c := newCommand(e.Type)
	switch {
	case c == nil && e.Ignorable, c != nil && e.Version > knownVersion(c) && e.Ignorable:
		return nil, nil
	case c == nil:
		return nil, fmt.Errorf("%w: type %q", ErrUnknownCommand, e.Type)
	case e.Version > knownVersion(c):
		return nil, fmt.Errorf("%w: type %q version %d, known is %d", ErrNewerCommand, e.Type, e.Version, knownVersion(c))
	}
	if err := unmarshalStrict(e.Body, c); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrMalformedCommand, e.Type, err)
	}
	if e.Version < versionOf(c) {
		return nil, fmt.Errorf("%w: %s: a field of version %d in version %d", ErrMalformedCommand, e.Type, versionOf(c), e.Version)
	}
	return c, nil
}

var errTrailing = errors.New("bytes after the end")

// unmarshalStrict refuses unknown fields and trailing bytes: ignoring a field
// silently would let replicas of different releases drift apart.
func unmarshalStrict(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errTrailing
	}
	return nil
}
