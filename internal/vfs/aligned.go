package vfs

import (
	"fmt"
	"unsafe"
)

func alignedBuffer(n int) []byte {
	if n < 0 || n%BlockSize != 0 {
		panic(fmt.Sprintf("vfs: aligned buffer of %d bytes: not a multiple of %d", n, BlockSize))
	}
	if n == 0 {
		return nil
	}
	raw := make([]byte, n+BlockSize)
	skip := 0
	if rest := int(uintptr(unsafe.Pointer(unsafe.SliceData(raw))) % BlockSize); rest != 0 {
		skip = BlockSize - rest
	}
	return raw[skip : skip+n : skip+n]
}

// Aligned reports whether a write of b at off obeys the rule of direct files.
func Aligned(b []byte, off int64) bool {
	if len(b)%BlockSize != 0 || off%BlockSize != 0 {
		return false
	}
	return len(b) == 0 || uintptr(unsafe.Pointer(unsafe.SliceData(b)))%BlockSize == 0
}
