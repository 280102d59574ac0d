// Package failpoint marks the places at which a test may let a node die.
//
// In a program built without the tag failpoints a mark does nothing. With it, a node that passes the mark whose name is in the
// file named by LEVADA_FAILPOINT_FILE takes the file away, so that one node alone does it and does it once, and kills itself as a
// loss of power would: nothing is flushed, closed or said.
package failpoint
