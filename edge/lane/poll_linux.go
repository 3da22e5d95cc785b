//go:build amd64 || arm64

package lane

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"
)

// The descriptors of connections are not in Go's network poller, and do not block; so these calls return at once and need not
// tell the scheduler, which would cost more than the calls.

// read reads from a connection; 0 is its end.
func read(fd int, p []byte) (int, syscall.Errno) {
	for {
		n, _, e := syscall.RawSyscall(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
		if e == syscall.EINTR {
			continue
		}
		if e != 0 {
			return 0, e
		}
		return int(n), 0
	}
}

// send sends to a connection; a broken one is an error, never a signal.
func send(fd int, p []byte) (int, syscall.Errno) {
	for {
		n, _, e := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
			syscall.MSG_NOSIGNAL, 0, 0)
		if e == syscall.EINTR {
			continue
		}
		if e != 0 {
			return 0, e
		}
		return int(n), 0
	}
}

// vector sends several pieces with one call. Its memory is kept from call to call, and is not on a stack, which may move.
type vector struct {
	iov []syscall.Iovec
	msg syscall.Msghdr
}

// maxPieces is far below IOV_MAX (1,024), as more would be sent in parts anyway.
const maxPieces = 64

// add adds a piece; it reports whether there is room for another one.
func (v *vector) add(p []byte) bool {
	if len(p) > 0 {
		n := len(v.iov)
		v.iov = append(v.iov, syscall.Iovec{Base: unsafe.SliceData(p)})
		v.iov[n].SetLen(len(p))
	}
	return len(v.iov) < maxPieces
}

// send sends the pieces and forgets them.
func (v *vector) send(fd int, more bool) (int, syscall.Errno) {
	flags := uintptr(syscall.MSG_NOSIGNAL)
	if more {
		flags |= msgMore
	}
	v.msg = syscall.Msghdr{Iov: unsafe.SliceData(v.iov), Iovlen: uint64(len(v.iov))}
	var n uintptr
	e := syscall.EINTR
	for e == syscall.EINTR {
		n, _, e = syscall.RawSyscall(syscall.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&v.msg)), flags)
	}
	v.msg.Iov = nil
	clear(v.iov)
	v.iov = v.iov[:0]
	if e != 0 {
		return 0, e
	}
	return int(n), 0
}

const (
	msgMore = 0x8000 // MSG_MORE of send(2), which package syscall lacks

	eventIn   = syscall.EPOLLIN
	eventOut  = syscall.EPOLLOUT
	eventPeer = syscall.EPOLLRDHUP                  // the client sends no more
	eventGone = syscall.EPOLLHUP | syscall.EPOLLERR // nor does it read
	eventEdge = 1 << 31                             // EPOLLET, which package syscall has as a negative number
)

// wakeSlot marks the events of the poller's own eventfd.
const wakeSlot = -1

// poller is an epoll descriptor, and an eventfd that ends a wait. Connections are watched by edge: nothing is called between
// requests, nor when a goroutine takes a connection over.
type poller struct {
	file   *os.File // the epoll descriptor, in Go's network poller: a wait parks the goroutine and holds no thread
	raw    syscall.RawConn
	fd     int
	event  int
	events [256]syscall.EpollEvent
	n      int
	poll   func(fd uintptr) bool // p.ready; made once, as each use as a value would allocate
	err    syscall.Errno
}

func newPoller() (*poller, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create epoll: %w", err)
	}
	p := &poller{fd: fd}
	p.poll = p.ready
	event, _, e := syscall.RawSyscall(syscall.SYS_EVENTFD2, 0, syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if e != 0 {
		syscall.Close(fd)
		return nil, fmt.Errorf("create eventfd: %w", e)
	}
	p.event = int(event)
	if err := p.control(syscall.EPOLL_CTL_ADD, p.event, eventIn, wakeSlot, 0); err != nil {
		syscall.Close(p.event)
		syscall.Close(fd)
		return nil, err
	}
	// Without this flag NewFile takes the descriptor for one that blocks, and would not watch it.
	if err := syscall.SetNonblock(fd, true); err != nil {
		syscall.Close(p.event)
		syscall.Close(fd)
		return nil, fmt.Errorf("prepare epoll: %w", err)
	}
	p.file = os.NewFile(uintptr(fd), "epoll")
	if p.raw, err = p.file.SyscallConn(); err != nil {
		p.close()
		return nil, fmt.Errorf("prepare epoll: %w", err)
	}
	return p, nil
}

func (p *poller) close() {
	p.file.Close()
	syscall.Close(p.event)
}

// control changes what is watched. slot and gen come back with each event.
func (p *poller) control(op, fd int, events uint32, slot, gen int32) error {
	ev := syscall.EpollEvent{Events: events, Fd: slot, Pad: gen}
	if err := syscall.EpollCtl(p.fd, op, fd, &ev); err != nil {
		return fmt.Errorf("control epoll: %w", err)
	}
	return nil
}

// watch begins to watch a connection for everything.
func (p *poller) watch(fd int, slot, gen int32) error {
	return p.control(syscall.EPOLL_CTL_ADD, fd, eventIn|eventOut|eventPeer|eventEdge, slot, gen)
}

// forget ends that, for a descriptor that lives on.
func (p *poller) forget(fd int) {
	// It cannot fail for a descriptor that is watched.
	_ = p.control(syscall.EPOLL_CTL_DEL, fd, 0, 0, 0)
}

// wait returns the events there are. It waits for the first one if park is set.
func (p *poller) wait(park bool) ([]syscall.EpollEvent, error) {
	if p.ready(0); p.n == 0 && park && p.err == 0 {
		if err := p.raw.Read(p.poll); err != nil {
			return nil, fmt.Errorf("wait for epoll: %w", err)
		}
	}
	if p.err != 0 {
		return nil, fmt.Errorf("wait for epoll: %w", p.err)
	}
	return p.events[:p.n], nil
}

// ready asks for events and reports whether there is something to return. The network poller was asked to watch before the
// first call, so an event after the call ends the wait that follows.
func (p *poller) ready(uintptr) bool {
	var n uintptr
	e := syscall.EINTR
	for e == syscall.EINTR {
		n, _, e = syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events)), uintptr(len(p.events)), 0, 0, 0)
	}
	p.n, p.err = int(n), e
	if e != 0 {
		p.n = 0
	}
	return p.n > 0 || e != 0
}

// wake ends a wait. It may be called by any goroutine.
func (p *poller) wake() {
	one := [8]byte{1, 1, 1, 1, 1, 1, 1, 1} // any number but 0 will do, in any byte order
	syscall.RawSyscall(syscall.SYS_WRITE, uintptr(p.event), uintptr(unsafe.Pointer(&one)), 8)
}

// woken takes the wake back.
func (p *poller) woken() {
	var b [8]byte
	syscall.RawSyscall(syscall.SYS_READ, uintptr(p.event), uintptr(unsafe.Pointer(&b)), 8)
}
