//go:build !linux

package main

import "syscall"

// childAttributes keep the terminal's Ctrl-C from a child: this process ends it.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
