// Package history judges what a test run wrote and read against the promises
// of Levada: acknowledged records stay, in order, once, the same everywhere.
//
// It is pure: no goroutine, clock, disk or socket. A test records a [Stream]
// while it runs, fills in what every replica holds after the cluster healed, and asks
// [Check] and [CheckLinear]. The time taken grows linearly with the number of records (sorting
// for [CheckStalls] and [CheckLinear] apart), so that histories of millions are fine.
//
// The invariants carry the names used in docs/testing.md. For each of them the
// tests of this package hold a history that breaks it and nothing else.
package history
