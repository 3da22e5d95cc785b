package dnsgeo

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"perigee/clock"
)

const (
	// notifyRest is the rest after the first NOTIFY without an answer; each further one is twice as long. RFC 1996 §3.6 leaves
	// it open and suggests 60 s and five tries; a changed zone should not wait that long for one lost packet.
	notifyRest   = 2 * time.Second
	notifyTries  = 7 // with rests of 2 + 4 + … + 64 s between them
	notifyAnswer = 2 * time.Second
)

// notifier tells one secondary of one zone that there is a new version, until it answers, a newer version is there or all
// tries are used up. A secondary that was not reached learns of the version at its next refresh.
type notifier struct {
	zone     *served
	to       netip.AddrPort
	key      *tsigKey      // nil to sign nothing
	name     string        // of the key
	rest     time.Duration // notifyRest, but in tests
	answer   time.Duration // notifyAnswer, but in tests
	kick     chan struct{}
	clock    clock.Clock
	log      *slog.Logger
	counters *Counters
}

func newNotifier(zone *served, t NotifyTarget, c *Config, ring keyring, counters *Counters) (*notifier, error) {
	n := &notifier{
		zone: zone, to: t.Addr, rest: notifyRest, answer: notifyAnswer, kick: make(chan struct{}, 1), clock: c.Clock, log: c.Log, counters: counters,
	}
	if !t.Addr.IsValid() || t.Addr.Port() == 0 || t.Addr.Addr().IsUnspecified() {
		return nil, fmt.Errorf("%v is no address of a secondary", t.Addr)
	}
	if t.Key != "" {
		n.name = canonical(t.Key)
		if n.key = ring[n.name]; n.key == nil {
			return nil, fmt.Errorf("the TSIG key %q for %v is not known", t.Key, t.Addr)
		}
	}
	return n, nil
}

// changed says that there is a new version.
func (n *notifier) changed() {
	select {
	case n.kick <- struct{}{}:
	default: // it is known already
	}
}

// run tells the secondary of the version at the start, since it may have missed the last one, and then of every new one.
func (n *notifier) run(ctx context.Context) {
	n.changed()
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.kick:
			n.tell(ctx)
		}
	}
}

// tell sends until there is an answer.
func (n *notifier) tell(ctx context.Context) {
	v := n.zone.current.Load()
	rest := n.rest
	for try := 1; ; try++ {
		rcode, err := n.ask(ctx, v)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			n.counters.Notified.Add(1)
			if rcode != dns.RcodeSuccess {
				n.log.Warn("dns: a secondary does not take a NOTIFY", "zone", n.zone.origin, "secondary", n.to.String(), "rcode", dns.RcodeToString[rcode])
			}
			return
		}
		n.log.Debug("dns: a secondary did not answer a NOTIFY", "zone", n.zone.origin, "secondary", n.to.String(), "err", err)
		if try == notifyTries {
			break
		}
		t := n.clock.NewTimer(rest)
		select {
		case <-ctx.Done():
		case <-n.kick: // for a newer version the tries begin anew
			v, try, rest = n.zone.current.Load(), 0, n.rest
		case <-t.C():
			rest *= 2
		}
		t.Stop()
	}
	n.counters.NotifyLost.Add(1)
	n.log.Warn("dns: a secondary answers no NOTIFY; it will see the version at its next refresh", "zone", n.zone.origin,
		"secondary", n.to.String(), "serial", v.serial())
}

// ask sends one NOTIFY and returns the response code of the answer.
func (n *notifier) ask(ctx context.Context, v *version) (rcode int, err error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "udp", n.to.String())
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	// The end of ctx ends the wait.
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	packet, g, err := n.message(v)
	if err != nil {
		return 0, err
	}
	if err := conn.SetReadDeadline(n.clock.Now().Add(n.answer)); err != nil {
		return 0, err
	}
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	if _, err := conn.Write(packet); err != nil {
		return 0, err
	}
	in := make([]byte, dns.MaxMsgSize)
	for {
		size, err := conn.Read(in)
		if err != nil {
			return 0, err
		}
		if rcode, ok := n.answers(packet, in[:size], g); ok {
			return rcode, nil
		}
	}
}

// message is a NOTIFY with the new SOA record, as a hint (RFC 1996 §3.7). g is how it is signed, nil when it is not.
func (n *notifier) message(v *version) (packet []byte, g *signing, err error) {
	m := &dns.Msg{Answer: []dns.RR{v.zone.soa}}
	m.Opcode, m.Authoritative = dns.OpcodeNotify, true
	m.Question = []dns.Question{{Name: n.zone.origin, Qtype: dns.TypeSOA, Qclass: dns.ClassINET}}
	var id [2]byte
	rand.Read(id[:]) // never fails
	m.Id = binary.BigEndian.Uint16(id[:])
	if packet, err = m.Pack(); err != nil || n.key == nil {
		return packet, nil, err
	}
	g = &signing{key: n.key, request: tsigRecord{name: n.name, algorithm: n.key.called}}
	return g.sign(packet, n.clock.Now()), g, nil
}

// answers reports whether b is the answer to a NOTIFY, and what it says.
func (n *notifier) answers(sent, b []byte, g *signing) (rcode int, ok bool) {
	o, ok := outlineOf(b)
	if !ok || o.opcode != dns.OpcodeNotify || b[2]&0x80 == 0 || b[0] != sent[0] || b[1] != sent[1] {
		return 0, false
	}
	if g == nil {
		return int(b[3] & 0xf), true
	}
	if o.tsig == 0 || o.tsig != o.last {
		return 0, false
	}
	answer, err := keyring{n.name: n.key}.verify(b, o.tsig, g.prior, n.clock.Now())
	return int(b[3] & 0xf), err == nil && answer.failure == 0
}
