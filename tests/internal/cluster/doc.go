// Package cluster runs real Levada processes for tests: it builds the binary
// once, writes configuration files for nodes on loopback with free ports, starts
// the nodes, and does to them what happens to machines: kill -9, stop and continue,
// orderly shutdown, restart, a wiped disk.
//
// It sees the nodes only from outside: through their files, ports and API. It only ever signals
// processes that it started itself, and none of them outlives
// the test process (on Linux the kernel sees to that). Every wait has a bound.
//
// When a test fails the directory with configurations, data and logs is kept and named, and
// the end of every node's log is printed.
package cluster
