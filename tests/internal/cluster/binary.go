package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// binaries builds each flavour of the program at most once per test process.
type binaries struct {
	mu    sync.Mutex
	dir   string
	built map[bool]build
}

type build struct {
	path string
	err  error
}

// shared is the one set of binaries of this test process; Main removes it.
var shared = binaries{built: map[bool]build{}}

// Main runs the tests of a package and removes the binaries built for them. Use it as
//
//	func TestMain(m *testing.M) { os.Exit(cluster.Main(m)) }
func Main(m *testing.M) int {
	code := m.Run()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.dir != "" {
		if err := os.RemoveAll(shared.dir); err != nil {
			fmt.Fprintln(os.Stderr, "cannot remove test binaries:", err)
		}
	}
	return code
}

// Binary returns the path of the levada program, built from this tree, with
// the race detector if race is set. A failed build fails the test.
func Binary(tb testing.TB, race bool) string {
	tb.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	b, ok := shared.built[race]
	if !ok {
		b.path, b.err = shared.build(race)
		shared.built[race] = b
	}
	if b.err != nil {
		tb.Fatal(b.err)
	}
	return b.path
}

func (s *binaries) build(race bool) (string, error) {
	if s.dir == "" {
		dir, err := os.MkdirTemp("", "levada-test-bin-")
		if err != nil {
			return "", err
		}
		s.dir = dir
	}
	path, args := filepath.Join(s.dir, "levada"), []string{"build"}
	if race {
		path += "-race"
		args = append(args, "-race")
	}
	args = append(args, "-o", path, "github.com/levada-stream/levada/cmd/levada")
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("go %v: %w\n%s", args, err, out)
	}
	return path, nil
}
