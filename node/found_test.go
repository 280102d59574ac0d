package node

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/levada-stream/levada/configs"
	"github.com/levada-stream/levada/internal/vfs"
	"github.com/levada-stream/levada/journal"
	"github.com/levada-stream/levada/raftfsm"
)

// TestFounderGivesWay: the second node had begun to found, the third had agreed,
// and then the first came, or came back, with a smaller id.
func TestFounderGivesWay(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three nodes; runs without -short")
	}
	const a, b, c = "aaaaaaaa-0000-4000-8000-000000000000", "bbbbbbbb-0000-4000-8000-000000000000", "cccccccc-0000-4000-8000-000000000000"
	ids := map[string]identity{"node1": {NodeID: a}, "node2": {NodeID: b, Founder: b, FounderName: "node2"}, "node3": {NodeID: c, Founder: b, FounderName: "node2"}}
	startCluster(t, 3, func(cfg *configs.Config) {
		id := ids[cfg.Node.Name]
		id.Format, id.Name, id.ClusterName, id.Incarnation = formatVersion, cfg.Node.Name, cfg.Cluster.Name, 1
		if err := writeIdentity(vfs.OS(), cfg.Node.DataDir, id); err != nil {
			t.Fatal(err)
		}
		beginStorage(t, cfg.Node.DataDir)
	})
}

// beginStorage makes what a node has made before it agrees to a founder.
func beginStorage(t *testing.T, dir string) {
	t.Helper()
	j, err := journal.Open(vfs.OS(), filepath.Join(dir, "journal"), journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"meta.db", "stable.db"} { // a meta log, too, is a bbolt file, and fills it by itself
		s, err := raftfsm.OpenStable(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "stable.db"), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "groups"), 0o750); err != nil {
		t.Fatal(err)
	}
}
