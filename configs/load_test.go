package configs

import (
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func noEnv(string) (string, bool) { return "", false }

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "node.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDefaultsAreValid(t *testing.T) {
	c, err := Load("", noEnv)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Defaults(), c); diff != "" {
		t.Errorf("an empty configuration is not the defaults:\n%s", diff)
	}
}

func TestReadyMadeFiles(t *testing.T) {
	names, err := fs.Glob(Examples, "*.yaml")
	if err != nil || len(names) != 3 {
		t.Fatalf("embedded files %v, error %v", names, err)
	}
	ports, dirs := map[string]string{}, map[string]string{}
	for _, name := range names {
		c, err := Load(name, noEnv)
		if err != nil {
			t.Fatal(err)
		}
		if w := c.Warnings(); len(w) != 0 {
			t.Errorf("%s: warnings %v", name, w)
		}
		for _, a := range []string{c.Listen.GRPC, c.Listen.Raft, c.Listen.Gossip, c.Listen.HTTP, c.Kinesis.Listen} {
			if ports[a] != "" {
				t.Errorf("%s and %s both listen on %s", ports[a], name, a)
			}
			ports[a] = name
		}
		if dirs[c.Node.DataDir] != "" {
			t.Errorf("%s and %s share %s", dirs[c.Node.DataDir], name, c.Node.DataDir)
		}
		dirs[c.Node.DataDir] = name
		seeded := false
		for _, s := range c.Seeds {
			seeded = seeded || s == c.Listen.Gossip
		}
		if !seeded || len(c.Seeds) != 3 {
			t.Errorf("%s: seeds %v do not name the three nodes", name, c.Seeds)
		}
	}
}

func TestPartialFileKeepsDefaults(t *testing.T) {
	c, err := Parse([]byte("storage:\n  segment_bytes: 64MiB\n  flush_interval: 1d\nseeds:\nraft:\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := Defaults()
	want.Storage.SegmentBytes = 64 * MiB
	want.Storage.FlushInterval = Duration(24 * time.Hour)
	if diff := cmp.Diff(want, c); diff != "" {
		t.Error(diff)
	}
}

func TestBadFilesNameTheirFault(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"unknown key", "node:\n  name: a\n  zonee: b\n", "zonee"},
		{"unknown key shows its line", "node:\n  name: a\n  zonee: b\n", "[3:3]"},
		{"unknown section", "nodes: {}\n", "nodes"},
		{"repeated key", "node:\n  name: a\n  name: b\n", "[3:3]"},
		{"size", "storage:\n  segment_bytes: lots\n", "not a size"},
		{"size without unit is bytes", "storage:\n  segment_bytes: 100\n", "storage.segment_bytes: 100B is outside its limits, 1MiB to 64GiB"},
		{"duration", "raft:\n  heartbeat: fast\n", "not a duration"},
		{"duration without unit", "raft:\n  heartbeat: 500\n", "not a duration"},
		{"size names its key", "storage:\n  segment_bytes: lots\n", "[2:18] storage.segment_bytes: \"lots\" is not a size"},
		{"duration names its key", "log:\n  level: info\nraft:\n  heartbeat: fast\n", "[4:14] raft.heartbeat: \"fast\" is not a duration"},
		{"quantity that is a list", "storage:\n  segment_bytes: [1MiB]\n", "[2:18] storage.segment_bytes: must be one value"},
		{"wrong type", "seeds: 5\n", "[1:8]"},
		{"syntax", "node: [\n", "[1:"},
		{"enum", "storage:\n  direct_io: maybe\n", `storage.direct_io: "maybe" is not one of auto, on, off`},
		{"role", "node:\n  roles: [storage, king]\n", `node.roles: "king"`},
		{"no role", "node:\n  roles: []\n", "node.roles"},
		{"count", "cluster:\n  expect_nodes: 0\n", "cluster.expect_nodes: 0 is outside its limits, 1 to 1000"},
		{"address", "listen:\n  grpc: localhost\n", "listen.grpc"},
		{"port", "listen:\n  grpc: localhost:70000\n", "listen.grpc"},
		{"same address twice", "listen:\n  grpc: 127.0.0.1:7401\n", "listen.raft: 127.0.0.1:7401 is the address of listen.grpc already"},
		{"the same for another API", "kinesis:\n  listen: 127.0.0.1:7400\n", "kinesis.listen: 127.0.0.1:7400 is the address of listen.grpc already"},
		{"account", "kinesis:\n  account_id: \"1234\"\n", "kinesis.account_id"},
		{"region", "kinesis:\n  region: \"\"\n", "kinesis.region"},
		{"rates", "kinesis:\n  limits: some\n", "kinesis.limits: \"some\" is not one of none, kinesis"},
		{"advertised wildcard", "advertise:\n  grpc: 0.0.0.0:7400\n", "advertise.grpc"},
		{"seed", "seeds: [\":7402\"]\n", "seeds"},
		{"gossip key", "cluster:\n  secret_key: c2hvcnQ=\n", "cluster.secret_key"},
		{"tls without files", "tls:\n  raft: true\n", "tls.cert"},
		{"tls without authority", "tls:\n  raft: true\n", "tls.ca"},
		{"lease", "raft:\n  leader_lease: 1500ms\n", "raft.leader_lease: 1.5s is above raft.heartbeat, 1s"},
		{"election", "raft:\n  election: 100ms\n", "raft.election"},
		{"journal", "storage:\n  journal_segment_bytes: 512MiB\n", "storage.journal_bytes_max"},
		{"name", "node:\n  name: a b\n", "node.name"},
		{"labels", "node:\n  labels: {a: " + strings.Repeat("x", 200) + "}\n", "the limit is 128"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := write(t, tc.text)
			_, err := Load(path, noEnv)
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v does not name the file and %q", err, tc.want)
			}
		})
	}
}

func TestEnvironmentOverrides(t *testing.T) {
	env := map[string]string{
		"LEVADA_LISTEN_GRPC": "10.1.1.1:1", "LEVADA_SEEDS": "a:1, b:2,", "LEVADA_NODE_NAME": "n9",
		"LEVADA_LOG_LEVEL": "debug", "LEVADA_CLUSTER_SECRET_KEY": "MDEyMzQ1Njc4OWFiY2RlZg==",
		"LEVADA_STORAGE_SEGMENT_BYTES": "1B", "LEVADA_ENDPOINT": "ignored here",
	}
	lookup := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	c, err := Load(write(t, "node:\n  name: n1\n"), lookup)
	if err != nil {
		t.Fatal(err)
	}
	want := Defaults()
	want.Listen.GRPC, want.Seeds, want.Node.Name, want.Log.Level = "10.1.1.1:1", []string{"a:1", "b:2"}, "n9", "debug"
	want.Cluster.SecretKey = "MDEyMzQ1Njc4OWFiY2RlZg=="
	if diff := cmp.Diff(want, c); diff != "" {
		t.Error(diff)
	}
	env["LEVADA_LOG_LEVEL"] = "loud"
	if _, err := Load("", lookup); err == nil || !strings.Contains(err.Error(), "log.level") {
		t.Errorf("a bad value from the environment gives %v", err)
	}
}

func TestEveryEnvironmentKeyCanBeSet(t *testing.T) {
	for _, k := range Keys() {
		if !k.Env {
			continue
		}
		c := Defaults()
		text := "x"
		if field(&c, k.Path).Kind() == reflect.Bool {
			text = "true"
		}
		err := c.ApplyEnv(func(name string) (string, bool) { return text, name == k.EnvName() })
		if err != nil || !strings.Contains(c.Value(k.Path), text) && !k.Secret {
			t.Errorf("%s set to %s is %s, error %v", k.EnvName(), text, c.Value(k.Path), err)
		}
	}
}

func TestSecretFromFileAndNeverShown(t *testing.T) {
	key := "MDEyMzQ1Njc4OWFiY2RlZg=="
	file := write(t, key+"\n")
	c, err := Load(write(t, "cluster:\n  secret_key_file: "+file+"\n"), noEnv)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Cluster.GossipKey(); err != nil || string(got) != "0123456789abcdef" {
		t.Errorf("gossip key %q, error %v", got, err)
	}
	for _, shown := range []string{c.Value("cluster.secret_key"), c.Cluster.SecretKey.String(), c.Cluster.SecretKey.GoString()} {
		if strings.Contains(shown, "MDEy") {
			t.Errorf("the secret shows in %s", shown)
		}
	}
	if _, err := Load(write(t, "cluster:\n  secret_key: "+key+"\n  secret_key_file: "+file+"\n"), noEnv); err == nil {
		t.Error("both a key and a key file are accepted")
	}
	if _, err := Load(write(t, "cluster:\n  secret_key_file: "+file+".absent\n"), noEnv); err == nil {
		t.Error("an absent key file is accepted")
	}
}

func TestWarnings(t *testing.T) {
	c := Defaults()
	c.Listen = Addresses{GRPC: "0.0.0.0:1", Raft: ":2", Gossip: "10.0.0.1:3", HTTP: "localhost:4"}
	text := strings.Join(c.Warnings(), "\n")
	for _, want := range []string{"listen.grpc", "listen.raft", "listen.gossip", "seeds"} {
		if !strings.Contains(text, want) {
			t.Errorf("no warning about %s in:\n%s", want, text)
		}
	}
	if strings.Contains(text, "listen.http") {
		t.Errorf("a warning about a port on loopback:\n%s", text)
	}
	if strings.Contains(text, "client_auth") {
		t.Errorf("a warning about clients that nobody asked to prove themselves:\n%s", text)
	}
	c.TLS.ClientAuth = "require"
	if text := strings.Join(c.Warnings(), "\n"); !strings.Contains(text, "tls.client_auth: require has no effect") {
		t.Errorf("no warning about clients that cannot be asked without TLS:\n%s", text)
	}
	c.TLS.GRPC = true
	if text := strings.Join(c.Warnings(), "\n"); strings.Contains(text, "client_auth") {
		t.Errorf("a warning though TLS is on:\n%s", text)
	}
}

// TestLibraryPanics: texts at which the YAML library panics are refused like others.
func TestLibraryPanics(t *testing.T) {
	if _, err := Parse([]byte("node: {name: a}\nseeds: !tag ")); err == nil || !strings.Contains(err.Error(), "cannot be read as YAML") {
		t.Errorf("a tag without a value is refused with %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(RenderYAML(Defaults()))
	f.Add([]byte("node: {name: a}\nseeds: [a:1]\n"))
	f.Add([]byte("storage:\n  segment_bytes: 9999999999TiB\n"))
	f.Add([]byte("100A: {0008: A}\nseeds: !0000 "))
	f.Fuzz(func(t *testing.T, source []byte) {
		c, err := Parse(source)
		if err != nil || c.Validate() != nil {
			return
		}
		back, err := Parse(RenderYAML(c))
		if err != nil {
			t.Fatalf("a valid configuration does not read back: %v", err)
		}
		if diff := cmp.Diff(c, back); diff != "" {
			t.Fatal(diff)
		}
	})
}
