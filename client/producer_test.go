package client

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
)

func TestPutAndResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, 3)
		defer f.close()
		f.create("s", 4)
		c := f.client()
		defer c.Close()
		p, err := c.Producer("s", ProducerOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var pending []*Pending
		for i := range 1000 {
			q, err := p.Put(t.Context(), Record{PartitionKey: fmt.Sprint(i % 37), Data: fmt.Appendf(nil, "%d", i)})
			if err != nil {
				t.Fatal(err)
			}
			pending = append(pending, q)
		}
		seen := map[SequenceNumber]bool{}
		for i, q := range pending {
			r := q.Result()
			if r.Err != nil || r.Duplicate || seen[r.Sequence] {
				t.Fatalf("record %d: %+v", i, r)
			}
			seen[r.Sequence] = true
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if s := p.Stats(); s.Records != 1000 || s.Failed != 0 || s.BytesInFlight != 0 || s.Batches == 0 || s.Batches > 900 {
			t.Errorf("stats %+v", s)
		}
		if _, err := p.Put(context.Background(), Record{PartitionKey: "k"}); !IsInvalid(err) {
			t.Errorf("put after close: %v", err)
		}
		if r, err := c.Put(t.Context(), "s", Record{PartitionKey: "k"}); err != nil || r.Sequence.IsZero() {
			t.Errorf("simple put: %+v %v", r, err)
		}
	})
}
