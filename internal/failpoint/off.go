//go:build !failpoints

package failpoint

// Here is a mark.
func Here(string) {}
