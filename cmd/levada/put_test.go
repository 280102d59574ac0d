package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/levada-stream/levada/internal/fault"
	"github.com/levada-stream/levada/wal/record"
)

func numbered(n int) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "line %d\n", i+1)
	}
	return text.String()
}

func sorted(text string) []string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	slices.Sort(lines)
	return lines
}

func putReportOf(t *testing.T, o outcome) putReport {
	t.Helper()
	var r putReport
	if err := json.Unmarshal([]byte(o.out), &r); err != nil {
		t.Fatalf("%v in %+v", err, o)
	}
	return r
}

func TestPutThenRead(t *testing.T) {
	f := newFakeCluster(t)
	f.create(t, "s", 3)
	acked := filepath.Join(t.TempDir(), "acked")
	o := f.command(t.Context(), numbered(1000), "put", "s", "--acked", acked, "-o", "json")
	r := putReportOf(t, o)
	if o.code != 0 || r.Lines != 1000 || r.Acknowledged != 1000 || r.Failed != 0 || r.Error != "" {
		t.Fatalf("put: code %d, %+v, %s", o.code, r, o.err)
	}
	o = f.command(t.Context(), "", "read", "s")
	if diff := cmp.Diff(sorted(numbered(1000)), sorted(o.out)); o.code != 0 || diff != "" {
		t.Errorf("read, code %d, %s:\n%s", o.code, o.err, diff)
	}

	// Every line that is reported as acknowledged is where that says.
	o = f.command(t.Context(), "", "read", "s", "--format", "{{.Shard}}\t{{.Sequence}}\t{{.Data}}")
	at := map[string]string{}
	for _, line := range sorted(o.out) {
		parts := strings.Split(line, "\t")
		at[parts[0]+"\t"+parts[1]] = parts[2]
	}
	text, err := os.ReadFile(acked)
	if err != nil {
		t.Fatal(err)
	}
	lines := sorted(string(text))
	for _, line := range lines {
		number, place, _ := strings.Cut(line, "\t")
		if at[place] != "line "+number {
			t.Errorf("line %s is said to be at %s, where %q is", number, place, at[place])
		}
	}
	if len(lines) != 1000 {
		t.Errorf("%d acknowledgements written", len(lines))
	}
}

func TestPutKeepsOrderOfAKey(t *testing.T) {
	f := newFakeCluster(t)
	f.create(t, "s", 4)
	if o := f.command(t.Context(), numbered(500), "put", "s", "--key", "one"); o.code != 0 {
		t.Fatalf("%+v", o)
	}
	if o := f.command(t.Context(), "", "read", "s"); o.out != numbered(500) {
		t.Errorf("lines of one key came back in another order")
	}
}

func TestPutEmptyLines(t *testing.T) {
	f := newFakeCluster(t)
	f.create(t, "s", 1)
	if o := f.command(t.Context(), "a\n\nb", "put", "s"); o.code != 0 {
		t.Fatalf("%+v", o)
	}
	if o := f.command(t.Context(), "a\n\nb\n", "put", "s", "--skip-empty"); o.code != 0 {
		t.Fatalf("%+v", o)
	}
	if o := f.command(t.Context(), "", "read", "s"); o.out != "a\n\nb\na\nb\n" {
		t.Errorf("read back %q", o.out)
	}
}

func TestPutReportsBadLines(t *testing.T) {
	f := newFakeCluster(t)
	f.create(t, "s", 1)
	o := f.command(t.Context(), `{"k":"a"}`+"\nnot json\n{}\n"+`{"k":"b"}`+"\n", "put", "s", "--key-field", "$.k", "-o", "json")
	r := putReportOf(t, o)
	if o.code != exitFailed || r.Lines != 4 || r.Acknowledged != 2 || r.Failed != 2 {
		t.Errorf("code %d, %+v", o.code, r)
	}
	for _, want := range []string{"line 2:", "line 3:"} {
		if !strings.Contains(o.err, want) {
			t.Errorf("nothing about %s in %q", want, o.err)
		}
	}
}

func TestPutStopsAtAFailureThatLinesShare(t *testing.T) {
	f := newFakeCluster(t)
	f.create(t, "s", 1)
	f.refuse = func(record.Record) error { return fault.New(fault.Denied, "you may not") }
	o := f.command(t.Context(), numbered(200_000), "put", "s", "-o", "json", "--rate", "20000")
	r := putReportOf(t, o)
	if o.code != exitFailed || r.Acknowledged != 0 || r.Failed != r.Lines || r.Lines == 200_000 || !strings.Contains(r.Error, "you may not") {
		t.Errorf("code %d, %+v", o.code, r)
	}
	if n := strings.Count(o.err, "\n"); n > errorsShown+10 {
		t.Errorf("%d lines of errors", n)
	}
}

func TestPutInterrupted(t *testing.T) {
	f := newFakeCluster(t)
	f.create(t, "s", 1)
	ctx, interrupt := context.WithCancel(t.Context())
	var once sync.Once
	f.hold = func(<-chan struct{}) { once.Do(interrupt) } // Ctrl-C while the first batch is on its way
	acked := filepath.Join(t.TempDir(), "acked")
	var o outcome
	within(t, "an interrupted put", func() {
		o = f.command(ctx, numbered(100_000), "put", "s", "-o", "json", "--rate", "1000", "--acked", acked)
	})
	r := putReportOf(t, o)
	if o.code != exitFailed || !r.Interrupted || r.Failed != 0 || r.Acknowledged != r.Lines || r.Lines == 0 || r.Lines == 100_000 {
		t.Errorf("code %d, %+v, %s", o.code, r, o.err)
	}
	text, err := os.ReadFile(acked)
	if err != nil || uint64(bytes.Count(text, []byte("\n"))) != r.Acknowledged {
		t.Errorf("%d acknowledgements in the file, %d reported, error %v", bytes.Count(text, []byte("\n")), r.Acknowledged, err)
	}
	f.mu.Lock()
	stored := f.shards["s"][0].next
	f.mu.Unlock()
	if stored != r.Acknowledged {
		t.Errorf("%d records are stored, %d lines reported as acknowledged", stored, r.Acknowledged)
	}
}

// silentInput gives its text at once, and then neither more nor an end.
type silentInput struct {
	text   string
	silent func() // called when the text is out, unless it is nil
	over   <-chan struct{}
}

func (s *silentInput) Read(p []byte) (int, error) {
	if n := copy(p, s.text); n > 0 {
		s.text = s.text[n:]
		return n, nil
	}
	if s.silent != nil {
		s.silent()
	}
	<-s.over
	return 0, io.ErrUnexpectedEOF
}

func TestPutFromSilentInputEnds(t *testing.T) {
	for name, tc := range map[string]struct {
		refuse    func(record.Record) error
		interrupt bool
		says      string
	}{
		"on Ctrl-C":                    {nil, true, ""},
		"when the cluster refuses":     {func(record.Record) error { return fault.New(fault.Denied, "you may not") }, false, "you may not"},
		"when the stream is not there": {func(record.Record) error { return fault.New(fault.NotFound, "no such stream") }, false, "no such stream"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeCluster(t)
			f.create(t, "s", 1)
			f.refuse = tc.refuse
			if tc.says == "no such stream" { // as when another deletes it meanwhile
				f.hold = func(<-chan struct{}) {
					f.mu.Lock()
					defer f.mu.Unlock()
					delete(f.streams, "s")
				}
			}
			ctx, interrupt := context.WithCancel(t.Context())
			defer interrupt()
			in := &silentInput{text: "line 1\nhalf of lin", over: t.Context().Done()}
			if tc.interrupt {
				in.silent = interrupt
			}
			var o outcome
			within(t, "a put from a silent pipe", func() {
				o = commandFrom(ctx, in, "put", "s", "-o", "json", "--endpoint", f.address)
			})
			r := putReportOf(t, o)
			if o.code == exitOK || r.Interrupted != tc.interrupt || r.Lines > 1 || r.Acknowledged+r.Failed != r.Lines || !strings.Contains(r.Error, tc.says) && tc.says != "no such stream" {
				t.Errorf("code %d, %+v, %s", o.code, r, o.err)
			}
			if !tc.interrupt && r.Failed != 1 {
				t.Errorf("the line has not failed: %+v", r)
			}
		})
	}
}

func TestPutFromPipeWithoutWriterEnds(t *testing.T) {
	f := newFakeCluster(t)
	f.create(t, "s", 1)
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	within(t, "a put from a pipe without a writer", func() {
		if o := f.command(ctx, "", "put", "s", pipe); o.code != exitFailed || !strings.Contains(o.err, pipe) {
			t.Errorf("%+v", o)
		}
	})
	w, err := os.OpenFile(pipe, os.O_RDWR, 0) // lets the opening that was left end
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
}

func TestPutNamesLinesWithoutKey(t *testing.T) {
	f := newFakeCluster(t)
	f.create(t, "s", 1)
	o := f.command(t.Context(), `{"k":"a"}`+"\n"+`{"k":"a"} junk`+"\n"+`{"k":"\ud800"}`+"\n", "put", "s", "--key-field", "$.k")
	if o.code != exitFailed || !strings.Contains(o.err, "line 2: no key: not JSON: invalid character 'j' after top-level value") ||
		!strings.Contains(o.err, "line 3: no key: a key must be UTF-8 text, not half of a surrogate pair") {
		t.Errorf("%+v", o)
	}
}

func TestPutToWhatIsNotThere(t *testing.T) {
	f := newFakeCluster(t)
	if o := f.command(t.Context(), "x\n", "put", "nope"); o.code != exitNotFound || !strings.Contains(o.err, "nope") {
		t.Errorf("%+v", o)
	}
	if o := f.command(t.Context(), "", "put", "s", "/does/not/exist"); o.code != exitUsage {
		t.Errorf("%+v", o)
	}
	if o := f.command(t.Context(), "", "put", "s", t.TempDir()); o.code != exitUsage || !strings.Contains(o.err, "is a directory") {
		t.Errorf("%+v", o)
	}
}

func TestBench(t *testing.T) {
	f := newFakeCluster(t)
	for _, mode := range [][]string{{}, {"--one"}, {"--rate", "5000"}} {
		o := f.command(t.Context(), "", append([]string{"bench", "put", "b", "--create", "2", "--count", "301", "--size", "100B", "-o", "json"}, mode...)...)
		var r benchReport
		if err := json.Unmarshal([]byte(o.out), &r); err != nil {
			t.Fatalf("%v: %v in %+v", mode, err, o)
		}
		if o.code != 0 || r.Records != 301 || r.Bytes != 30100 || r.Failed != 0 || r.Latency == nil || r.Latency.P50 < 1 || r.Latency.Max < r.Latency.P999 {
			t.Errorf("%v: code %d, %+v", mode, o.code, r)
		}
		if r.Corrected != slices.Contains(mode, "--rate") {
			t.Errorf("%v: corrected %t", mode, r.Corrected)
		}
	}
	o := f.command(t.Context(), "", "bench", "read", "b", "--readers", "2", "-o", "json")
	var r benchReport
	if err := json.Unmarshal([]byte(o.out), &r); err != nil || o.code != 0 || r.Records != 2*3*301 || r.Bytes != 2*3*30100 {
		t.Errorf("read: %v, %+v", err, o)
	}
}
