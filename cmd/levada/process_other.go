//go:build !linux

package main

import "syscall"

// childAttributes keeps the terminal's Ctrl-C from a child: the parent decides
// the order. That the child dies with the parent is left to its standard input.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
