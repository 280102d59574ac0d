package cluster

import (
	"fmt"
	"os"
	"strings"
)

// Tuning is what tests set differently from the defaults. The zero value makes
// everything small, so that a short run sees segments fill, the journal recycle and
// snapshots happen.
type Tuning struct {
	// Extra holds more lines of YAML by section ("storage" and so on), without indent. They
	// replace the tuning's own lines of that section. Those of "kinesis" stand after its address.
	Extra map[string][]string
}

// sections are written in this order; a key may be in one of them only.
var sections = [...]string{"kinesis", "storage", "raft", "limits", "log"}

// small are the settings of the zero Tuning.
func small(section string) []string {
	switch section {
	case "kinesis":
		return []string{"anonymous: true"}
	case "storage":
		return []string{
			"segment_bytes: 1MiB", "dirty_bytes_max: 16MiB", "flush_interval: 500ms",
			"journal_segment_bytes: 16MiB", "journal_bytes_max: 64MiB", "journal_cache_bytes: 4MiB", "read_cache_bytes: 4MiB",
		}
	case "raft":
		return []string{"snapshot_entries: 256"}
	case "limits":
		return []string{"shutdown_timeout: 5s"}
	}
	return []string{"level: info"}
}

// write writes the node's configuration file.
func (n *Node) write(clusterName string, expect int, seeds []string, tuning Tuning) error {
	var b strings.Builder
	fmt.Fprintf(&b, "cluster:\n  name: %s\n  expect_nodes: %d\n", clusterName, expect)
	fmt.Fprintf(&b, "node:\n  name: %s\n  data_dir: %s\n", n.Name, n.Data)
	fmt.Fprintf(&b, "listen:\n  grpc: %s\n  raft: %s\n  gossip: %s\n  http: %s\n", n.GRPC, n.Raft, n.Gossip, n.HTTP)
	if n.advertised != "" {
		fmt.Fprintf(&b, "advertise:\n  raft: %s\n", n.advertised)
	}
	fmt.Fprintf(&b, "seeds:\n")
	for _, seed := range seeds {
		fmt.Fprintf(&b, "  - %s\n", seed)
	}
	for _, section := range sections {
		lines, ok := tuning.Extra[section]
		if !ok {
			lines = small(section)
		}
		if section == "kinesis" {
			lines = append([]string{"listen: " + n.Kinesis}, lines...)
		}
		if len(lines) > 0 {
			fmt.Fprintf(&b, "%s:\n  %s\n", section, strings.Join(lines, "\n  "))
		}
	}
	if lines := tuning.Extra["tls"]; len(lines) > 0 { // only tests that make certificates have some
		fmt.Fprintf(&b, "tls:\n  %s\n", strings.Join(lines, "\n  "))
	}
	return os.WriteFile(n.Config, []byte(b.String()), 0o600)
}
