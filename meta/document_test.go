package meta

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/levada-stream/levada/internal/fault"
)

func TestDocumentsChangeOnlyAsExpected(t *testing.T) {
	b := cluster(t, 1)
	st := b.create("orders", 1, 1)
	for _, owner := range []uint64{0, st.ID} {
		get := func(name string) *Document {
			if owner == 0 {
				return b.state().Documents().Get(name)
			}
			st, _ := b.state().StreamByID(owner)
			return st.Documents().Get(name)
		}
		put := func(value string, expect uint64, writer string) PutDocument {
			return PutDocument{StreamID: owner, Name: "a", Value: []byte(value), Expect: expect, Writer: writer}
		}
		b.must(put("one", 0, "w1"))
		first := get("a")
		if first == nil || string(first.Value) != "one" || first.Version == 0 {
			t.Fatalf("owner %d: %+v", owner, first)
		}
		b.refused(put("two", 0, "w2"), fault.Conflict)
		b.refused(put("two", first.Version+1, "w2"), fault.Conflict)
		b.must(put("two", first.Version, "w2"))
		second := get("a")
		if string(second.Value) != "two" || second.Version <= first.Version || string(first.Value) != "one" {
			t.Errorf("owner %d: %+v after %+v", owner, second, first)
		}
		b.must(put("two", first.Version, "w2")) // the same again, whose answer was lost
		if get("a") != second {
			t.Errorf("owner %d: the same again changed something", owner)
		}
		b.refused(PutDocument{StreamID: owner, Name: "a", Remove: true, Expect: first.Version, Writer: "w3"}, fault.Conflict)
		b.must(PutDocument{StreamID: owner, Name: "a", Remove: true, Expect: second.Version, Writer: "w3"})
		b.must(PutDocument{StreamID: owner, Name: "a", Remove: true, Expect: second.Version, Writer: "w3"})
		b.refused(put("three", second.Version, "w4"), fault.Conflict)
		if get("a") != nil {
			t.Errorf("owner %d: it is still there", owner)
		}
	}
}

// TestChangesAreDoneOnceThoughOthersFollow asks for a change again whose answer was lost, after others have changed the document.
func TestChangesAreDoneOnceThoughOthersFollow(t *testing.T) {
	b := cluster(t, 1)
	put := func(i int) PutDocument {
		c := PutDocument{Name: "a", Value: []byte(fmt.Sprint(i)), Writer: fmt.Sprint("w", i), Remember: true}
		if d := b.state().Documents().Get("a"); d != nil {
			c.Expect = d.Version
		}
		return c
	}
	first := put(0)
	b.must(first)
	for i := range DocumentWritersMax {
		b.must(put(i + 1))
		now := b.state().Documents().Get("a")
		if r := b.must(first).(DocumentResult); r != (DocumentResult{}) || b.state().Documents().Get("a") != now {
			t.Errorf("after %d others the first again: %+v", i+1, r)
		}
	}
	last := put(DocumentWritersMax + 1)
	b.must(last)
	b.refused(first, fault.Conflict) // too long ago to be known
	if r := b.must(last).(DocumentResult); r.Version == 0 || r.Changed {
		t.Errorf("the last again: %+v", r)
	}
}

func TestDocumentsGoWithTheirStream(t *testing.T) {
	b := cluster(t, 1)
	st := b.create("orders", 1, 1)
	b.must(PutDocument{StreamID: st.ID, Name: "a", Value: []byte("x"), Writer: "w1"})
	b.must(DeleteStream{Name: "orders", Time: 1})
	b.refused(PutDocument{StreamID: st.ID, Name: "a", Value: []byte("x"), Writer: "w2"}, fault.NotFound)
	again := b.create("orders", 1, 1)
	if again, _ := b.state().StreamByID(again.ID); len(again.Documents()) != 0 {
		t.Errorf("the new stream has %d documents", len(again.Documents()))
	}
}

func TestDocumentLimits(t *testing.T) {
	b := cluster(t, 1)
	for _, c := range []PutDocument{
		{Value: []byte("x"), Writer: "w"},
		{Name: "a", Value: []byte("x")},
		{Name: "a\n", Writer: "w"},
		{Name: string(bytes.Repeat([]byte("a"), DocumentNameBytesMax+1)), Writer: "w"},
		{Name: "a", Value: make([]byte, DocumentValueBytesMax+1), Writer: "w"},
		{Name: "a", Value: []byte("x"), Remove: true, Writer: "w"},
	} {
		b.refused(c, fault.Invalid)
	}
	large := make([]byte, DocumentValueBytesMax)
	for i := range DocumentBytesMax / DocumentValueBytesMax {
		b.must(PutDocument{Name: fmt.Sprintf("%04d", i), Value: large, Writer: fmt.Sprint(i)})
	}
	b.refused(PutDocument{Name: "one more", Value: []byte("x"), Writer: "w"}, fault.LimitReached)
	b.must(PutDocument{Name: "an empty one", Writer: "w"})
}

// TestDocumentsFitASnapshot: streams are many, and what all their documents have together must stay bounded.
func TestDocumentsFitASnapshot(t *testing.T) {
	b := cluster(t, 1)
	first := b.create("first", 1, 1)
	one := PutDocument{StreamID: first.ID, Name: "a", Value: make([]byte, 100), Writer: "w"}
	b.must(one)
	base := *b.state()
	base.documentBytes = DocumentBytesAllMax - 10 // as if there were others
	apply := func(c Command) (any, *State) {
		x := begin(&base, base.version+1)
		result, err := c.apply(x)
		if err != nil {
			return err, nil
		}
		next, _ := x.finish()
		return result, next
	}
	grown := PutDocument{StreamID: first.ID, Name: "a", Value: make([]byte, 111), Expect: onlyDocument(b, first.ID).Version, Writer: "w2"}
	created := func(size int) CreateStream {
		return CreateStream{
			Name: "second", Settings: first.Settings, Placement: [][]NodeID{{b.state().nodes[0].ID}}, Documents: []NewDocument{{Name: "a", Value: make([]byte, size)}},
		}
	}
	for name, c := range map[string]Command{"put": grown, "create": created(11)} {
		if err, next := apply(c); next != nil || fault.KindOf(err.(error)) != fault.LimitReached {
			t.Errorf("%s: %v", name, err)
		}
	}
	grown.Value = grown.Value[1:]
	for name, c := range map[string]struct {
		Command
		want int
	}{
		"put":    {grown, DocumentBytesAllMax},
		"create": {created(10), DocumentBytesAllMax},
		"remove": {PutDocument{StreamID: first.ID, Name: "a", Remove: true, Expect: grown.Expect, Writer: "w3"}, DocumentBytesAllMax - 110},
		"delete": {DeleteStream{Name: "first"}, DocumentBytesAllMax - 110},
	} {
		if result, next := apply(c.Command); next == nil || next.documentBytes != c.want {
			t.Errorf("%s: %v", name, result)
		}
	}
}

func onlyDocument(b *bench, stream uint64) *Document {
	st, _ := b.state().StreamByID(stream)
	return st.Documents()[0]
}

func TestDocumentListing(t *testing.T) {
	var d Documents
	for _, name := range []string{"a", "b.1", "b.2", "b.3", "c"} {
		d = append(d, &Document{Name: name})
	}
	for _, c := range []struct {
		prefix, after string
		want          []string
	}{
		{"", "", []string{"a", "b.1", "b.2", "b.3", "c"}},
		{"b.", "", []string{"b.1", "b.2", "b.3"}},
		{"b.", "b.1", []string{"b.2", "b.3"}},
		{"b.", "b.15", []string{"b.2", "b.3"}},
		{"b.", "z", nil},
		{"x", "", nil},
		{"", "b.3", []string{"c"}},
		{"c", "a", []string{"c"}},
	} {
		var got []string
		for _, one := range d.From(c.prefix, c.after) {
			got = append(got, one.Name)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%q after %q:\n%s", c.prefix, c.after, diff)
		}
	}
}

// refused applies a command that the state machine must answer with an error of that kind.
func (b *bench) refused(c Command, kind fault.Kind) {
	b.t.Helper()
	result, _ := b.apply(c)
	f, ok := result.(*fault.Error)
	if !ok || f.Kind != kind {
		b.t.Fatalf("%s: %v, want %v", c.Type(), result, kind)
	}
}
