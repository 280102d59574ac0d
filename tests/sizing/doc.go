// Command sizing says what a cluster of Levada needs, by arithmetic over measured figures, and
// measures the figures.
//
//	go run ./tests/sizing plan -nodes 100 -shards 100000 -mbps 1000   # what each node would need, and what runs out first
//	go run ./tests/sizing state -nodes 100 -shards 100000             # measures the control state of such a cluster, by its real code
//	go run ./tests/sizing idle -dir /tmp -base-port 41000             # measures idle and used shards on three nodes of this machine
//
// The defaults of plan are the figures of docs/sizing.md; each is a flag. Nothing in this program
// fails because a machine is slow.
package main
