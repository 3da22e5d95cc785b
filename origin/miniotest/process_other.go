//go:build !linux

package miniotest

import "syscall"

// attributes keep a Ctrl-C on the terminal from reaching the process before the test has ended it.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
