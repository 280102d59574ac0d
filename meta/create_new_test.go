package meta

import (
	"testing"

	"github.com/levada-stream/levada/internal/fault"
)

// TestOneOfTwoCreatesANewStream has two want a new stream of one name, and the first ask again.
func TestOneOfTwoCreatesANewStream(t *testing.T) {
	b := cluster(t, 1)
	s := settings(1, 1)
	placement, err := Place(b.state(), allAlive(b.state()), s)
	if err != nil {
		t.Fatal(err)
	}
	policy := CompleteScaling(Scaling{OnDemand: true, ShardsMin: 4})
	create := func(writer string) CreateStream {
		return CreateStream{Name: "orders", Settings: s, Placement: placement, Time: 1, Writer: writer, Scaling: &policy, Documents: []NewDocument{{"b", []byte("1")}, {"a", []byte("2")}}}
	}
	twice, nameless, none, bad := create("w"), create("w"), create("w"), create("w")
	twice.Documents = append(twice.Documents, NewDocument{"a", nil})
	nameless.Documents[1].Name = ""
	none.Documents = nil
	bad.Scaling = &Scaling{}
	refuses(t, b, []refusal{
		{name: "a document twice", c: twice, kind: fault.Invalid, field: "documents"},
		{name: "a document without a name", c: nameless, kind: fault.Invalid, field: "name"},
		{name: "no document", c: none, kind: fault.Invalid, field: "documents"},
		{name: "a bad policy", c: bad, kind: fault.Invalid, field: "mode"},
	})
	first := b.must(create("first")).(StreamResult)
	st, _ := b.state().StreamByName("orders")
	if a, d := st.Documents().Get("a"), st.Documents().Get("b"); !first.Changed || *st.Scaling() != policy || a == nil || string(a.Value) != "2" || a.Writer != "first" || d == nil || string(d.Value) != "1" {
		t.Errorf("%+v made %+v with %+v", first, st, st.Scaling())
	}
	events := 0
	for e := range b.state().RecentScaling(0) {
		if events++; e.Kind != ScalingPolicy || e.StreamID != st.ID {
			t.Errorf("event %+v", e)
		}
	}
	if again := b.must(create("first")).(StreamResult); again.Changed || again.StreamID != first.StreamID || events != 1 {
		t.Errorf("again: %+v; %d events", again, events)
	}
	b.refused(create("second"), fault.Conflict)
	b.must(PutDocument{StreamID: st.ID, Name: "b", Remove: true, Expect: st.Documents().Get("b").Version, Writer: "w"})
	b.refused(create("first"), fault.Conflict) // what would tell is gone
	b.must(CreateStream{Name: "orders", Settings: s, Placement: placement, Time: 2})
	b.must(DeleteStream{Name: "orders", Time: 3})
	if r := b.must(create("second")).(StreamResult); !r.Changed || r.StreamID == first.StreamID {
		t.Errorf("after the first was deleted: %+v", r)
	}
}
