package dnsload

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// batch is how many packets one system call moves, at most.
const batch = 64

// maxAnswer is the longest answer that is read, in bytes; what was asked for is shorter.
const maxAnswer = 1536

// receiveBuffer is what the socket may hold, in bytes: room for all that is outstanding, so that no answer is lost here.
const receiveBuffer = 4 << 20

// silence is how long receive waits, so that lost queries are noticed when nothing comes any more.
const silence = 20 * time.Millisecond

// mmsghdr is struct mmsghdr of recvmmsg(2). The compiler pads it as C does.
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32 // bytes received, or sent
}

// socket is a connected UDP socket that blocks: only what its peer sends is received.
type socket struct {
	fd         int
	out, in    [batch]mmsghdr
	oiov, iiov [batch]unix.Iovec
	buf        [batch][maxAnswer]byte
	// segments says that the kernel cuts one message into packets of equal length, by a control message: several packets then cost little more than one.
	segments bool
	control  [batch]segmentControl
}

// segmentControl is the control message UDP_SEGMENT of udp(7).
type segmentControl struct {
	unix.Cmsghdr
	size uint16 // of the packets, in bytes
	_    [6]byte
}

// dial opens a socket to addr.
func dial(addr string) (*socket, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, fmt.Errorf("server %q: %w", addr, err)
	}
	family, sa := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()})
	if to.Addr().Is4() {
		family, sa = unix.AF_INET, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open UDP socket: %w", err)
	}
	s := &socket{fd: fd}
	wait := unix.NsecToTimeval(silence.Nanoseconds())
	for _, err := range []error{
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait),
		unix.Connect(fd, sa),
	} {
		if err != nil {
			s.close()
			return nil, fmt.Errorf("open UDP socket to %s: %w", addr, err)
		}
	}
	s.segments = unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT, 0) == nil
	for i := range batch {
		s.iiov[i].Base = &s.buf[i][0]
		s.iiov[i].SetLen(maxAnswer)
		s.in[i].hdr.Iov, s.in[i].hdr.Iovlen = &s.iiov[i], 1
		s.out[i].hdr.Iov, s.out[i].hdr.Iovlen = &s.oiov[i], 1
	}
	return s, nil
}

func (s *socket) close() { unix.Close(s.fd) }

// queue makes b packet number i of the next batch. It must not change before the batch is sent.
func (s *socket) queue(i int, b []byte) {
	s.oiov[i].Base = &b[0]
	s.oiov[i].SetLen(len(b))
}

// send sends the first n packets that are queued, in an order of its own. What nobody receives is lost, and no error.
func (s *socket) send(n int) error {
	messages := n
	if s.segments {
		messages = s.join(n)
	}
	for sent := 0; sent < messages; {
		k, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&s.out[sent])), uintptr(messages-sent), 0, 0, 0)
		switch errno {
		case 0:
			sent += int(k)
		case unix.EINTR, unix.ECONNREFUSED: // the latter is about an earlier packet
		default:
			return fmt.Errorf("send UDP: %w", errno)
		}
	}
	return nil
}

// join makes one message of all packets of a length, and returns how many messages there are.
func (s *socket) join(n int) (messages int) {
	queued := s.oiov[:n]
	slices.SortFunc(queued, func(a, b unix.Iovec) int { return cmp.Compare(a.Len, b.Len) })
	for first := 0; first < n; messages++ {
		end := first + 1
		for end < n && queued[end].Len == queued[first].Len {
			end++
		}
		h, c := &s.out[messages].hdr, &s.control[messages]
		h.Iov = &queued[first]
		h.SetIovlen(end - first)
		c.Level, c.Type, c.size = unix.SOL_UDP, unix.UDP_SEGMENT, uint16(queued[first].Len)
		c.SetLen(unix.CmsgLen(2))
		h.Control = (*byte)(unsafe.Pointer(c))
		h.SetControllen(unix.CmsgSpace(2))
		first = end
	}
	return messages
}

// receive waits for packets and returns how many came, at most batch; none when nothing came for a while.
func (s *socket) receive() (int, error) {
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&s.in[0])), batch, unix.MSG_WAITFORONE, 0, 0)
	switch errno {
	case 0:
		return int(n), nil
	case unix.EINTR, unix.EAGAIN, unix.ECONNREFUSED:
		return 0, nil
	}
	return 0, fmt.Errorf("receive UDP: %w", errno)
}

// packet returns packet number i of those received; the next receive overwrites it.
func (s *socket) packet(i int) []byte { return s.buf[i][:s.in[i].n] }

// threadCPU returns the processor time that this thread has used.
func threadCPU() (time.Duration, error) {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
		return 0, fmt.Errorf("read what the load took: %w", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}
