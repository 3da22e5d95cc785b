package embedded

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"perigee/clock"
)

// process is one run of a child.
type process struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	said   chan announcement // one at most
	exited chan struct{}
	err    error // of Wait; set when exited is closed
}

// startProcess starts a child and the goroutines that read what it prints. They end when it does.
func startProcess(cfg ChildConfig) (*process, error) {
	p := &process{said: make(chan announcement, 1), exited: make(chan struct{})}
	p.cmd = exec.Command(cfg.Path, cfg.Args...)
	p.cmd.Env = append([]string{}, cfg.Env...) // nil would inherit ours
	p.cmd.SysProcAttr = childAttributes()
	p.cmd.WaitDelay = time.Second // should something else hold the pipes open
	p.cmd.Stdout = &lineWriter{line: func(line string) {
		if e, ok := parseEvent(line); ok {
			if cfg.Notify != nil {
				cfg.Notify(e)
			}
			return
		}
		a, ok := parseAnnouncement(line)
		if !ok {
			cfg.Log.Info("storage process", "text", line)
			return
		}
		select {
		case p.said <- a:
		default:
		}
	}}
	p.cmd.Stderr = &lineWriter{line: func(line string) { relay(cfg.Log, line) }}
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p.stdin = stdin
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// failure says how an exited child ended.
func (p *process) failure() error {
	select {
	case a := <-p.said:
		if a.err != nil {
			return a.err
		}
	default:
	}
	if p.err != nil {
		return fmt.Errorf("storage process: %w", p.err)
	}
	return fmt.Errorf("storage process: it ended by itself")
}

// stop asks the child to end, kills it if it does not, and waits.
func (p *process) stop(c clock.Clock) {
	p.cmd.Process.Signal(syscall.SIGTERM) // fails only when it is gone already
	p.stdin.Close()
	limit := c.NewTimer(stopWait)
	defer limit.Stop()
	select {
	case <-p.exited:
		return
	case <-limit.C():
	}
	p.cmd.Process.Signal(os.Kill)
	<-p.exited
}
