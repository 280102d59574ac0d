package archtest

import (
	"path"
	"slices"
	"strings"
	"testing"
)

// room is a package or folder of this module and what its code, tests apart,
// may import of the rest.
type room struct {
	dir string
	// own lists the packages of this module that may be imported.
	own []string
	// foreign lists prefixes of other modules' packages that may be imported; nil means any.
	foreign []string
	why     string
}

// nothing is the foreign list of a room that may use the standard library only.
var nothing = []string{}

const hclog = "github.com/hashicorp/go-hclog"

// rooms is searched from the top: the first row whose dir fits decides.
var rooms = []room{
	{"api/levada/v1", nil, []string{"google.golang.org/"}, "the contract must not depend on what it is a contract for"},
	{"api/faultpb", []string{"api/levada/v1", "internal/fault"}, []string{"google.golang.org/"}, "maps our error kinds to the wire once, for client and server"},
	{"api/wire", []string{"api/levada/v1"}, []string{"google.golang.org/"}, "how the contract's messages travel, for client and server"},
	{"wal/record", []string{"internal/crc32c", "internal/hashkey"}, nothing, "a codec without I/O: clients, replicas and tools share it"},
	{"wal", []string{"wal/record", "internal/vfs", "internal/seqno"}, []string{hclog}, "a shard log is readable without the rest of the program"},
	{"journal", []string{"internal/crc32c", "internal/vfs"}, []string{hclog}, "stores entries of groups; knows nothing of consensus or records"},
	{"meta", []string{"internal/hashkey", "internal/fault"}, nothing, "deterministic on every node: no I/O, no clock, no libraries"},
	{"autoscale", []string{"meta", "internal/hashkey"}, nothing, "decides from what it is given: no I/O, no clock, no memory"},
	{"membership", []string{"internal/fault"}, []string{hclog, "github.com/hashicorp/memberlist"}, "emits hints; decides nothing, so it needs to know nobody"},
	{"partition", []string{"wal", "wal/record", "internal/fault", "internal/hashkey", "internal/seqno", "internal/vfs"}, []string{hclog}, "a replica takes consensus through an interface of its own"},
	{"raftfsm", []string{"journal", "internal/crc32c", "internal/fault", "internal/vfs"}, nil, "consensus behind our own interfaces; groups bring their state machines"},
	{"client", []string{"api", "wal/record", "internal/hashkey", "internal/seqno", "internal/fault"}, []string{hclog, "google.golang.org/"}, "users embed it: it brings the contract and the codec, not the server"},
	{"kinesis/codec", nil, nothing, "a codec without I/O"},
	{"kinesis/sigv4", nil, nothing, "decides on what it is given"},
	{"kinesis", []string{"api/levada/v1", "client"}, []string{hclog, "github.com/prometheus/client_golang/", "golang.org/x/sync/", "golang.org/x/time/", "google.golang.org/protobuf/"}, "a front door: it stands before the cluster as any other program does"},
	{"configs", nil, nil, "settings know nobody, so that everybody may know them"},
	{"cmd", []string{"api", "client", "configs", "internal/vfs", "node", "wal"}, nil, "flags in, calls out; wal and vfs are for looking at the files of a stopped node"},
	{"internal/vfs", nil, []string{"golang.org/x/sys/"}, "the lowest floor"},
	{"internal/crc32c", nil, nothing, "arithmetic"},
	{"internal/fault", nil, nothing, "error kinds belong to everybody"},
	{"internal/failpoint", nil, nothing, "marks in the code; nothing without its build tag"},
	{"internal/hashkey", nil, nothing, "a value"},
	{"internal/seqno", []string{"internal/hashkey"}, nothing, "a value"},
	{"internal/archtest", nil, nothing, "reads the tree with the standard library"},
	{"node", []string{
		"api", "autoscale", "client", "configs", "internal/failpoint", "internal/fault", "internal/hashkey", "internal/seqno", "internal/vfs", "journal", "kinesis", "membership", "meta",
		"partition", "raftfsm", "wal",
	}, nil, "the composition root: the only room that knows all others, but not the commands; the client is there for the front doors"},
	{"tests/sizing", []string{"api/levada/v1", "client", "meta"}, nothing, "measures the control state by its real code, and processes from outside"},
	{"tests", []string{"api", "client", "internal/fault", "internal/hashkey", "internal/seqno", "kinesis/codec", "tests/internal", "wal"}, nil, "black box: talks to processes through the client and the contracts"},
}

// exclusive names libraries that one room alone may import, its tests included.
var exclusive = []struct{ prefix, dir, why string }{
	{"github.com/hashicorp/raft", "raftfsm", "its behaviour is hidden behind interfaces of our own"},
	{"github.com/hashicorp/memberlist", "membership", "gossip gives hints; nobody else may be tempted to decide by it"},
	{"go.etcd.io/bbolt", "raftfsm", "a stable store; record data never goes there"},
	{"github.com/alecthomas/kong", "cmd", "the command line is the only place with flags"},
	{"github.com/goccy/go-yaml", "configs", "one place reads configuration"},
	{"github.com/stretchr/testify", "(nowhere)", "tests are plain Go with go-cmp"},
}

func roomOf(dir string) (room, bool) {
	i := slices.IndexFunc(rooms, func(r room) bool { return under(dir, r.dir) })
	if i < 0 {
		return room{}, false
	}
	return rooms[i], true
}

func (r room) allows(imported string, ours bool) bool {
	if ours {
		return under(imported, r.dir) || slices.ContainsFunc(r.own, func(dir string) bool { return under(imported, dir) })
	}
	first, _, _ := strings.Cut(imported, "/")
	standard := !strings.Contains(first, ".")
	return standard || r.foreign == nil || slices.ContainsFunc(r.foreign, func(prefix string) bool { return strings.HasPrefix(imported, prefix) })
}

func TestImports(t *testing.T) {
	for _, s := range tree(t) {
		r, ok := roomOf(s.dir)
		if !ok {
			t.Errorf("%s: no row of the import table covers %s: add one with its reason", s.path, s.dir)
			continue
		}
		imports, own := s.imports()
		for _, imported := range imports {
			if !s.test && !r.allows(imported, own[imported]) {
				t.Errorf("%s imports %s, but %s may not: %s", s.path, imported, r.dir, r.why)
			}
			for _, e := range exclusive {
				if strings.HasPrefix(imported, e.prefix) && !under(s.dir, e.dir) {
					t.Errorf("%s imports %s, which only %s may: %s", s.path, imported, e.dir, e.why)
				}
			}
		}
	}
}

func TestImportTableIsUsed(t *testing.T) {
	covered := map[string]bool{}
	for _, s := range tree(t) {
		if r, ok := roomOf(s.dir); ok {
			covered[r.dir] = true
		}
	}
	for _, r := range rooms {
		if !covered[r.dir] {
			t.Errorf("the import table has a row for %s, where no Go file is", r.dir)
		}
		if r.why == "" {
			t.Errorf("the row of %s gives no reason", r.dir)
		}
	}
}

// drawers are names that say nothing about what is inside.
var drawers = []string{"util", "utils", "common", "types", "base", "helper", "helpers", "manager", "impl", "misc", "lib"}

func TestNames(t *testing.T) {
	for _, s := range tree(t) {
		file := strings.TrimSuffix(strings.TrimSuffix(path.Base(s.path), ".go"), "_test")
		for _, name := range []string{path.Base(s.dir), file, s.file.Name.Name} {
			if slices.Contains(drawers, name) {
				t.Errorf("%s: %q says nothing about what is inside; name it after what it holds", s.path, name)
			}
		}
	}
}
