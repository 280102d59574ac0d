package kinesis

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/levada-stream/levada/tests/internal/cluster"
)

// The programs of other languages use a node of their own, so that what it counts tells how they speak.
const (
	testsNode = iota
	putsNode
	programsNode
)

// clientsDir is where a client of another language is ready. If it is not yet, the script beside the tests makes it so; what the script cannot do fails
// the test, for a client that was not tried is not known to work.
func clientsDir(t *testing.T, client string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("clients of other languages are tried without -short")
	}
	dir := os.Getenv("LEVADA_TEST_CLIENTS")
	if dir == "" {
		dir = filepath.Join("..", "..", "build", "clients")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "testdata/setup.sh", dir, client).CombinedOutput(); err != nil {
		t.Fatalf("the client of another language cannot be made ready (-short leaves it out): %v\n%s", err, out)
	}
	return dir
}

// startSigned starts three nodes that want signatures.
func startSigned(t *testing.T) []*cluster.Node {
	t.Helper()
	keys, err := filepath.Abs("testdata/keys.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return cluster.Start(t, cluster.Options{Name: "kinesis", Tuning: cluster.Tuning{Extra: map[string][]string{"kinesis": {"keys_file: " + keys}}}}).Nodes
}

// program is a program that uses the API.
type program struct {
	limit time.Duration // how long it may take
	dir   string        // "" for this one
	args  []string
	line  func(line string) // is called for each line it prints
}

// run runs the program and shows what it says.
func (p program) run(ctx context.Context, t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, p.limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.args[0], p.args[1:]...)
	cmd.Dir = p.dir
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "AWS_") { // nothing of the developer's own
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "AWS_ACCESS_KEY_ID=AKIDTEST", "AWS_SECRET_ACCESS_KEY=secret", "AWS_DEFAULT_REGION="+region, "AWS_PAGER=", "AWS_EC2_METADATA_DISABLED=true",
		"AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null")
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		said.WriteString(lines.Text() + "\n")
		if p.line != nil {
			p.line(lines.Text())
		}
	}
	if err := cmd.Wait(); err != nil || lines.Err() != nil {
		t.Fatalf("%q: %v, %v, %v\n%s\n%s", p.args, err, lines.Err(), context.Cause(ctx), said.String(), complaints.String())
	}
	t.Log(said.String() + complaints.String())
	return said.String()
}

// way is how requests may come: by the version of HTTP and the format of the body.
type way struct{ http, body string }

// some stands for any number of requests but none.
const some = -1

// speaks fails the test unless so many requests came to the node in each way, and none in any other.
func speaks(t *testing.T, n *cluster.Node, want map[way]int) {
	t.Helper()
	for _, http := range []string{"1", "2"} {
		for _, body := range []string{"json", "cbor", "none"} {
			got, err := n.Metric(t.Context(), `levada_kinesis_protocol_requests_total{body="`+body+`",http="`+http+`"}`)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%v requests over HTTP/%s with bodies in %s", got, http, body)
			if w := want[way{http, body}]; int(got) != w && (w != some || got == 0) {
				t.Errorf("want %d (%d: any but none)", w, some)
			}
		}
	}
}

func TestPython(t *testing.T) {
	dir := clientsDir(t, "python")
	n := startSigned(t)[programsNode]
	program{limit: 2 * time.Minute, args: []string{filepath.Join(dir, "python", "bin", "python"), "testdata/python/client.py", "http://" + n.Kinesis}}.run(t.Context(), t)
	speaks(t, n, map[way]int{{"1", "json"}: some})
}

// TestCommandLine types the session of docs/kinesis.md as it is written there.
func TestCommandLine(t *testing.T) {
	dir := clientsDir(t, "python")
	n := startSigned(t)[programsNode]
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
		script += strings.ReplaceAll(strings.TrimPrefix(line, "$ "), "127.0.0.1:4567", n.Kinesis)
	}
	out := program{limit: 2 * time.Minute, args: []string{"bash", "-c", script}}.run(t.Context(), t)
	// Version 2 of the command line reads --data as base64, version 1 as the data themselves.
	for _, want := range []string{`"ShardId": "shardId-`, `"orders"`, `"ACTIVE"`, "alice\t(aGVsbG8=|YUdWc2JHOD0=)"} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("the session does not show %s:\n%s", want, out)
		}
	}
	speaks(t, n, map[way]int{{"1", "json"}: some})
}

// pushTo runs a program that gets the arguments endpoint, stream, consumer ARN and number of records. Once it has subscribed, the records are put.
// It returns how often the program said that it had.
func pushTo(t *testing.T, nodes []*cluster.Node, p program) (subscriptions int) {
	t.Helper()
	consumer := pushStream(t, sdk(nodes[testsNode], nil), "pushed", "program")
	ctx, end := context.WithCancelCause(t.Context())
	defer end(nil)
	put := make(chan error, 1)
	p.limit = 3 * time.Minute
	p.args = append(p.args, "http://"+nodes[programsNode].Kinesis, "pushed", consumer, strconv.Itoa(pushedRecords))
	p.line = func(line string) {
		if line != "subscribed" {
			return
		}
		if subscriptions++; subscriptions == 1 {
			go func() {
				err := putStamped(ctx, putsOnce(nodes[putsNode]), "pushed", pushedRecords)
				if err != nil {
					end(fmt.Errorf("the records were not all put: %w", err)) // the program would wait for them
				}
				put <- err
			}()
		}
	}
	p.run(ctx, t)
	if subscriptions == 0 {
		t.Fatal("the program did not say that it had subscribed")
	}
	if err := <-put; err != nil {
		t.Fatal(err)
	}
	return subscriptions
}

func TestJavaScript(t *testing.T) {
	dir := clientsDir(t, "js")
	source, err := os.ReadFile("testdata/js/client.mjs")
	if err != nil {
		t.Fatal(err)
	}
	// The program must lie beside the packages that it imports.
	program := program{dir: filepath.Join(dir, "js"), args: []string{"node", "client.mjs"}}
	if err := os.WriteFile(filepath.Join(program.dir, "client.mjs"), source, 0o644); err != nil {
		t.Fatal(err)
	}
	nodes := startSigned(t)
	pushTo(t, nodes, program)
	speaks(t, nodes[programsNode], map[way]int{{"2", "json"}: some})
}

func TestJava(t *testing.T) {
	dir := clientsDir(t, "java")
	nodes := startSigned(t)
	subscriptions := pushTo(t, nodes, program{args: []string{"java", "-cp", filepath.Join(dir, "java", "jars", "*"), "testdata/java/Client.java"}})
	// All in CBOR but what is answered by a stream of events: for that the SDK takes JSON.
	speaks(t, nodes[programsNode], map[way]int{{"2", "cbor"}: some, {"2", "json"}: subscriptions})
}
