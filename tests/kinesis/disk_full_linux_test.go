package kinesis

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/levada-stream/levada/tests/internal/cluster"
)

// TestDiskFullUnderTheSDK fills the disks of all nodes, so that no other node can go on, and empties them again, under programs written with the AWS SDK.
func TestDiskFullUnderTheSDK(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for full disks; runs without -short")
	}
	dir, err := os.MkdirTemp("", "levada-full-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			_ = os.RemoveAll(dir) // only logs and configurations are left
		}
	})
	var ballast []string
	for _, node := range []string{"node1", "node2", "node3"} {
		cluster.MountSmall(t, filepath.Join(dir, node), "400m")
		ballast = append(ballast, filepath.Join(dir, node, "ballast"))
	}
	c := cluster.Start(t, cluster.Options{Name: "kinesis", Dir: dir})
	f, _ := launchBefore(t, c, "full", false)
	f.awaitProgress(0)
	for _, path := range ballast {
		cluster.FillDisk(t, path, 24<<20) // less than nodes keep in reserve
	}
	refused := func() int {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.failed["ProvisionedThroughputExceededException"]
	}
	for deadline := time.Now().Add(30 * time.Second); refused() == 0 && time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
	}
	stored := f.count()
	time.Sleep(2 * time.Second)
	if more := f.count() - stored; more > 0 {
		t.Errorf("%d records were acknowledged on full disks", more)
	}
	began := time.Now()
	for _, path := range ballast {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	f.awaitProgress(stored)
	fmt.Printf("with room again, puts went on after %v\n", time.Since(began).Round(time.Millisecond))
	f.land()
	if refused() == 0 {
		t.Errorf("full disks were told as %v", f.failed)
	}
}
