//go:build !linux

package testenv

import "syscall"

// dieWithTest has nothing to offer here: a killed test binary leaves its
// server behind.
func dieWithTest() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }
