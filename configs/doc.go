// Package configs holds the settings of one node: their types, defaults,
// limits, documentation and ready-made files.
//
// A configuration is read from strict YAML (an unknown key is refused with its
// place in the file), then overridden by environment variables, then validated;
// what Load returns is complete and within its limits. The table in keys.go is
// the one source of every key's documentation: the commented defaults, the page
// docs/configuration.md and the limits are made from it, and tests hold it
// against the structs.
//
// The package reads files (configuration, key and certificate files) and
// nothing else; it starts no goroutine.
package configs
