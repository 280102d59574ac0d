package configs

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A variable wins over the file also where the file says it in the other way.
func TestSecretVariableWinsOverEitherKey(t *testing.T) {
	const inFile, inEnv = "MDEyMzQ1Njc4OWFiY2RlZg==", "ZmVkY2JhOTg3NjU0MzIxMA=="
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	keyFile := write("key", inEnv)
	for _, c := range []struct{ yaml, name, value string }{
		{"cluster: {secret_key: \"" + inFile + "\"}", "LEVADA_CLUSTER_SECRET_KEY_FILE", keyFile},
		{"cluster: {secret_key_file: \"" + write("other", inFile) + "\"}", "LEVADA_CLUSTER_SECRET_KEY", inEnv},
	} {
		got, err := Load(write("c.yaml", c.yaml), func(name string) (string, bool) { return c.value, name == c.name })
		if err != nil || got.Cluster.SecretKey.Reveal() != inEnv {
			t.Errorf("%s over %s: %q, %v", c.name, c.yaml, got.Cluster.SecretKey.Reveal(), err)
		}
	}
}

func TestUnknownEnv(t *testing.T) {
	got := UnknownEnv([]string{
		"PATH=/bin", "LEVADA_LISTEN_GRPC=a:1", "LEVADA_LISTEN_GPRC=b:1", "LEVADA_ENDPOINT=x", "LEVADA_TLS_CA=f", "LEVADA_CONFIG=f", "LEVADA_RAFT_COMMIT=1s",
	})
	if want := []string{"LEVADA_LISTEN_GPRC", "LEVADA_RAFT_COMMIT"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
