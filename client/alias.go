package client

import "unsafe"

// The two conversions below share memory between a string and bytes that
// nobody writes to any more. They save a copy and an allocation per record.

// stringBytes returns the bytes of s, which must only be read.
func stringBytes(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// bytesString returns b as a string; b must never change again.
func bytesString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
