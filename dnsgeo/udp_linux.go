//go:build linux && (amd64 || arm64)

package dnsgeo

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// batchSize is how many packets are read and answered by one pair of system calls, at most.
const batchSize = 32

// The sizes of a packet's buffers in bytes.
const (
	inSize      = 4096 // a query has a name of 255 and some options
	controlSize = 128  // a socket of both families gets the destination twice
)

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32 // bytes received, or sent
	_   [4]byte
}

// udpSockets opens n sockets for one address, among which the kernel shares the clients out (SO_REUSEPORT, socket(7)).
func udpSockets(address *net.UDPAddr, n int) (socks []*net.UDPConn, err error) {
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
		return errors.Join(err, failed)
	}}
	// The first one does not share: a port that somebody else has is an error, as it would be for any server.
	first, err := net.ListenUDP("udp", address)
	if err != nil {
		return nil, err
	}
	if n == 1 {
		return []*net.UDPConn{first}, nil
	}
	address = first.LocalAddr().(*net.UDPAddr)
	if err := first.Close(); err != nil {
		return nil, err
	}
	for range n {
		c, err := config.ListenPacket(context.Background(), "udp", address.String())
		if err != nil {
			return nil, errors.Join(err, closeAll(socks))
		}
		socks = append(socks, c.(*net.UDPConn))
	}
	return socks, nil
}

// worker serves one socket.
type worker struct {
	a    answerer
	raw  syscall.RawConn
	anew bool // the socket is bound to all addresses: the answer must leave from the one that was asked

	recv, send  [batchSize]mmsghdr
	iov, oiov   [batchSize]unix.Iovec
	from        [batchSize]unix.RawSockaddrInet6
	control     [batchSize][controlSize]byte
	in          [batchSize][inSize]byte
	out         [batchSize][maxUDP]byte
	count, sent int
	errno       syscall.Errno
	// read and write are receive and transmit as the poller calls them: made once, so that no call allocates.
	read, write func(fd uintptr) bool
}

// serveSocket answers the packets of socket number index until ctx ends.
func (s *Server) serveSocket(ctx context.Context, index int, conn *net.UDPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("serve UDP: %w", err)
	}
	w := &worker{a: answerer{s: s, index: index}, raw: raw, anew: conn.LocalAddr().(*net.UDPAddr).IP.IsUnspecified()}
	w.read, w.write = w.receive, w.transmit
	for i := range w.recv {
		w.iov[i].Base = &w.in[i][0]
		w.oiov[i].Base = &w.out[i][0]
	}
	for {
		err := w.raw.Read(w.read)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("read UDP: %w", err)
		case err == nil && w.errno == 0:
			w.answer()
			continue
		case err == nil:
			err = w.errno
		case errors.Is(err, os.ErrDeadlineExceeded):
			continue
		}
		s.log.Warn("dns: read UDP", "err", err)
		s.pause(ctx)
	}
}

// receive reads a batch; false when there is nothing yet.
func (w *worker) receive(fd uintptr) bool {
	for i := range w.recv {
		h := &w.recv[i].hdr
		w.iov[i].SetLen(inSize)
		h.Iov, h.Iovlen = &w.iov[i], 1
		h.Name, h.Namelen = (*byte)(unsafe.Pointer(&w.from[i])), unix.SizeofSockaddrInet6
		h.Control, h.Controllen, h.Flags = nil, 0, 0
		if w.anew {
			h.Control = &w.control[i][0]
			h.SetControllen(controlSize)
		}
	}
	for {
		n, _, errno := syscall.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&w.recv[0])), batchSize, unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case unix.EINTR, unix.ECONNREFUSED: // the latter is about an earlier answer, to somebody who has gone
			continue
		case unix.EAGAIN:
			return false
		}
		w.count, w.errno = int(n), errno
		return true
	}
}

// answer answers the batch.
func (w *worker) answer() {
	w.a.begin()
	out := 0
	for i := range w.count {
		from, ok := addrPort(&w.from[i])
		if !ok {
			continue
		}
		if n := w.a.answer(w.in[i][:w.recv[i].n], from, w.out[out][:]); n > 0 {
			w.oiov[out].SetLen(n)
			w.address(out, i)
			out++
		}
	}
	w.a.end()
	for w.sent = 0; w.sent < out; {
		w.count = out
		if err := w.raw.Write(w.write); err != nil {
			return
		}
		if w.errno != 0 {
			w.a.s.log.Debug("dns: write UDP", "err", w.errno)
			w.sent++ // this one cannot be sent, others may
		}
	}
}

// address has answer number out sent to whom packet number in came from.
func (w *worker) address(out, in int) {
	h, r := &w.send[out].hdr, &w.recv[in].hdr
	h.Iov, h.Iovlen = &w.oiov[out], 1
	h.Name, h.Namelen = r.Name, r.Namelen
	h.Control, h.Controllen = r.Control, r.Controllen
	if h.Controllen == 0 {
		h.Control = nil
		return
	}
	anyInterface(w.control[in][:h.Controllen])
}

// anyInterface turns the control message that says where a packet came in into one that says which address the answer leaves from (ip(7), ipv6(7)): the
// way back is the routing table's to choose, except for link-local addresses.
func anyInterface(b []byte) {
	for len(b) >= unix.SizeofCmsghdr {
		c := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
		n := int(c.Len)
		if n < unix.SizeofCmsghdr || n > len(b) {
			return
		}
		data := b[unix.CmsgLen(0):n]
		switch {
		case c.Level == unix.IPPROTO_IP && c.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			clear(data[:4])
		case c.Level == unix.IPPROTO_IPV6 && c.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			if data[0] != 0xfe || data[1]&0xc0 != 0x80 {
				clear(data[16:20])
			}
		}
		b = b[min(unix.CmsgSpace(n-unix.SizeofCmsghdr), len(b)):]
	}
}

// transmit sends what is left of the batch; false when the socket takes nothing at the moment.
func (w *worker) transmit(fd uintptr) bool {
	for {
		n, _, errno := syscall.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&w.send[w.sent])), uintptr(w.count-w.sent), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case unix.EINTR, unix.ECONNREFUSED:
			continue
		case unix.EAGAIN:
			return false
		case 0:
			w.sent += int(n)
		}
		w.errno = errno
		return true
	}
}

// addrPort returns whom a packet came from.
func addrPort(sa *unix.RawSockaddrInet6) (netip.AddrPort, bool) {
	switch sa.Family {
	case unix.AF_INET:
		four := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom4(four.Addr), port(four.Port)), true
	case unix.AF_INET6:
		a := netip.AddrFrom16(sa.Addr)
		if sa.Scope_id != 0 && a.IsLinkLocalUnicast() {
			a = a.WithZone(strconv.Itoa(int(sa.Scope_id)))
		}
		return netip.AddrPortFrom(a.Unmap(), port(sa.Port)), true
	}
	return netip.AddrPort{}, false
}

// port reads a port in network order.
func port(n uint16) uint16 {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], n)
	return binary.BigEndian.Uint16(b[:])
}
