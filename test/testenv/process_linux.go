package testenv

import "syscall"

// dieWithTest makes the kernel end a process when the test binary dies.
func dieWithTest() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
