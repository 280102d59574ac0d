package node

import (
	"errors"
	"io/fs"
	"path"
	"strings"
	"testing"

	"github.com/levada-stream/levada/internal/vfs"
)

func open(t *testing.T, fsys vfs.FS, name, cluster string) (identity, error) {
	t.Helper()
	id, lock, err := openIdentity(fsys, "data", name, cluster)
	if err == nil {
		if err := lock.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return id, err
}

func TestIdentityLastsAndCountsStarts(t *testing.T) {
	fsys := vfs.NewMem(1)
	first, err := open(t, fsys, "a", "c")
	if err != nil {
		t.Fatal(err)
	}
	second, err := open(t, fsys, "a", "c")
	if err != nil {
		t.Fatal(err)
	}
	if first.NodeID == "" || second.NodeID != first.NodeID {
		t.Errorf("node id changed from %q to %q", first.NodeID, second.NodeID)
	}
	if first.Incarnation != 1 || second.Incarnation != 2 {
		t.Errorf("incarnations %d, %d, want 1, 2", first.Incarnation, second.Incarnation)
	}
}

func TestIdentitySurvivesPowerLoss(t *testing.T) {
	for seed := range uint64(50) {
		fsys := vfs.NewMem(seed)
		before, err := open(t, fsys, "a", "c")
		if err != nil {
			t.Fatal(err)
		}
		after, err := open(t, fsys.Crash(), "a", "c")
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if after.NodeID != before.NodeID {
			t.Fatalf("seed %d: node id changed", seed)
		}
	}
}

func TestIdentityRefusesForeignDirectories(t *testing.T) {
	write := func(text string) vfs.FS {
		fsys := vfs.NewMem(1)
		if err := fsys.MkdirAll("data"); err != nil {
			t.Fatal(err)
		}
		f, err := fsys.Create(path.Join("data", identityName))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte(text), 0); err != nil {
			t.Fatal(err)
		}
		return fsys
	}
	stray := vfs.NewMem(1)
	if err := stray.MkdirAll("data/journal"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		fs   vfs.FS
		is   error
		says string
	}{
		{"other name", write(`{"format":2,"node_id":"x","name":"b","cluster_name":"c"}`), errOtherNode, `node "b"`},
		{"other cluster", write(`{"format":2,"node_id":"x","name":"a","cluster_name":"d"}`), errOtherNode, `cluster "d"`},
		{"newer format", write(`{"format":3,"node_id":"x","name":"a","cluster_name":"c"}`), errNewerFormat, "format 3"},
		{"older format", write(`{"format":1,"node_id":"x","name":"a","cluster_name":"c"}`), errOlderFormat, "format 1"},
		{"no node id", write(`{"format":2,"name":"a","cluster_name":"c"}`), nil, "damaged"},
		{"not JSON", write(`nonsense`), nil, "damaged"},
		{"data without identity", stray, nil, "holds journal but no identity.json"},
	} {
		_, err := open(t, c.fs, "a", "c")
		if err == nil || !strings.Contains(err.Error(), c.says) || (c.is != nil && !errors.Is(err, c.is)) {
			t.Errorf("%s: got %v, want it to say %q", c.name, err, c.says)
		}
	}
}

// A node that may have voted must not run without its votes or its entries.
func TestIdentityRefusesHalfADirectory(t *testing.T) {
	parts := []string{"journal", "meta.db", "stable.db", "groups"}
	for _, c := range []struct {
		name    string
		id      identity
		missing string
		refused bool
	}{
		{"complete", identity{ClusterID: "x"}, "", false},
		{"never had a cluster", identity{}, "journal", false},
		{"agreed to a founder", identity{Founder: "x"}, "journal", true},
		{"no journal", identity{ClusterID: "x"}, "journal", true},
		{"no meta log", identity{ClusterID: "x"}, "meta.db", true},
		{"no votes", identity{ClusterID: "x"}, "stable.db", true},
		{"no snapshots", identity{ClusterID: "x"}, "groups", true},
	} {
		fsys := vfs.NewMem(1)
		if _, err := open(t, fsys, "a", "c"); err != nil {
			t.Fatal(err)
		}
		for _, part := range parts {
			if part == c.missing {
				continue
			}
			if strings.HasSuffix(part, ".db") {
				writeTestFile(t, fsys, path.Join("data", part), "x")
			} else if err := fsys.MkdirAll(path.Join("data", part)); err != nil {
				t.Fatal(err)
			}
		}
		id, err := readIdentity(fsys, "data")
		if err != nil {
			t.Fatal(err)
		}
		id.ClusterID, id.Founder = c.id.ClusterID, c.id.Founder
		if err := writeIdentity(fsys, "data", id); err != nil {
			t.Fatal(err)
		}
		_, err = open(t, fsys, "a", "c")
		if errors.Is(err, errIncomplete) != c.refused || (c.refused && !strings.Contains(err.Error(), "data/"+c.missing)) {
			t.Errorf("%s: %v, want refused %t", c.name, err, c.refused)
		}
	}
}

// A file of votes without a vote in it is as good as none.
func TestIdentityRefusesEmptyVotes(t *testing.T) {
	fsys := vfs.NewMem(1)
	id, err := open(t, fsys, "a", "c")
	if err != nil {
		t.Fatal(err)
	}
	id.ClusterID = "x"
	if err := writeIdentity(fsys, "data", id); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"journal", "groups"} {
		if err := fsys.MkdirAll(path.Join("data", dir)); err != nil {
			t.Fatal(err)
		}
	}
	writeTestFile(t, fsys, "data/meta.db", "x")
	writeTestFile(t, fsys, "data/stable.db", "")
	if _, err := open(t, fsys, "a", "c"); !errors.Is(err, errIncomplete) {
		t.Errorf("%v", err)
	}
}

func writeTestFile(t *testing.T, fsys vfs.FS, name, text string) {
	t.Helper()
	f, err := fsys.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte(text), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestIdentityIsLocked(t *testing.T) {
	fsys := vfs.OS()
	dir := t.TempDir()
	_, lock, err := openIdentity(fsys, dir, "a", "c")
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if _, _, err := openIdentity(fsys, dir, "a", "c"); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second opening got %v, want it to say in use", err)
	}
}

// A lock that fails for another reason must not send anybody looking for a process.
func TestIdentityReportsLockErrorsAsTheyAre(t *testing.T) {
	fsys := vfs.NewFault(vfs.NewMem(1), vfs.Rule{Ops: vfs.OpLock, Err: fs.ErrPermission})
	_, err := open(t, fsys, "a", "c")
	if !errors.Is(err, fs.ErrPermission) || strings.Contains(err.Error(), "in use") || !strings.Contains(err.Error(), "data") {
		t.Errorf("%v", err)
	}
}
