package node

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the table of docs/metrics.md")

// TestMetricsPageIsCurrent holds the table of docs/metrics.md and the program together.
func TestMetricsPageIsCurrent(t *testing.T) {
	const (
		path  = "../docs/metrics.md"
		begin = "<!-- table: made by `go test ./node -run TestMetricsPageIsCurrent -update`, do not edit -->\n\n"
		end   = "\n<!-- end of table -->\n"
	)
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(page), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has lost the marks around its table", path)
	}
	var table strings.Builder
	table.WriteString("| metric | kind | meaning |\n|---|---|---|\n")
	for _, row := range metricTable {
		kind := "gauge"
		if row.counter {
			kind = "counter"
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s |\n", row.name, kind, row.help)
	}
	want := head + begin + table.String() + end + tail
	if want == string(page) {
		return
	}
	if !*update {
		t.Fatalf("%s is not current; run go test ./node -run TestMetricsPageIsCurrent -update:\n%s", path, cmp.Diff(string(page), want))
	}
	if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}
