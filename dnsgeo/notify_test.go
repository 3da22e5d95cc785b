package dnsgeo

import (
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// listener is a secondary that hears NOTIFY and answers as the test tells it.
type listener struct{ heard chan *dns.Msg }

// listen starts a secondary; answer returns the answer to the nth message from 1 on, nil for none.
func listen(t *testing.T, answer func(n int, m *dns.Msg) []byte) (*listener, NotifyTarget) {
	t.Helper()
	server, pc := &dns.Server{Net: "udp", Addr: "127.0.0.1:0"}, make(chan struct{})
	l := &listener{heard: make(chan *dns.Msg, 100)}
	var came atomic.Int64 // each message has a goroutine of its own
	server.TsigSecret = clientKeys
	server.MsgAcceptFunc = func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept }
	server.NotifyStartedFunc = func() { close(pc) }
	server.Handler = dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) {
		n := int(came.Add(1))
		if m.IsTsig() != nil && w.TsigStatus() != nil {
			t.Errorf("the signature of %v: %v", m, w.TsigStatus())
		}
		l.heard <- m
		if b := answer(n, m); b != nil {
			if _, err := w.Write(b); err != nil {
				t.Error(err)
			}
		}
	})
	done := make(chan error, 1)
	go func() { done <- server.ListenAndServe() }()
	<-pc
	t.Cleanup(func() {
		if err := server.Shutdown(); err != nil {
			t.Error(err)
		}
		<-done
	})
	return l, NotifyTarget{Addr: server.PacketConn.LocalAddr().(interface{ AddrPort() netip.AddrPort }).AddrPort()}
}

// next returns the next message that the secondary hears.
func (l *listener) next(t *testing.T) *dns.Msg {
	t.Helper()
	select {
	case m := <-l.heard:
		return m
	case <-time.After(20 * time.Second):
		t.Fatal("no NOTIFY came")
		return nil
	}
}

// until waits for a counter.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

func TestNotify(t *testing.T) {
	reply := func(m *dns.Msg, key, algorithm string) []byte {
		r := new(dns.Msg)
		r.SetReply(m)
		if key == "" {
			return pack(t, r, nil)
		}
		r.SetTsig(key, algorithm, 300, time.Now().Unix())
		b, _, err := dns.TsigGenerate(r, clientKeys[key], m.IsTsig().MAC, false)
		if err != nil {
			t.Error(err)
		}
		return b
	}
	// The first takes each message at once, the second loses two of them, answers one with another ID, and one without the
	// signature that was agreed on.
	plain, toPlain := listen(t, func(_ int, m *dns.Msg) []byte { return reply(m, "", "") })
	signed, toSigned := listen(t, func(n int, m *dns.Msg) []byte {
		switch n {
		case 1:
			m.Id++
			return reply(m, "two.key.", dns.HmacSHA512)
		case 2:
			return reply(m, "", "")
		}
		return reply(m, "two.key.", dns.HmacSHA512)
	})
	toSigned.Key = "TWO.key"
	p := &primary{prepare(t, func(c *Config) {
		c.TSIGKeys = testKeys
		c.Zones = []ZoneFile{{Name: "example.org", Text: zoneLines(7, 3, ""), Notify: []NotifyTarget{toPlain, toSigned}}}
	})}
	for _, n := range p.zones.byName["example.org."].notifies {
		n.rest = time.Millisecond
	}
	p.start()
	expect := func(l *listener, serial uint32, key bool) {
		t.Helper()
		m := l.next(t)
		soa, ok := m.Answer[0].(*dns.SOA)
		if !ok || soa.Serial != serial || m.Opcode != dns.OpcodeNotify || m.Question[0].Name != "example.org." || m.Question[0].Qtype != dns.TypeSOA ||
			!m.Authoritative || m.Response || (m.IsTsig() != nil) != key {
			t.Errorf("want serial %d: %v", serial, m)
		}
	}
	expect(plain, 7, false)
	for range 3 {
		expect(signed, 7, true)
	}
	until(t, "both have answered", func() bool { return p.Counters().Notified.Load() == 2 })
	p.replace(zoneLines(8, 3, ""))
	expect(plain, 8, false)
	expect(signed, 8, true)
	until(t, "both have answered again", func() bool { return p.Counters().Notified.Load() == 4 })
	if len(plain.heard)+len(signed.heard) > 0 {
		t.Error("more messages than versions")
	}
}

func TestNotifyGivesUp(t *testing.T) {
	nobody, to := listen(t, func(int, *dns.Msg) []byte { return []byte("not DNS") })
	p := &primary{prepare(t, func(c *Config) {
		// The second one does not even listen.
		c.Zones = []ZoneFile{{Name: "example.org", Text: zoneLines(7, 3, ""), Notify: []NotifyTarget{to, {Addr: netip.MustParseAddrPort("127.0.0.1:1")}}}}
	})}
	for _, n := range p.zones.byName["example.org."].notifies {
		n.rest, n.answer = time.Millisecond, time.Millisecond
	}
	p.start()
	for range notifyTries {
		nobody.next(t)
	}
	until(t, "both are given up", func() bool { return p.Counters().NotifyLost.Load() == 2 })
	if p.Counters().Notified.Load() != 0 {
		t.Error("an answer was counted that was none")
	}
}
