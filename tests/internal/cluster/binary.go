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
	built map[flavour]build
}

// flavour is how the program is built.
type flavour struct {
	race, failpoints bool
}

type build struct {
	path string
	err  error
}

// shared is the one set of binaries of this test process; Main removes it.
var shared = binaries{built: map[flavour]build{}}

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
	return binary(tb, flavour{race: race})
}

func binary(tb testing.TB, f flavour) string {
	tb.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	b, ok := shared.built[f]
	if !ok {
		b.path, b.err = shared.build(f)
		shared.built[f] = b
	}
	if b.err != nil {
		tb.Fatal(b.err)
	}
	return b.path
}

func (s *binaries) build(f flavour) (string, error) {
	if s.dir == "" {
		dir, err := os.MkdirTemp("", "levada-test-bin-")
		if err != nil {
			return "", err
		}
		s.dir = dir
	}
	path, args := filepath.Join(s.dir, "levada"), []string{"build"}
	if f.race {
		path += "-race"
		args = append(args, "-race")
	}
	if f.failpoints {
		path += "-failpoints"
		args = append(args, "-tags", "failpoints")
	}
	args = append(args, "-o", path, "github.com/levada-stream/levada/cmd/levada")
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("go %v: %w\n%s", args, err, out)
	}
	return path, nil
}
