package meta

import (
	"github.com/levada-stream/levada/internal/fault"
)

// PutDocument sets or removes a document of a live stream, or of the cluster, if its version is the one expected. The same again, told by
// its writer, has been done and changes nothing. With Remember that is so for changes before the last, too.
type PutDocument struct {
	StreamID uint64 `json:"stream_id,omitempty"` // 0: of the cluster
	Name     string `json:"name"`
	Value    []byte `json:"value,omitempty"`
	Remove   bool   `json:"remove,omitempty"`
	Expect   uint64 `json:"expect"`             // version that the document must have, 0 if there must be none
	Writer   string `json:"writer"`             // another for each change that is wanted
	Remember bool   `json:"remember,omitempty"` // those who changed it before, DocumentWritersMax of them; version 2
}

// DocumentResult is the result of PutDocument.
type DocumentResult struct {
	Version uint64 // of the document, 0 if it was removed, or has been changed since
	Changed bool
}

// Type returns "put_document".
func (PutDocument) Type() string { return "put_document" }

func (c PutDocument) version() int { return versionIf(c.Remember) }

func (c PutDocument) apply(t *txn) (any, error) {
	if err := t.needCluster(); err != nil {
		return nil, err
	}
	if err := checkDocument(c.Name, c.Value, c.Writer); err != nil {
		return nil, err
	}
	if c.Writer == "" {
		return nil, fault.InvalidField("writer", "a change of a document needs an id of its writer")
	}
	if c.Remove && len(c.Value) > 0 {
		return nil, fault.InvalidField("value", "a document that is removed has no value")
	}
	have := t.next.documents
	if c.StreamID != 0 {
		st, err := t.liveStream(c.StreamID)
		if err != nil {
			return nil, err
		}
		have = st.documents
	}
	old := have.Get(c.Name)
	switch {
	case old == nil && c.Remove:
		return DocumentResult{}, nil
	case old != nil && old.Writer == c.Writer && !c.Remove:
		return DocumentResult{Version: old.Version}, nil
	case old != nil && c.Remember && old.wrote(c.Writer): // and it has been changed since
		return DocumentResult{}, nil
	case old == nil && c.Expect != 0:
		return nil, fault.New(fault.Conflict, "document %q does not exist any more", c.Name)
	case old != nil && old.Version != c.Expect:
		return nil, fault.New(fault.Conflict, "document %q has version %d now, not %d", c.Name, old.Version, c.Expect)
	}
	documents := have.without(c.Name)
	result := DocumentResult{Changed: true}
	if !c.Remove {
		one := &Document{Name: c.Name, Value: c.Value, Version: t.next.version, Writer: c.Writer}
		if c.Remember && old != nil {
			one.Before = old.writers()
		}
		var err error
		if documents, err = have.with(one); err != nil {
			return nil, err
		}
		result.Version = t.next.version
	}
	if err := t.resize(have.bytes(), documents.bytes()); err != nil {
		return nil, err
	}
	if c.StreamID == 0 {
		t.next.documents = documents
		t.events.Cluster = true
		return result, nil
	}
	t.stream(c.StreamID).documents = documents
	t.events.Streams = append(t.events.Streams, c.StreamID)
	return result, nil
}
