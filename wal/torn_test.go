package wal

import (
	"bytes"
	"fmt"
	"io"
	"path"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/levada-stream/levada/internal/vfs"
)

// openWarnings opens the log, closes it without a further write, and returns the warnings and where the log ended.
func openWarnings(t *testing.T, fsys vfs.FS, o Options) ([]string, Position) {
	t.Helper()
	var out bytes.Buffer
	o.Logger = hclog.New(&hclog.LoggerOptions{Output: &out, Level: hclog.Warn, DisableTime: true})
	l := mustOpen(t, fsys, o)
	pos := l.Position()
	if err := l.Abandon(); err != nil {
		t.Fatal(err)
	}
	if out.Len() == 0 {
		return nil, pos
	}
	return strings.Split(strings.TrimSpace(out.String()), "\n"), pos
}

// TestTornIsNoDamage cuts the last write at many places: Verify calls the segment torn and finds no problem, Open ends
// the log where Verify said and warns once, and what is left is neither torn nor warned of.
func TestTornIsNoDamage(t *testing.T) {
	mem, segs, o := twoSegments(t)
	if warnings, _ := openWarnings(t, mem.Clone(), o); len(warnings) > 0 {
		t.Fatalf("an untorn log warns: %q", warnings)
	}
	name := segs[1].Path
	r, err := Verify(mem, "log")
	if err != nil || r.Segments[0].Torn || r.Segments[1].Torn || r.Segments[1].TornBytes != 0 {
		t.Fatalf("untorn: %+v, %v", r.Segments, err)
	}
	good := readFile(t, mem, name)
	last := r.Segments[1].Durable // the last write begins here: no other promises it
	zeros := make([]byte, 3*pageSize)
	for _, keep := range []int64{writeHeaderSize, 2000, pageSize, 2*pageSize + 100, 3 * pageSize} {
		cut := last + keep
		for _, tail := range [][]byte{nil, zeros[:int(pageCeil(cut)-cut)+2*pageSize]} {
			t.Run(fmt.Sprintf("%d bytes of the write and %d zeros", keep, len(tail)), func(t *testing.T) {
				disk := mem.Clone()
				writeFile(t, disk, name, append(bytes.Clone(good[:cut]), tail...))
				r, err := Verify(disk, "log")
				if err != nil {
					t.Fatalf("Verify: %v", err)
				}
				s := r.Segments[1]
				if !s.Torn || s.Problem != nil || s.TornBytes < keep || s.TornBytes > pageCeil(keep) {
					t.Fatalf("Verify reports %+v", s)
				}
				warnings, pos := openWarnings(t, disk, o)
				if len(warnings) != 1 || !strings.Contains(warnings[0], name) || !strings.Contains(warnings[0], fmt.Sprintf("bytes=%d ", s.TornBytes)) {
					t.Errorf("warnings %q, %d bytes were torn", warnings, s.TornBytes)
				}
				if pos != r.End {
					t.Errorf("the log ends at %+v, Verify said %+v", pos, r.End)
				}
				if warnings, _ := openWarnings(t, disk, o); len(warnings) > 0 {
					t.Errorf("the second Open warns: %q", warnings)
				}
				if r, err := Verify(disk, "log"); err != nil || r.Segments[1].Torn || r.End != pos {
					t.Errorf("Verify after Open: %+v, %v", r, err)
				}
			})
		}
	}
}

// TestTornBehindABlock ends the file at a block's end inside a write: nothing is left of the block that is missing, and
// still the write is torn.
func TestTornBehindABlock(t *testing.T) {
	mem := vfs.NewMem(1)
	o := testOptions(newTestWriter(t), 1<<20)
	l := mustOpen(t, mem, o)
	fill(t, l, 2, 2, 3000) // one write
	mustFlush(t, l)
	name := segmentPaths(l)[0]
	end := l.tail.data
	if err := l.Abandon(); err != nil {
		t.Fatal(err)
	}
	first := testBlock(0, 2, 3000)
	second := testBlock(2, 2, 3000)
	b := readFile(t, mem, name)
	writeFile(t, mem, name, b[:end-int64(BlockHeaderSize+second.Bytes())])
	r, err := Verify(mem, "log")
	if err != nil || !r.Segments[0].Torn || r.Segments[0].TornBytes != 0 || r.End.Next != first.End() {
		t.Fatalf("Verify reports %+v, %v", r, err)
	}
	if warnings, pos := openWarnings(t, mem, o); len(warnings) != 1 || pos != r.End {
		t.Fatalf("warnings %q, the log ends at %+v", warnings, pos)
	}
}

// TestStillborn: a last segment that never got its header is torn, if it has the name that the next segment would have.
func TestStillborn(t *testing.T) {
	mem, segs, o := twoSegments(t)
	if err := mem.Remove(segs[1].Path); err != nil {
		t.Fatal(err)
	}
	end := segs[0].Next
	for _, c := range []struct {
		first   uint64
		corrupt bool
	}{{end, false}, {end + 1, true}} {
		disk := mem.Clone()
		name := path.Join("log", segmentName(c.first))
		writeFile(t, disk, name, make([]byte, 2*pageSize+5))
		r, err := Verify(disk, "log")
		dumpErr := Dump(io.Discard, disk, "log", DumpOptions{})
		if c.corrupt {
			wantCorrupt(t, err, name)
			wantCorrupt(t, dumpErr, name)
			wantUntouched(t, disk, o, name)
			continue
		}
		if err != nil || dumpErr != nil || len(r.Segments) != 2 || !r.Segments[1].Torn || r.Segments[1].TornBytes != 2*pageSize+5 || r.End.Next != end {
			t.Fatalf("Verify reports %+v, %v; Dump %v", r, err, dumpErr)
		}
		if warnings, pos := openWarnings(t, disk, o); len(warnings) != 1 || !strings.Contains(warnings[0], name) || pos != r.End {
			t.Fatalf("warnings %q, the log ends at %+v, want %+v", warnings, pos, r.End)
		}
		if _, err := disk.Stat(name); err == nil {
			t.Error("the segment is still there")
		}
	}
}

// wantUntouched opens a log that has to be corrupt at name and checks that Open tried no change.
func wantUntouched(t *testing.T, fsys vfs.FS, o Options, name string) {
	t.Helper()
	fault := vfs.NewFault(fsys, vfs.Rule{Ops: vfs.OpChange &^ vfs.OpMkdir, Times: vfs.Forever, Err: unix.EIO})
	_, err := Open(fault, "log", o)
	wantCorrupt(t, err, name)
	if fault.Hits() > 0 {
		t.Errorf("Open tried %d changes", fault.Hits())
	}
}

// TestJoinBeforeChange puts a last segment behind one that it does not follow. Each form of it is one that Open changes
// if it fits: nothing is written, cut or synced before it is known that it does not.
func TestJoinBeforeChange(t *testing.T) {
	mem, segs, o := twoSegments(t)
	r, err := Verify(mem, "log")
	if err != nil {
		t.Fatal(err)
	}
	end := r.Segments[0].End
	name := segs[1].Path
	if err := mem.Remove(name); err != nil {
		t.Fatal(err)
	}
	forms := map[string]func(l *Log) func([]byte) []byte{
		"unpromised": func(*Log) func([]byte) []byte { return bytes.Clone },
		"torn":       func(l *Log) func([]byte) []byte { return func(b []byte) []byte { return b[:l.tail.data-100] } },
		"sealed": func(l *Log) func([]byte) []byte {
			l.ioMu.Lock()
			defer l.ioMu.Unlock()
			if err := l.seal(); err != nil {
				t.Fatal(err)
			}
			return bytes.Clone
		},
	}
	starts := map[string]func(p *Position){
		"fits":             func(*Position) {},
		"other hash":       func(p *Position) { p.Chain[3] ^= 1 },
		"other Raft index": func(p *Position) { p.Index-- },
		"gap":              func(p *Position) { p.Next++ },
	}
	for form, edit := range forms {
		for what, change := range starts {
			t.Run(form+", "+what, func(t *testing.T) {
				start := end
				change(&start)
				name := path.Join("log", segmentName(start.Next))
				other := vfs.NewMem(2)
				l := mustOpen(t, other, o)
				if err := l.Reset(start); err != nil {
					t.Fatal(err)
				}
				fill(t, l, 1, 2, 7000)
				mustFlush(t, l)
				cut := edit(l)
				if err := l.Abandon(); err != nil {
					t.Fatal(err)
				}
				disk := mem.Clone()
				writeFile(t, disk, name, cut(readFile(t, other, name)))
				_, verr := Verify(disk, "log")
				derr := Dump(io.Discard, disk, "log", DumpOptions{})
				if what == "fits" {
					if verr != nil || derr != nil {
						t.Errorf("Verify: %v, Dump: %v", verr, derr)
					}
					mustClose(t, mustOpen(t, disk, o))
					return
				}
				wantCorrupt(t, verr, name)
				wantCorrupt(t, derr, name)
				wantUntouched(t, disk, o, name)
			})
		}
	}
}
