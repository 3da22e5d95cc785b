// Package program runs the programs that a benchmark compares, each on cores of its own, and reads from /proc what they use. It knows nothing of what they do.
//
// Life cycle: Start starts a program, which dies with the benchmark whatever happens to that; Kill ends it, with all that it has started, and waits.
package program

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Program is a program that was started, with its output in a file.
type Program struct {
	cmd  *exec.Cmd
	done chan struct{}
}

// Start runs a program on some cores, as taskset names them ("0", "1-3"), with its output added to the file log.
func Start(cores, log string, args ...string) (*Program, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p := &Program{cmd: exec.Command("taskset", append([]string{"-c", cores}, args...)...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// Kill ends the program and what it has started, as kill -9 does. A nil Program is none.
func (p *Program) Kill() {
	if p == nil {
		return
	}
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.done
}

// Ended reports whether the program has ended by itself.
func (p *Program) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// tree returns the program's process and its descendants.
func (p *Program) tree() []int {
	parents := map[int]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, s := range stats {
		if f := statFields(s); len(f) > 1 {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(s)))
			parents[pid], _ = strconv.Atoi(f[1])
		}
	}
	out := []int{p.cmd.Process.Pid}
	for i := 0; i < len(out); i++ {
		for pid, parent := range parents {
			if parent == out[i] {
				out = append(out, pid)
			}
		}
	}
	return out
}

// statFields returns the fields of a /proc/PID/stat behind the name, the state first.
func statFields(path string) []string {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
}

// tick is the unit of CPU times in /proc, which Linux fixes for programs.
const tick = 10 * time.Millisecond

// CPU returns the CPU time, user and system, that programs have used, to a hundredth of a second.
func CPU(all ...*Program) time.Duration {
	var sum time.Duration
	for _, p := range all {
		for _, pid := range p.tree() {
			sum += CPUOf(pid)
		}
	}
	return sum
}

// CPUOf returns the CPU time, user and system, that one process has used, to a hundredth of a second; 0 if there is no such process.
func CPUOf(pid int) time.Duration {
	f := statFields(fmt.Sprintf("/proc/%d/stat", pid))
	if len(f) <= 12 {
		return 0
	}
	u, _ := strconv.Atoi(f[11])
	s, _ := strconv.Atoi(f[12])
	return time.Duration(u+s) * tick
}

// Memory returns the resident memory of programs in bytes: all of it, and what is theirs alone (anonymous, neither shared nor a file).
func Memory(all ...*Program) (resident, anonymous int64) {
	for _, p := range all {
		for _, pid := range p.tree() {
			b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
			for line := range strings.SplitSeq(string(b), "\n") {
				key, v, _ := strings.Cut(line, ":")
				n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64)
				switch key {
				case "VmRSS":
					resident += n << 10
				case "RssAnon":
					anonymous += n << 10
				}
			}
		}
	}
	return resident, anonymous
}

// FreeAddr returns an address of 127.0.0.1 whose port is free, for UDP and TCP.
func FreeAddr() (string, error) {
	for range 100 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		addr := ln.Addr().String()
		conn, err := net.ListenPacket("udp", addr)
		ln.Close()
		if err == nil {
			conn.Close()
			return addr, nil
		}
	}
	return "", errors.New("no port of 127.0.0.1 is free for both UDP and TCP")
}

// FirstLine returns the first line of what a command prints, such as its version.
func FirstLine(name string, args ...string) string {
	out, _ := exec.Command(name, args...).CombinedOutput()
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line)
}
