// Package archtest holds the rules of this repository that a machine can
// check, as tests: who may import whom, documentation, sizes, and what must
// not be written. It reads the source tree with go/parser alone and is imported by nobody.
//
// The tables are data with reasons. A change that needs another row is a
// decision: write down why in the row.
package archtest
