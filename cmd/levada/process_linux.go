package main

import "syscall"

// childAttributes makes a child die with its parent, whatever the parent dies
// of, and keeps the terminal's Ctrl-C from it: the parent decides the order.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
