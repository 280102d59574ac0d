package configs

import "embed"

// Examples holds ready-made files for three peers on one machine: node1.yaml,
// node2.yaml and node3.yaml.
//
//go:embed node1.yaml node2.yaml node3.yaml
var Examples embed.FS
