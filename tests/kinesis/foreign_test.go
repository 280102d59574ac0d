package kinesis

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The programs of other languages are made ready by testdata/setup.sh, which says where. Where they are not, their tests fail: a client that was not tried is not known to work.
const setup = "run tests/kinesis/testdata/setup.sh DIR, and set LEVADA_TEST_CLIENTS=DIR"

// clientsDir is where the clients of other languages were made ready.
func clientsDir(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("clients of other languages are tried without -short")
	}
	dir := os.Getenv("LEVADA_TEST_CLIENTS")
	if dir == "" {
		t.Fatal("the clients of other languages are not there: " + setup)
	}
	return dir
}

// runProgram runs a program and shows what it says.
func runProgram(t *testing.T, limit time.Duration, dir, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID=AKIDTEST", "AWS_SECRET_ACCESS_KEY=secret", "AWS_DEFAULT_REGION="+region, "AWS_PAGER=", "AWS_EC2_METADATA_DISABLED=true")
	out, err := cmd.CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, text)
	}
	t.Log(text)
	return text
}

func TestPython(t *testing.T) {
	dir := clientsDir(t)
	nodes := start(t).Nodes
	runProgram(t, 2*time.Minute, "", filepath.Join(dir, "python", "bin", "python"), "testdata/python/client.py", "http://"+nodes[0].Kinesis)
}

// TestCommandLine types the session of docs/kinesis.md as it is written there.
func TestCommandLine(t *testing.T) {
	dir := clientsDir(t)
	nodes := start(t).Nodes
	page, err := os.ReadFile("../../docs/kinesis.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```console\n(.*?)```").FindSubmatch(page)
	if block == nil {
		t.Fatal("the page has no session")
	}
	script := "set -eu\nexport PATH=" + filepath.Join(dir, "python", "bin") + ":$PATH\n"
	for line := range strings.Lines(string(block[1])) {
		script += strings.ReplaceAll(strings.TrimPrefix(line, "$ "), "127.0.0.1:4567", nodes[0].Kinesis)
	}
	out := runProgram(t, 2*time.Minute, "", "bash", "-c", script)
	// Version 2 of the command line reads --data as base64, version 1 as the data themselves.
	for _, want := range []string{`"ShardId": "shardId-`, `"orders"`, `"ACTIVE"`, "alice\t(aGVsbG8=|YUdWc2JHOD0=)"} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("the session does not show %s:\n%s", want, out)
		}
	}
}

func TestJavaScript(t *testing.T) {
	dir := clientsDir(t)
	nodes := start(t).Nodes
	c := sdk(nodes[0], nil)
	consumer := pushStream(t, c, "pushed", "js")
	put := make(chan error, 1)
	go func() { put <- putStamped(t.Context(), sdk(nodes[1], nil), "pushed", pushedRecords) }()
	runProgram(t, 3*time.Minute, filepath.Join(dir, "js"), "node", "client.mjs", "http://"+nodes[0].Kinesis, consumer, strconv.Itoa(pushedRecords))
	if err := <-put; err != nil {
		t.Fatal(err)
	}
}

func TestJava(t *testing.T) {
	dir := clientsDir(t)
	nodes := start(t).Nodes
	c := sdk(nodes[0], nil)
	consumer := pushStream(t, c, "pushed", "java")
	put := make(chan error, 1)
	go func() { put <- putStamped(t.Context(), sdk(nodes[1], nil), "pushed", pushedRecords) }()
	classes := filepath.Join(dir, "java", "target", "classes") + ":" + filepath.Join(dir, "java", "target", "dependency", "*")
	runProgram(t, 3*time.Minute, "", "java", "-cp", classes, "Client", "http://"+nodes[0].Kinesis, "pushed", consumer, strconv.Itoa(pushedRecords))
	if err := <-put; err != nil {
		t.Fatal(err)
	}
}
