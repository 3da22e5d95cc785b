package embedded

import "syscall"

// childAttributes ties the child to this process: the kernel kills it when we end. Killing is right, as there is nothing left
// to be told and nothing acknowledged to be lost, and the directory is free at once for whoever comes next.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
