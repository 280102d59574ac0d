package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/levada-stream/levada/tests/internal/cluster"
)

// commandMax bounds one command of the command line.
const commandMax = 2 * time.Minute

// shell runs the levada program as a user does.
type shell struct {
	t         *testing.T
	endpoints string
}

// result is how a command ended.
type result struct {
	code     int
	out, err string
}

// run runs a command and returns how it ended.
func (s shell) run(stdin io.Reader, args ...string) result {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), commandMax)
	defer cancel()
	cmd := exec.CommandContext(ctx, cluster.Binary(s.t, false), args...)
	cmd.Env = append(os.Environ(), "LEVADA_ENDPOINT="+s.endpoints)
	cmd.Dir = s.t.TempDir() // no dev cluster of an outer directory is found from here
	cmd.Stdin = stdin
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatalf("levada %v: %v", args, err)
	}
	if ctx.Err() != nil {
		s.t.Fatalf("levada %v did not end within %v; it said:\n%s", args, commandMax, errs.String())
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// must runs a command that has to succeed and returns its output.
func (s shell) must(stdin io.Reader, args ...string) string {
	s.t.Helper()
	r := s.run(stdin, args...)
	if r.code != 0 {
		s.t.Fatalf("levada %v: exit code %d\n%s%s", args, r.code, r.out, r.err)
	}
	return r.out
}

// keyPattern takes the first word of a line as its key.
const keyPattern = `^(\S+)`

// makeLines returns n lines of a log as a service might write it: "user-0042 0000017 GET /...".
func makeLines(n int) []string {
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	lines := make([]string, n)
	for i := range lines {
		lines[i] = fmt.Sprintf("user-%04d %07d GET /albums/%d?q=%s ümlaut %d", rng.IntN(1000), i, rng.IntN(1_000_000), strings.Repeat("x", rng.IntN(60)), rng.Uint32())
	}
	return lines
}

func text(lines []string) string { return strings.Join(lines, "\n") + "\n" }

func keyOf(line string) string { key, _, _ := strings.Cut(line, " "); return key }

// sameLines checks that got holds exactly the lines wanted, each key's in their order.
func sameLines(t *testing.T, want []string, got string) {
	t.Helper()
	left := map[string][]string{}
	for _, line := range want {
		left[keyOf(line)] = append(left[keyOf(line)], line)
	}
	count, wrong := 0, 0
	for line := range strings.Lines(got) {
		line = strings.TrimSuffix(line, "\n")
		count++
		rest := left[keyOf(line)]
		if len(rest) == 0 || rest[0] != line {
			if wrong++; wrong <= 5 {
				t.Errorf("line %d of the output is %q; the next of this key should be %q", count, line, append(rest, "(none)")[0])
			}
			continue
		}
		left[keyOf(line)] = rest[1:]
	}
	if count != len(want) {
		t.Errorf("%d lines came back, %d were written", count, len(want))
	}
	if wrong > 5 {
		t.Errorf("%d lines are wrong", wrong)
	}
}

// writeFile writes lines to a file in a directory of the test's own.
func writeFile(t *testing.T, lines []string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "access.log")
	if err := os.WriteFile(path, []byte(text(lines)), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
