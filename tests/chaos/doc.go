// Package chaos holds the test that runs a cluster of real processes under load
// while a nemesis kills, pauses, restarts and wipes them, and then judges from outside whether
// every promise was kept. docs/testing.md lists the promises and the faults.
//
//	go test ./tests/chaos -run TestChaos -chaos.seed=7 -chaos.seconds=60
package chaos
