package dnsgeo

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"perigee/dnsgeo/cookie"
	"perigee/dnsgeo/limit"
)

// answerer answers the packets of one socket. It belongs to one goroutine.
type answerer struct {
	s     *Server
	index int       // which of the server's sockets
	hot   *hot      // nil while it is being made
	now   time.Time // of the batch
	q     asked
	t     tally
	made  made   // how the last answer was
	seen  uint64 // steered answers
}

// begin begins a batch.
func (a *answerer) begin() {
	a.now = a.s.clock.Now()
	a.hot = a.s.fresh(a.now)
}

// end tells what was counted.
func (a *answerer) end() { a.t.flush(&a.s.counters) }

// answer answers one packet in out, which has room for maxUDP bytes, and returns the answer's length; 0 when there is none.
func (a *answerer) answer(packet []byte, from netip.AddrPort, out []byte) int {
	a.t.queries++
	if from.Port() == 0 {
		return 0
	}
	n := a.make(packet, from, out)
	sent := n
	if a.s.limit != nil && !a.made.proven {
		sent = a.limited(out, n, from.Addr())
	}
	if a.s.observed() {
		switch {
		case sent == 0 && n > 0:
			a.made.limit = "drop"
		case sent < n:
			a.made.limit = "slip"
		}
		a.s.observe(a.index, overUDP, from, packet, out[:sent], a.now, &a.made.trace)
	}
	return sent
}

// made is how an answer was made.
type made struct {
	trace
	proven bool // the client is who it says
}

// make makes an answer, whatever becomes of it, and notes in a.made how.
func (a *answerer) make(packet []byte, from netip.AddrPort, out []byte) int {
	a.made, a.q.now = made{}, a.now
	if a.q.read(packet, from.Addr()) && a.bake(from.Addr()) && a.hot != nil {
		if n := a.hot.answer(&a.q, packet, from.Addr(), out, &a.t); n > 0 {
			a.made.scope, a.made.edge = a.q.scope, a.q.edge
			if a.q.edge != "" {
				if a.seen++; a.seen%demandSample == 0 {
					a.s.demand.count(a.q.from)
				}
			}
			return n
		}
	}
	b := a.s.respondTraced(packet, from, false, out, &a.made.trace)
	if n := copy(out, b); n == len(b) { // it always is: respond keeps to maxUDP
		return n
	}
	return 0
}

// bake judges the cookie of a.q; false for one that is malformed.
func (a *answerer) bake(from netip.Addr) bool {
	if a.s.cookies == nil || a.q.cookie == nil {
		return true
	}
	v := a.s.cookies.Check(a.q.cookie, from, a.now)
	a.made.proven, a.made.proof = v.Proven(), v.String()
	a.q.baked = a.s.cookies.Reply(a.q.crumbs[:0], a.q.cookie, v, from, a.now)
	return v != cookie.Malformed
}

// limited says how much of an answer of n bytes is sent: all, none, or a head that sends a real client to TCP.
func (a *answerer) limited(out []byte, n int, client netip.Addr) int {
	if n < headerSize {
		return n
	}
	class, name := a.class(out[:n])
	switch a.s.limit.Check(client, class, name, a.now) {
	case limit.Drop:
		return 0
	case limit.Slip:
		return slip(out[:n])
	}
	return n
}

// class tells what kind of answer b is, and the name that it is counted by.
func (a *answerer) class(b []byte) (limit.Class, []byte) {
	answers := binary.BigEndian.Uint16(b[6:])
	switch rcode := b[3] & 0xf; {
	case rcode == dns.RcodeNameError:
		return limit.NXDomain, nil
	case rcode != dns.RcodeSuccess:
		return limit.Error, nil
	case answers == 0 && b[2]&4 == 0:
		return limit.Referral, nil
	case answers == 0:
		return limit.NoData, nil
	}
	if !a.q.name(b) || a.hot == nil {
		return limit.Positive, nil
	}
	key := a.q.key[:a.q.n]
	if _, ok := a.hot.table[string(key)]; !ok {
		return limit.Positive, nil // a wildcard's: all its names count as one
	}
	return limit.Positive, key
}

// slip turns an answer into one without records that was cut (TC).
func slip(b []byte) int {
	n := headerSize
	if binary.BigEndian.Uint16(b[4:]) == 1 {
		end, _, ok := skipName(b, headerSize)
		if !ok || end+4 > len(b) {
			return 0
		}
		n = end + 4
	}
	b[2] |= 2
	clear(b[6:headerSize])
	return n
}
