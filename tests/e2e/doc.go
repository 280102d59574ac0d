// Package e2e holds tests of whole clusters of real processes: the README's tour through the
// command line, and the list of bad input and trouble, each of which must
// give a named error or be dropped, and harm nobody else.
package e2e
