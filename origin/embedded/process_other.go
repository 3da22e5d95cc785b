//go:build !linux

package embedded

import "syscall"

// childAttributes puts the child into a process group of its own. That it ends with us is left to the pipe on its standard input.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
