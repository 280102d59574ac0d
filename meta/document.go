package meta

import (
	"errors"
	"slices"
	"strings"

	"github.com/levada-stream/levada/internal/fault"
)

// Limits of documents. They are part of the meaning of PutDocument and CreateStream.
const (
	DocumentNameBytesMax  = 256
	DocumentValueBytesMax = 64 << 10
	DocumentsMax          = 10_000    // of one stream, and of the cluster
	DocumentBytesMax      = 4 << 20   // of one stream's, and of the cluster's, all values together
	DocumentBytesAllMax   = 256 << 20 // of all values in the cluster: a snapshot must hold them
	DocumentWritersMax    = 8         // that are remembered of one document beside the last
)

// A Document is a small value kept with a stream, or with the cluster, for programs that stand before it. What is in it is theirs. Immutable.
type Document struct {
	Name    string `json:"name"`
	Value   []byte `json:"value"`
	Version uint64 `json:"version"`          // of the state that set it
	Writer  string `json:"writer,omitempty"` // the id with which it was set
	// Before are the ids of the changes before, the latest last. One of them that is asked for again has been done.
	Before []string `json:"before,omitempty"`
}

// wrote reports whether a writer's change is known to have been done.
func (d *Document) wrote(writer string) bool {
	return d.Writer == writer || slices.Contains(d.Before, writer)
}

// writers returns the writers of a document that are to be remembered when it is changed again.
func (d *Document) writers() []string {
	all := append(slices.Clone(d.Before), d.Writer)
	return all[max(0, len(all)-DocumentWritersMax):]
}

// Documents are those of one owner, ascending by name. Immutable.
type Documents []*Document

func compareDocument(d *Document, name string) int { return strings.Compare(d.Name, name) }

// Get returns the document of a name, nil if there is none.
func (d Documents) Get(name string) *Document {
	if i, ok := slices.BinarySearchFunc(d, name, compareDocument); ok {
		return d[i]
	}
	return nil
}

// From returns the documents whose names begin with prefix and come after a name.
func (d Documents) From(prefix, after string) Documents {
	low, _ := slices.BinarySearchFunc(d, prefix, compareDocument)
	high := low
	for high < len(d) && strings.HasPrefix(d[high].Name, prefix) {
		high++
	}
	out := d[low:high]
	at, found := slices.BinarySearchFunc(out, after, compareDocument)
	if found {
		at++
	}
	return out[at:]
}

func (d Documents) bytes() (n int) {
	for _, one := range d {
		n += len(one.Value)
	}
	return n
}

// with returns documents in which one is set.
func (d Documents) with(one *Document) (Documents, error) {
	i, found := slices.BinarySearchFunc(d, one.Name, compareDocument)
	if !found && len(d) >= DocumentsMax {
		return nil, fault.LimitField("documents", DocumentsMax, "there are %d documents and may be no more", len(d))
	}
	size := d.bytes() + len(one.Value)
	if found {
		size -= len(d[i].Value)
	}
	if size > DocumentBytesMax {
		return nil, fault.LimitField("document_bytes", DocumentBytesMax, "the documents would have %d bytes together, the limit is %d", size, DocumentBytesMax)
	}
	out := slices.Clone(d)
	if found {
		out[i] = one
		return out, nil
	}
	return slices.Insert(out, i, one), nil
}

// resize notes that values of so many bytes take the place of others.
func (t *txn) resize(from, to int) error {
	size := t.next.documentBytes - from + to
	if to > from && size > DocumentBytesAllMax {
		return fault.LimitField("document_bytes", DocumentBytesAllMax, "all documents of the cluster would have %d bytes together, the limit is %d", size, DocumentBytesAllMax)
	}
	t.next.documentBytes = size
	return nil
}

// without returns documents in which one is not, nil for none.
func (d Documents) without(name string) Documents {
	out := slices.DeleteFunc(slices.Clone(d), func(one *Document) bool { return one.Name == name })
	if len(out) == 0 {
		return nil
	}
	return out
}

var errDocuments = errors.New("the documents are not in order, or out of bounds")

// check returns an error if the documents break an invariant. version is that of the state.
func (d Documents) check(version uint64) error {
	if len(d) > DocumentsMax || d.bytes() > DocumentBytesMax {
		return errDocuments
	}
	for i, one := range d {
		if one.Version == 0 || one.Version > version || checkDocument(one.Name, one.Value, one.Writer) != nil || i > 0 && d[i-1].Name >= one.Name || len(one.Before) > DocumentWritersMax {
			return errDocuments
		}
	}
	return nil
}

// remember reports whether there is a document that knows who changed it before.
func (d Documents) remember() bool {
	return slices.ContainsFunc(d, func(one *Document) bool { return len(one.Before) > 0 })
}

func checkDocument(name string, value []byte, writer string) error {
	if name == "" {
		return fault.InvalidField("name", "a document needs a name")
	}
	if err := checkLongText("name", name, DocumentNameBytesMax); err != nil {
		return err
	}
	if len(value) > DocumentValueBytesMax {
		return limitError("value", DocumentValueBytesMax, "a document may have %d bytes, not %d", DocumentValueBytesMax, len(value))
	}
	return checkText("writer", writer)
}

// sumDocuments returns the bytes of all values.
func (s *State) sumDocuments() int {
	n := s.documents.bytes()
	for _, st := range s.streams.all() {
		n += st.documents.bytes()
	}
	return n
}

// Documents returns those of the cluster.
func (s *State) Documents() Documents { return s.documents }

// Documents returns those of the stream.
func (s *Stream) Documents() Documents { return s.documents }
