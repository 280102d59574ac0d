package configs

import (
	"bytes"
	"flag"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the generated part of docs/configuration.md")

// leaves returns the paths of all settings that a struct type holds.
func leaves(t reflect.Type, prefix string) []string {
	var paths []string
	for f := range t.Fields() {
		path := prefix + f.Tag.Get("yaml")
		if f.Type.Kind() == reflect.Struct {
			paths = append(paths, leaves(f.Type, path+".")...)
			continue
		}
		paths = append(paths, path)
	}
	return paths
}

func TestTableAndStructsAgree(t *testing.T) {
	var table []string
	for _, k := range Keys() {
		table = append(table, k.Path)
		if !strings.HasSuffix(k.Doc, ".") && !strings.HasSuffix(k.Doc, ")") || len(k.Doc) < 10 {
			t.Errorf("%s: documentation %q is no sentence", k.Path, k.Doc)
		}
	}
	if diff := cmp.Diff(leaves(reflect.TypeFor[Config](), ""), table); diff != "" {
		t.Errorf("keys of the structs (-) and of the table (+):\n%s", diff)
	}
	var sections []string
	for _, path := range table {
		section, _, _ := strings.Cut(path, ".")
		if !slices.Contains(sections, section) {
			sections = append(sections, section)
		}
	}
	var documented []string
	for _, s := range sectionDocs {
		documented = append(documented, s.name)
	}
	if diff := cmp.Diff(sections, documented); diff != "" {
		t.Errorf("sections of the table (-) and documented ones (+):\n%s", diff)
	}
}

func TestRenderedDefaultsParseBack(t *testing.T) {
	rendered := RenderYAML(Defaults())
	c, err := Parse(rendered)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Defaults(), c); diff != "" {
		t.Errorf("defaults (-) and their rendered form read back (+):\n%s", diff)
	}
	for line := range bytes.Lines(rendered) {
		if len(line) > 130 && bytes.HasPrefix(bytes.TrimSpace(line), []byte("#")) {
			t.Errorf("comment does not wrap: %s", line)
		}
	}
}

func TestRenderKeepsEveryValue(t *testing.T) {
	c := Defaults()
	c.Cluster.SecretKey = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"
	c.Node.Name, c.Node.Zone = "007", "on"
	c.Node.DataDir = `/tmp/with "quotes", a # and a: colon/ünïcode`
	c.Node.Labels = map[string]string{"rack": "12", "owner": "a: b"}
	c.Seeds = []string{"10.0.0.1:7402", "[::1]:7402"}
	c.TLS = TLS{CA: "ca.pem", Cert: "c.pem", Key: "k.pem", ClientAuth: "require", ServerName: "x", GRPC: true, Raft: true, HTTP: true, Kinesis: true}
	c.Kinesis = Kinesis{AccountID: "012345678901", Region: "eu-central-1", Anonymous: true, KeysFile: "keys.yaml", Limits: "kinesis"}
	c.Storage.SegmentBytes, c.Storage.FlushInterval = 3*MiB+1, Duration(1500*1e6)
	back, err := Parse(RenderYAML(c))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(c, back); diff != "" {
		t.Errorf("written (-) and read back (+):\n%s", diff)
	}
}

const (
	beginMark = "<!-- keys: made by `go test ./configs -update`, do not edit -->\n\n"
	endMark   = "\n\n<!-- end of keys -->\n"
)

func TestDocumentationIsCurrent(t *testing.T) {
	const path = "../docs/configuration.md"
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(page), beginMark)
	_, tail, ok2 := strings.Cut(rest, endMark)
	if !ok || !ok2 {
		t.Fatalf("%s has lost the marks around its generated part", path)
	}
	want := head + beginMark + string(RenderMarkdown()) + endMark + tail
	if want == string(page) {
		return
	}
	if !*update {
		t.Fatalf("%s is not current; run go test ./configs -update:\n%s", path, cmp.Diff(string(page), want))
	}
	if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}
