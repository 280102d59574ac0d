package main

import "syscall"

// childAttributes make the kernel kill a child when this process dies, however
// it dies, and keep the terminal's Ctrl-C from reaching it first.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
