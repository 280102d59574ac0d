// Command levada is the whole of Levada in one binary: a node (serve), a
// cluster of nodes on this machine (dev), and the tools that work with a
// cluster from outside (stream, put, read, shard, cluster, bench) or with files
// on this machine (config, wal).
//
// Each command is one file that turns flags into calls of configs, node, client
// or wal; what remains here is formatting and the counting that a command reports. Results go
// to standard output, everything else to standard error. Exit codes: 0 done,
// 1 failed, 2 wrong usage, 3 not found, 10 cluster unhealthy or unreachable.
package main
