package dnsgeo

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// stream is one connection.
type stream struct {
	*Server
	net.Conn  // what is read from and written to: socket, or TLS over it
	socket    net.Conn
	from      netip.AddrPort
	client    netip.Prefix
	encrypted bool

	work    chan struct{} // one per query that is being answered apart from the reader
	writing sync.Mutex    // held for one message

	// silent is since when nothing is expected to come; zero while a query is read. Guarded by streams.mu.
	silent time.Time
}

// serve answers the queries of a connection until it is silent for too long (RFC 7766 §6.2.3), misbehaves or the server ends.
func (c *stream) serve(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	r := bufio.NewReaderSize(c.Conn, 1024)
	for {
		packet, ok := c.next(r)
		if !ok || ctx.Err() != nil {
			return
		}
		c.counters.TCP.Add(1)
		o, ok := outlineOf(packet)
		transfer := ok && o.opcode == dns.OpcodeQuery && (o.qtype == dns.TypeAXFR || o.qtype == dns.TypeIXFR)
		if !transfer && r.Buffered() == 0 {
			// Nothing else has come yet: to answer here costs less than a goroutine.
			if !c.answer(packet, o) {
				return
			}
			continue
		}
		select {
		case c.work <- struct{}{}:
		case <-ctx.Done():
			return
		}
		wg.Go(func() {
			defer func() { <-c.work }()
			if transfer && !c.transfer(ctx, packet) || !transfer && !c.answer(packet, o) {
				c.socket.Close() // so that the reader ends
			}
		})
	}
}

// next reads a message; it reports false when there will be none.
func (c *stream) next(r *bufio.Reader) ([]byte, bool) {
	var length [2]byte
	if r.Buffered() == 0 && !c.awaitQuery() || !read(r, length[:1]) {
		return nil, false
	}
	if !c.awaitRead(tcpTransfer) || !read(r, length[1:]) {
		return nil, false
	}
	n := int(binary.BigEndian.Uint16(length[:]))
	if n > maxTCPQuery {
		return nil, false
	}
	packet := make([]byte, n)
	return packet, read(r, packet)
}

// answer answers an ordinary query; it reports false when the connection is of no more use.
func (c *stream) answer(packet []byte, o outline) bool {
	buffer := c.streams.buffers.Get().(*[]byte)
	defer c.streams.buffers.Put(buffer)
	began, t := c.clock.Now(), new(trace)
	answer := c.respondTraced(packet, c.from, true, *buffer, t)
	if answer != nil {
		answer = c.decorated(packet, o, answer)
	}
	if c.observed() {
		over := overTCP
		if c.encrypted {
			over = overTLS
		}
		c.observe(len(c.udp), over, c.from, packet, answer, began, t)
	}
	return answer != nil && c.send(answer, tcpTransfer) == nil // what sends no queries over TCP is no DNS client
}

// decorated adds to an answer what a transport says for itself: how long the connection may be silent, for who asks
// (RFC 7828 §3.3.2), and on TLS padding that hides which answer it is (RFC 7830, with the block of RFC 8467 §4.1). A signed
// answer stays as it is.
func (c *stream) decorated(packet []byte, o outline, answer []byte) []byte {
	if o.tsig > 0 {
		return answer
	}
	if o.hasOption(packet, dns.EDNS0TCPKEEPALIVE) {
		units := min(c.streams.patience()/(100*time.Millisecond), 65535)
		answer = appendOption(answer, dns.EDNS0TCPKEEPALIVE, binary.BigEndian.AppendUint16(nil, uint16(units)))
	}
	if c.encrypted && o.hasOption(packet, dns.EDNS0PADDING) {
		const block = 468
		answer = appendOption(answer, dns.EDNS0PADDING, make([]byte, (block-(len(answer)+4)%block)%block))
	}
	return answer
}

// send writes one message.
func (c *stream) send(message []byte, patience time.Duration) error {
	framed := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(message)), uint16(len(message)))
	framed = append(framed, message...)
	c.writing.Lock()
	defer c.writing.Unlock()
	if !c.awaitWrite(patience) {
		return net.ErrClosed
	}
	_, err := c.Conn.Write(framed)
	return err
}

// awaitQuery sets the deadline for the next query, unless the server is about to end: the deadline that wakes the connection
// then must not be overwritten.
func (c *stream) awaitQuery() bool {
	patience := c.streams.patience()
	c.streams.mu.Lock()
	defer c.streams.mu.Unlock()
	c.silent = c.clock.Now()
	return !c.streams.ended && c.socket.SetReadDeadline(c.silent.Add(patience)) == nil
}

// awaitRead sets the deadline for the rest of a query that has begun.
func (c *stream) awaitRead(d time.Duration) bool {
	c.streams.mu.Lock()
	defer c.streams.mu.Unlock()
	c.silent = time.Time{}
	return !c.streams.ended && c.socket.SetReadDeadline(c.clock.Now().Add(d)) == nil
}

// awaitWrite sets the deadline for a message; when the server is about to end there is little time left.
func (c *stream) awaitWrite(d time.Duration) bool {
	c.streams.mu.Lock()
	defer c.streams.mu.Unlock()
	if c.streams.ended {
		d = min(d, tcpTransfer)
	}
	return c.socket.SetWriteDeadline(c.clock.Now().Add(d)) == nil
}

func read(r io.Reader, b []byte) bool {
	_, err := io.ReadFull(r, b)
	return err == nil
}
