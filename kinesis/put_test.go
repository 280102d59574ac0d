package kinesis

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/levada-stream/levada/client"
	"github.com/levada-stream/levada/kinesis/codec"
)

func TestPutRecordsIsRead(t *testing.T) {
	body := `{"Records":[{"PartitionKey":"a","Data":"aGk=","ExplicitHashKey":"7"},null,{"Data":"","Unknown":{"x":[1]},"PartitionKey":"é\n"}],"StreamName":"s","StreamId":"x","DryRun":true,"SequenceNumberForOrdering":null}`
	in := &putInput{}
	if err := readPutRecords(codec.NewJSON([]byte(body)), in); err != nil {
		t.Fatal(err)
	}
	e := in.entries
	if len(e) != 3 || string(e[0].data) != "hi" || string(e[0].key) != "a" || e[0].explicit != "7" || e[1].hasData || !e[2].hasData || len(e[2].data) != 0 || string(e[2].key) != "é\n" || *in.StreamName != "s" || !in.dryRun {
		t.Errorf("read as %+v", in)
	}
}

func TestRecordsAreHeldAgainstTheirConstraints(t *testing.T) {
	for _, c := range []struct {
		entry  putEntry
		spread bool
		want   string
	}{
		{putEntry{hasData: true, hasKey: true, key: []byte("a")}, false, ""},
		{putEntry{hasData: true}, true, ""},
		{putEntry{}, false, "Value null at 'records.3.member.data' failed to satisfy constraint: Member must not be null|Value null at 'records.3.member.partitionKey' failed to satisfy constraint: Member must not be null"},
		{putEntry{hasData: true, hasKey: true}, false, "Value '' at 'records.3.member.partitionKey' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{putEntry{hasData: true, hasKey: true, key: []byte(strings.Repeat("é", 256))}, false, ""},
		{putEntry{hasData: true, hasKey: true, key: []byte("a"), hasExplicit: true, explicit: "007"}, false, `Value '007' at 'records.3.member.explicitHashKey' failed to satisfy constraint: Member must satisfy regular expression pattern: 0|([1-9]\d{0,38})`},
		{putEntry{hasData: true, hasKey: true, key: []byte("a"), data: make([]byte, recordBytesMax+1)}, false, "Value 'java.nio.HeapByteBuffer[pos=0 lim=10485761 cap=10485761]' at 'records.3.member.data' failed to satisfy constraint: Member must have length less than or equal to 10485760"},
	} {
		var found []string
		c.entry.check(memberPath("records.", 2), c.spread, &found)
		if got := strings.Join(found, "|"); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
	long := putEntry{hasData: true, hasKey: true, key: []byte(strings.Repeat("é", 257))}
	var found []string
	if long.check("", false, &found); len(found) != 1 {
		t.Errorf("a long key: %q", found)
	}
}

func TestTooManyRecordsAreRefused(t *testing.T) {
	for n, ok := range map[int]bool{0: false, 1: true, 500: true, 501: false, 5000: false} {
		body := `{"StreamName":"s","Records":[` + strings.TrimSuffix(strings.Repeat(`{"Data":"","PartitionKey":"a"},`, n), ",") + `]}`
		in := &putInput{}
		if err := readPutRecords(codec.NewJSON([]byte(body)), in); err != nil {
			t.Fatal(err)
		}
		if err := checkPutRecords(in); (err == nil) != ok {
			t.Errorf("%d records: %v", n, err)
		}
		if len(in.entries) > putRecordsMax+1 {
			t.Errorf("%d entries are kept of %d", len(in.entries), n)
		}
	}
}

func TestCutKeepsWithinItsLimits(t *testing.T) {
	now := time.UnixMilli(10_000)
	page := &client.Page{Next: 10, MillisBehind: 3}
	for i := range 5 {
		page.Records = append(page.Records, client.Record{PartitionKey: "k", Data: make([]byte, 9), Ordinal: uint64(5 + i), ApproxArrival: time.UnixMilli(int64(1000 * i))})
	}
	for _, c := range []struct {
		limit, bytes int
		records      int
		next         uint64
		behind       int64
	}{{10, 1000, 5, 10, 3}, {5, 1000, 5, 10, 3}, {2, 1000, 2, 7, 8000}, {10, 30, 3, 8, 7000}, {10, 1, 1, 6, 9000}} {
		records, next, behind := cut(page, c.limit, c.bytes, now)
		if len(records) != c.records || next != c.next || behind != c.behind {
			t.Errorf("limit %d, %d bytes: %d records, next %d, behind %d", c.limit, c.bytes, len(records), next, behind)
		}
	}
}

func BenchmarkReadPutRecords(b *testing.B) {
	var s strings.Builder
	s.WriteString(`{"StreamName":"s","Records":[`)
	for i := range 500 {
		if i > 0 {
			s.WriteByte(',')
		}
		fmt.Fprintf(&s, `{"Data":%q,"PartitionKey":"key-%d"}`, base64.StdEncoding.EncodeToString(make([]byte, 1024)), i)
	}
	s.WriteString(`]}`)
	body, work := []byte(s.String()), make([]byte, s.Len())
	b.SetBytes(500 * 1024)
	b.ReportAllocs()
	for b.Loop() {
		copy(work, body) // data are decoded in place
		if err := readPutRecords(codec.NewJSON(work), &putInput{}); err != nil {
			b.Fatal(err)
		}
	}
}

func TestNoKeyIsTakenForNone(t *testing.T) {
	entry := putEntry{data: []byte("x"), key: []byte("\x00"), hasData: true, hasKey: true}
	for _, c := range []struct {
		spread bool
		want   string // in the answer
	}{{false, `"PartitionKey":"\u0000"`}, {true, ""}} {
		r, err := entry.record(c.spread)
		if err != nil || c.spread != (r.ExplicitHashKey != nil) {
			t.Fatalf("spread %v: %+v, %v", c.spread, r, err)
		}
		w := codec.NewJSONWriter(nil)
		writeRecords(w, []client.Record{r})
		if text := string(w.Bytes()); strings.Contains(text, "PartitionKey") != (c.want != "") || !strings.Contains(text, c.want) {
			t.Errorf("spread %v: read back as %s", c.spread, text)
		}
	}
}

func TestNoSequenceNumberIsMadeUp(t *testing.T) {
	s := testServer()
	stored := client.Result{Shard: 3, Sequence: client.NewSequence(1_700_000_000_000, 0, 3), Duplicate: true}
	if r := placed(stored); r != stored {
		t.Errorf("a duplicate with its position became %+v", r)
	}
	r := placed(client.Result{Shard: 3, Duplicate: true})
	if e := s.putError("s", r); e.code != codeInternal || e.status != 500 {
		t.Errorf("a duplicate without a position is answered with %v", e)
	}
}
