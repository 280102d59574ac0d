package main

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	levadav1 "github.com/levada-stream/levada/api/levada/v1"
	"github.com/levada-stream/levada/client"
	"github.com/levada-stream/levada/configs"
)

func TestExitCodes(t *testing.T) {
	f := newFakeCluster(t)
	f.create(t, "s", 1)
	for _, tc := range []struct {
		args string
		code int
		says string
	}{
		{"version", 0, ""},
		{"--help", 0, ""},
		{"", 0, ""},
		{"put --help", 0, ""},
		{"nonsense", 2, "nonsense"},
		{"read", 2, "levada read --help"},
		{"read s --from yesterday", 2, "trim-horizon"},
		{"read s --from at:12x", 2, "12x"},
		{"read s --format {{.Nope}}", 2, "Nope"},
		{"read s --shard x", 2, "shard-000000000003"},
		{"read s --local", 2, "--node"},
		{"read s --node zzz", 2, "node1"},
		{"read nope", 3, "nope"},
		{"stream describe nope", 3, "stream list"},
		{"stream delete nope", 3, "nope"},
		{"stream delete nope --if-exists", 0, ""},
		{"stream create t --shards 0", 2, "--shards"},
		{"stream create t --retention soon", 2, "--retention"},
		{"stream create t --max-record-bytes 11MiB", 2, "10MiB"},
		{"stream create t --max-record-bytes 0", 2, "--max-record-bytes: 0B is outside its limits, 1B to 10MiB"},
		{"stream create t --retention 0", 2, "--retention: 0s is outside its limits, 1h to 365d"},
		{"stream create t --retention 366d", 2, "365d"},
		{"stream create t --shards 20000", 2, "levada: --shards must be between 1 and 10000"},
		{"stream create t --shards 9001", 1, "hold 0 of 6000 (limits.shard_replicas_max)\nsee what there is with: levada stream list"},
		{"read s --shard 7", 3, "levada shard list s"},
		{"cluster remove-node nope", 3, "levada cluster nodes"},
		{"key create", 2, "--name"},
		{"key create --name a --allow Put*", 2, "--allow: \"Put*\" must be actions, a colon and streams"},
		{"key create --name a --allow Put*:", 2, "--allow: entry 1: has 0 streams, it must have 1 to 100"},
		{"key create --name a --allow *:* --allow a/b:*", 2, "--allow: entry 2: \"a/b\" of its actions must be 1 to 128"},
		{"key create --name a/b --allow *:*", 2, "--name: \"a/b\" must be 1 to 128 letters"},
		{"key create --name a --allow *:* --account 12", 2, "--account: \"12\" must be twelve digits"},
		{"key create --name a --allow *:* --tenant a;b", 2, "--tenant: \"a;b\" must be 0 to 128"},
		{"key delete nope", 3, "key \"nope\" does not exist\nlist the keys with: levada key list"},
		{"key delete nope --if-exists", 0, ""},
		{"stream list --tls-cert c", 2, "--tls-cert needs --tls-key"},
		{"put s --tls-key k", 2, "--tls-key needs --tls-cert"},
		{"stream list -o xml", 2, "xml"},
		{"cluster status", 0, ""},
		{"shard list s", 0, ""},
		{"shard list nope", 3, "nope"},
		{"bench put s --size huge", 2, "--size"},
		{"bench put s --producers 0", 2, "--producers"},
		{"bench put s --keys 0", 2, "--keys"},
		{"bench put s --size 0", 2, "--size"},
		{"bench put s --batch 0", 2, "--batch"},
		{"bench put s --batch 11MiB", 2, "--batch"},
		{"bench put s --in-flight 0", 2, "--in-flight"},
		{"bench put s --in-flight 33", 2, "--in-flight"},
		{"bench put s --duration 0s", 2, "--duration"},
		{"bench put s --duration=-1s", 2, "--duration"},
		{"bench put s --linger=-1ms", 2, "--linger"},
		{"bench put s --rate=-1", 2, "--rate"},
		{"bench put s --count=-1", 2, "--count"},
		{"bench read s --readers 0", 2, "--readers"},
		{"bench read s --max=-1", 2, "--max"},
		{"put s --rate=-1", 2, "--rate"},
		{"put s --rate=NaN", 2, "--rate"},
		{"put s --rate=Inf", 2, "--rate"},
		{"put s --key=", 2, "--key: a key must not be empty"},
		{"put s --key-field=", 2, "--key-field"},
		{"put s --key-regex=", 2, "--key-regex"},
		{"put s --shard=", 2, "--shard"},
		{"read s --shard=", 2, "--shard"},
		{"read s --max=-1", 2, "--max"},
	} {
		t.Run(tc.args, func(t *testing.T) {
			args := strings.Fields(tc.args)
			var o outcome
			if len(args) > 1 && !strings.Contains(tc.args, "help") {
				o = f.command(t.Context(), "", args...)
			} else {
				o = command(t.Context(), "", args...)
			}
			if o.code != tc.code || !strings.Contains(o.err, tc.says) {
				t.Errorf("code %d, want %d; %q should speak of %q", o.code, tc.code, o.err, tc.says)
			}
			if o.code != 0 && o.out != "" {
				t.Errorf("an error on standard output: %q", o.out)
			}
		})
	}
}

func TestUnhealthyAndUnreachable(t *testing.T) {
	f := newFakeCluster(t)
	f.unhealthy = []string{"shard 3 has no leader"}
	if o := f.command(t.Context(), "", "cluster", "status"); o.code != exitUnhealthy || !strings.Contains(o.out, "shard 3 has no leader") {
		t.Errorf("%+v", o)
	}
	o := command(t.Context(), "", "cluster", "status", "--endpoint", "127.0.0.1:1", "--timeout", "300ms")
	if o.code != exitUnhealthy || !strings.Contains(o.err, "127.0.0.1:1") || !strings.Contains(o.err, "levada dev") {
		t.Errorf("%+v", o)
	}
}

func TestReadLimitAndFollow(t *testing.T) {
	f := newFakeCluster(t)
	f.create(t, "s", 1)
	if o := f.command(t.Context(), "a\nb\nc\n", "put", "s", "--key", "k"); o.code != 0 {
		t.Fatalf("%+v", o)
	}
	if o := f.command(t.Context(), "", "read", "s", "--max", "2"); o.out != "a\nb\n" || o.code != 0 {
		t.Errorf("%+v", o)
	}
	if o := f.command(t.Context(), "", "read", "s", "--shard", "0", "--max", "1", "-o", "json"); !strings.Contains(o.out, `"ordinal":0`) {
		t.Errorf("%+v", o)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	within(t, "a read that follows and is interrupted", func() {
		if o := f.command(ctx, "", "read", "s", "--follow"); o.code != 0 || !strings.HasPrefix(o.out, "a\nb\nc\n") {
			t.Errorf("%+v", o)
		}
	})
}

func TestRecordFormats(t *testing.T) {
	hash, err := client.ParseHashKey("7")
	if err != nil {
		t.Fatal(err)
	}
	r := client.Record{PartitionKey: "k<1>", Data: []byte("d\"ü"), Shard: 3, Ordinal: 9, ApproxArrival: time.UnixMilli(fakeTime), ExplicitHashKey: &hash}
	binary := client.Record{PartitionKey: "k", Data: []byte{0xff, 0}, ApproxArrival: time.UnixMilli(0)}
	for _, tc := range []struct {
		format string
		record client.Record
		want   string
	}{
		{"raw", r, "d\"ü\n"},
		{"raw", binary, "\xff\x00\n"},
		{"json", r, `{"shard":"shard-000000000003","sequence":"0","ordinal":9,"time":"2026-11-23T07:00:00.000Z","key":"k<1>","hash_key":"7","data":"d\"ü"}` + "\n"},
		{"json", binary, `{"shard":"shard-000000000000","sequence":"0","ordinal":0,"time":"","key":"k","data_base64":"/wA="}` + "\n"},
		{"json", client.Record{PartitionKey: "k", ApproxArrival: time.UnixMilli(fakeTime)}, `{"shard":"shard-000000000000","sequence":"0","ordinal":0,"time":"2026-11-23T07:00:00.000Z","key":"k","data":""}` + "\n"},
		{"{{.Shard}} {{.Number}} {{.Ordinal}} {{.Key}} {{.HashKey}} {{.Data}} {{.Size}} {{.Time.Unix}}", r, "shard-000000000003 3 9 k<1> 7 d\"ü 4 1795417200\n"},
	} {
		format, err := newRecordFormat(tc.format)
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		if err := format(&out, tc.record); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tc.want, out.String()); diff != "" {
			t.Errorf("%s:\n%s", tc.format, diff)
		}
	}
}

func TestPositions(t *testing.T) {
	sequence := "108508768040858830365336005293230784513"
	for text, want := range map[string]string{
		"trim-horizon": "trim-horizon", "latest": "latest", "at:" + sequence: "at:" + sequence, "after:" + sequence: "after:" + sequence,
		"time:2026-11-23T08:00:00+01:00": "time:2026-11-23T07:00:00Z", "ordinal:5": "ordinal:5",
	} {
		if got, err := parsePosition(text); err != nil || got.String() != want {
			t.Errorf("%s: got %s, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "now", "latest:1", "at:", "at:5", "time:noon", "ordinal:-1", "after:" + sequence + "0"} {
		if _, err := parsePosition(text); exitCode(err) != exitUsage {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestTables(t *testing.T) {
	cluster := &levadav1.GetClusterResponse{
		ClusterId: "c-1", ClusterName: "prod", MetaLeader: "id-1", Streams: 2, Shards: 12, ShardsWithoutLeader: 1, Problems: []string{"shard 4 of s has no leader"},
		Nodes: []*levadav1.Node{
			{Id: "id-1", Name: "node1", State: "alive", GrpcAddress: "10.0.0.1:7400", HttpAddress: "10.0.0.1:7403", Zone: "a", DiskClass: "ssd", Replicas: 12, Leaders: 6, MetaVoter: true, Version: "0.1.0"},
			{Id: "id-2", Name: "node2", State: "unreachable", GrpcAddress: "10.0.0.2:7400"},
			{Id: "id-3", Name: "node1", State: "replaced", GrpcAddress: "10.0.0.1:7400"},
			{Id: "id-4", Name: "node4", State: "removed", GrpcAddress: "10.0.0.4:7400"},
		},
		Failovers: []*levadav1.Failover{{Stream: "s", Shard: 4, FromNode: "id-2", ToNode: "id-1", Term: 7, TimeMs: fakeTime}},
	}
	var out strings.Builder
	if err := printStatus(&out, cluster, false); err != nil {
		t.Fatal(err)
	}
	if err := printNodes(&out, cluster, false); err != nil {
		t.Fatal(err)
	}
	want := `cluster      prod (c-1)
health       NOT HEALTHY
problem      shard 4 of s has no leader
nodes        1 of 2 alive
meta leader  node1
streams      2
shards       12, 1 without leader

FAILOVER                  STREAM  SHARD               FROM   TO     TERM  REASON
2026-11-23T07:00:00.000Z  s       shard-000000000004  node2  node1  7     -
NAME   STATE        GRPC           HTTP           ZONE  DISK  REPLICAS  LEADERS  META     VERSION  ID
node1  alive        10.0.0.1:7400  10.0.0.1:7403  a     ssd   12        6        leader   0.1.0    id-1
node2  unreachable  10.0.0.2:7400  -              -     -     0         0        learner  -        id-2
node1  replaced     10.0.0.1:7400  -              -     -     0         0        -        -        id-3
node4  removed      10.0.0.4:7400  -              -     -     0         0        -        -        id-4
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestGrouped(t *testing.T) {
	for n, want := range map[uint64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", 18446744073709551615: "18,446,744,073,709,551,615"} {
		if got := grouped(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}

func TestCompletion(t *testing.T) {
	for _, tc := range []struct {
		words []string
		want  []string
	}{
		{[]string{"st"}, []string{"stream"}},
		{[]string{"stream", ""}, []string{"create", "delete", "describe", "list", "problem", "salt", "scale", "scaling"}},
		{[]string{"stream", "create", "x", "--sh"}, []string{"--shards"}},
		{[]string{"key", ""}, []string{"create", "delete", "list"}},
		{[]string{"key", "create", "--a"}, []string{"--account", "--allow"}},
		{[]string{"completion", ""}, []string{"bash", "fish", "zsh"}},
		{[]string{"put", "--key"}, []string{"--key", "--key-field", "--key-regex"}},
	} {
		o := command(t.Context(), "", append([]string{"__complete", "--"}, tc.words...)...)
		if diff := cmp.Diff(tc.want, strings.Fields(o.out)); diff != "" || o.code != 0 {
			t.Errorf("%q, code %d %s:\n%s", tc.words, o.code, o.err, diff)
		}
	}
	if all := strings.Fields(command(t.Context(), "", "__complete", "--", "").out); slices.Contains(all, "__complete") || !slices.Contains(all, "serve") {
		t.Errorf("commands offered: %v", all)
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if o := command(t.Context(), "", "completion", shell); !strings.Contains(o.out, "__complete") || o.code != 0 {
			t.Errorf("%s: %+v", shell, o)
		}
	}
}

func TestConfigCommands(t *testing.T) {
	o := command(t.Context(), "", "config", "print-defaults")
	if c, err := configs.Parse([]byte(o.out)); err != nil || cmp.Diff(configs.Defaults(), c) != "" {
		t.Errorf("the defaults printed do not read back: %v", err)
	}
	path := filepath.Join(t.TempDir(), "node.yaml")
	for text, want := range map[string]int{o.out: exitOK, "node:\n  colour: red\n": exitUsage, "tls: {grpc: true, cert: /no, key: /no}\n": exitUsage} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if o := command(t.Context(), "", "config", "check", path); o.code != want || want != 0 && !strings.Contains(o.err, path) {
			t.Errorf("%.40q: %+v", text, o)
		}
		if o := command(t.Context(), text, "config", "check", "-"); o.code != want {
			t.Errorf("%.40q from standard input: %+v", text, o)
		}
	}
}

func TestDevLayout(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dev")
	ports, err := chooseDevPorts(3)
	if err != nil {
		t.Fatal(err)
	}
	nodes := planDevNodes(dir, 3, ports)
	if err := writeDevNodes(dir, nodes); err != nil {
		t.Fatal(err)
	}
	again, err := devCommand{Nodes: 3, Data: dir}.layout()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(nodes, again, cmp.AllowUnexported(devNode{})); diff != "" {
		t.Errorf("the directory gives other nodes (+) than it was made with (-):\n%s", diff)
	}
	for _, c := range []devCommand{{Nodes: 5, Data: dir}, {Nodes: 3, Data: dir, BasePort: 1}, {Nodes: 0, Data: dir}, {Nodes: 3, Data: dir, BasePort: 65530}} {
		if _, err := c.layout(); exitCode(err) != exitUsage {
			t.Errorf("%+v: %v", c, err)
		}
	}
	listener, err := net.Listen("tcp", nodes[1].config.Listen.Raft)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if _, err := (devCommand{Nodes: 3, Data: dir}).layout(); err == nil || !strings.Contains(err.Error(), nodes[1].config.Listen.Raft+" of node2") {
		t.Errorf("a port in use gives %v", err)
	}
}

// TestDevNodesFromBeforeKinesis: they get an address each for the API that their files do not name, and keep it.
func TestDevNodesFromBeforeKinesis(t *testing.T) {
	dir := t.TempDir()
	nodes := planDevNodes(dir, 2, layoutFrom(configs.DefaultGRPCPort, configs.DefaultKinesisPort, 2))
	want := []string{nodes[0].config.Kinesis.Listen, nodes[1].config.Kinesis.Listen}
	for i := range nodes {
		nodes[i].config.Kinesis = configs.Defaults().Kinesis
	}
	if err := writeDevNodes(dir, nodes); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		again, err := existingDevNodes(dir)
		if err != nil || len(again) != 2 {
			t.Fatalf("%d nodes, %v", len(again), err)
		}
		for i, n := range again {
			if k := n.config.Kinesis; k.Listen != want[i] || !k.Anonymous {
				t.Errorf("node %d: %+v", i, k)
			}
		}
	}
	for i := range nodes {
		nodes[i].config.Kinesis.Listen = ""
	}
	if err := writeDevNodes(dir, nodes); err != nil {
		t.Fatal(err)
	}
	if again, err := existingDevNodes(dir); err != nil || again[0].config.Kinesis.Listen != "" {
		t.Errorf("nodes that do not serve it: %v, %v", again, err)
	}
}

func TestDevState(t *testing.T) {
	dir := t.TempDir()
	state := devState{Nodes: []devNodeState{
		{Name: "node1", PID: os.Getpid(), GRPC: "127.0.0.1:1", HTTP: "127.0.0.1:2", Config: "c"},
		{Name: "node2", PID: 1 << 30, GRPC: "127.0.0.1:3", HTTP: "127.0.0.1:4", Config: "d"},
	}}
	if err := writeDevState(dir, state); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, devFile))
	if err != nil {
		t.Fatal(err)
	}
	var shape map[string][]map[string]any
	if err := json.Unmarshal(text, &shape); err != nil || len(shape["nodes"]) != 2 {
		t.Fatalf("%s: %v", text, err)
	}
	for _, key := range []string{"name", "pid", "grpc", "http", "config"} {
		if _, ok := shape["nodes"][0][key]; !ok || len(shape["nodes"][0]) != 5 {
			t.Errorf("no %s, or more keys, in %s", key, text)
		}
	}
	if got := runningDevCluster(dir); !slices.Equal(got, []string{"127.0.0.1:1"}) {
		t.Errorf("running nodes %v", got)
	}
	if got := runningDevCluster(filepath.Join(dir, "absent")); got != nil {
		t.Errorf("nodes of an absent directory %v", got)
	}
}

// The binary that is typed answers, though it is not on the PATH.
func TestBashCompletesABinaryThatIsNotOnThePath(t *testing.T) {
	dir := t.TempDir()
	binary := "#!/bin/sh\necho \"$*\"\n"
	if err := os.WriteFile(filepath.Join(dir, "levada"), []byte(binary), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, self := range []string{"./levada", filepath.Join(dir, "levada"), "~/levada"} {
		script := bashCompletion + `complete -p ./levada levada >/dev/null || exit 9
COMP_WORDS=('` + self + `' stream cr) COMP_CWORD=2
_levada '` + self + `' cr stream
printf %s "${COMPREPLY[*]}"`
		bash := exec.Command("bash", "--norc", "-c", script)
		bash.Dir, bash.Env = dir, []string{"HOME=" + dir, "PATH=/usr/bin:/bin"}
		if out, err := bash.CombinedOutput(); err != nil || string(out) != "__complete -- stream cr" {
			t.Errorf("%s: %q, %v", self, out, err)
		}
	}
}
