package kinesis

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/levada-stream/levada/client"
)

// What the API has beside streams, shards and records is kept in documents, in JSON:
//
//	stream    kinesis.stream          streamDoc
//	stream    kinesis.consumer.NAME   consumerDoc
//	cluster   kinesis.channel.ID      channelDoc
//	cluster   kinesis.account         accountDoc
//
// A stream's documents go with it. Those of the cluster whose names begin with kinesis.key. hold the access keys: the server is given those by its
// options and touches none. No name that comes of a request may begin like that.
const (
	docStream         = "kinesis.stream"
	docConsumerPrefix = "kinesis.consumer."
	docChannelPrefix  = "kinesis.channel."
	docAccount        = "kinesis.account"
)

// streamDoc is what the API knows of a stream beside the stream itself.
type streamDoc struct {
	Tags         map[string]string `json:"tags,omitempty"`
	Metrics      []string          `json:"metrics,omitempty"` // shard-level metrics that were enabled
	Policy       string            `json:"policy,omitempty"`
	Distribution string            `json:"distribution,omitempty"` // "" is by key
	WarmMiBps    int64             `json:"warm_mibps,omitempty"`
}

// consumerDoc is a consumer registered for enhanced fan-out.
type consumerDoc struct {
	Created int64             `json:"created"` // unix ms
	Tags    map[string]string `json:"tags,omitempty"`
	Policy  string            `json:"policy,omitempty"`
}

// accountDoc is what the API keeps for the whole account.
type accountDoc struct {
	Commitment      string `json:"commitment,omitempty"`
	CommitmentSince int64  `json:"commitment_since,omitempty"`
	CommitmentUntil int64  `json:"commitment_until,omitempty"`
}

const (
	// changeTries bounds how often a change is tried that others come before.
	changeTries = 20
	// changePause is the wait between two tries: this node may not have heard yet of the change that came before.
	changePause = 20 * time.Millisecond
)

// pause waits before a change is tried again.
func pause(ctx context.Context) error {
	select {
	case <-time.After(changePause):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// readDoc reads one document. The version is 0, and the value zero, if there is none.
func readDoc[T any](ctx context.Context, s *Server, stream, name string) (value T, version uint64, err error) {
	docs, err := s.cluster.Documents(ctx, stream, name)
	if err != nil {
		return value, 0, s.streamError(stream, err)
	}
	for _, d := range docs {
		if d.Name == name {
			err = parseDoc(d, &value)
			return value, d.Version, err
		}
	}
	return value, 0, nil
}

func parseDoc(d client.Document, into any) error {
	if err := json.Unmarshal(d.Value, into); err != nil {
		return internalFailure("The document %s cannot be read: %v", d.Name, err)
	}
	return nil
}

// changeDoc changes one document, which is made if there is none, and returns it as it is then. change sees the document
// as it is, and again if somebody else changed it meanwhile.
func changeDoc[T any](ctx context.Context, s *Server, stream, name string, change func(value *T, exists bool) error) (T, error) {
	for range changeTries {
		value, version, err := readDoc[T](ctx, s, stream, name)
		if err != nil {
			return value, err
		}
		if err := change(&value, version != 0); err != nil {
			return value, err
		}
		data, err := json.Marshal(value)
		if err != nil {
			return value, fmt.Errorf("encode document %s: %w", name, err)
		}
		_, err = s.cluster.PutDocument(ctx, stream, name, data, version)
		switch {
		case err == nil:
			s.streams.forget(stream)
			return value, nil
		case !client.IsConflict(err):
			return value, s.streamError(stream, err)
		}
		if err := pause(ctx); err != nil {
			return value, err
		}
	}
	var zero T
	return zero, unavailable("Others keep changing the same.")
}

// removeDoc removes one document if there is one.
func removeDoc(ctx context.Context, s *Server, stream, name string) error {
	for range changeTries {
		_, version, err := readDoc[json.RawMessage](ctx, s, stream, name)
		if err != nil || version == 0 {
			return err
		}
		_, err = s.cluster.PutDocument(ctx, stream, name, nil, version)
		if err == nil || !client.IsConflict(err) {
			return s.streamError(stream, err)
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
	return unavailable("Others keep changing the same.")
}

// streamError words the error of a call about a stream: nil stays nil.
func (s *Server) streamError(stream string, err error) error {
	if err == nil {
		return nil
	}
	if stream != "" && client.IsNotFound(err) {
		return s.noStream(stream)
	}
	return err
}
