package dnsgeo

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"perigee/dnsgeo/steer"
)

// ready waits until the rig's server answers by itself, without a Run.
func (r *rig) ready() *hot {
	r.t.Helper()
	st := r.steering.current()
	next := *st
	next.compiled = steer.Compile(st.plan, st.db)
	r.steering.state.Store(&next)
	r.Server.prepare(&next)
	h := r.fresh()
	if h == nil {
		r.t.Fatal("nothing is made")
	}
	return h
}

// compare asks both ways; it reports whether the short one answered.
func (r *rig) compare(h *hot, packet []byte, from netip.AddrPort) bool {
	r.t.Helper()
	var q asked
	var t tally
	var out [maxUDP]byte
	n := h.answer(&q, packet, from.Addr(), out[:], &t)
	if n == 0 {
		return false
	}
	want := r.respond(packet, from, false, make([]byte, dns.MaxMsgSize))
	var a, b dns.Msg
	if err := a.Unpack(out[:n]); err != nil {
		r.t.Fatalf("query % x: fast % x: %v", packet, out[:n], err)
	}
	if err := b.Unpack(want); err != nil {
		r.t.Fatalf("query % x: slow % x: %v", packet, want, err)
	}
	// The library leaves compression out of what is short, and compressed names inside records are in the case of the question.
	if a.Question[0] != b.Question[0] || !strings.EqualFold(a.String(), b.String()) {
		r.t.Fatalf("query % x from %v\nfast: %v\nslow: %v", packet, from, &a, &b)
	}
	return true
}

// randomQuery is a query as clients send them, and sometimes as they do not.
func randomQuery(rng *rand.Rand) []byte {
	names := []string{"www", "WWW", "wWw", "x.y", "fixed", "mail", "alias", "outside", "sub", "ns.sub", "deep", "a.b.deep", "any.wild", "nothing", "big", "loop1", "ns1", ""}
	name := names[rng.IntN(len(names))]
	if name != "" {
		name += "."
	}
	name += []string{"perigee.test.", "perigee.test.", "Perigee.TEST.", "example.com."}[rng.IntN(4)]
	types := []uint16{dns.TypeA, dns.TypeA, dns.TypeAAAA, dns.TypeAAAA, dns.TypeTXT, dns.TypeMX, dns.TypeNS, dns.TypeSOA, dns.TypeANY, dns.TypeHTTPS, dns.TypeDS, dns.TypeCNAME}
	m := new(dns.Msg)
	m.SetQuestion(name, types[rng.IntN(len(types))])
	m.RecursionDesired, m.CheckingDisabled, m.AuthenticatedData = rng.IntN(2) > 0, rng.IntN(4) == 0, rng.IntN(4) == 0
	if rng.IntN(3) > 0 {
		m.SetEdns0([]uint16{0, 512, 1232, 4096, 65535}[rng.IntN(5)], rng.IntN(3) == 0)
		opt := m.IsEdns0()
		if rng.IntN(2) == 0 {
			e := &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: uint8(rng.IntN(33))}
			a := [4]byte{byte(rng.UintN(256)), byte(rng.UintN(256)), byte(rng.UintN(256)), byte(rng.UintN(256))}
			p, _ := netip.AddrFrom4(a).Prefix(int(e.SourceNetmask))
			e.Address = p.Addr().AsSlice()
			if rng.IntN(3) == 0 {
				e.Family, e.SourceNetmask = 2, uint8(rng.IntN(129))
				six := [16]byte{0x20 + byte(rng.UintN(16)), byte(rng.UintN(256)), byte(rng.UintN(256)), byte(rng.UintN(256)), byte(rng.UintN(256)), byte(rng.UintN(256))}
				p, _ := netip.AddrFrom16(six).Prefix(int(e.SourceNetmask))
				e.Address = p.Addr().AsSlice()
			}
			opt.Option = append(opt.Option, e)
		}
		if rng.IntN(6) == 0 {
			opt.Option = append(opt.Option, &dns.EDNS0_LOCAL{Code: uint16(rng.UintN(70)), Data: make([]byte, rng.IntN(9))})
		}
	}
	b, err := m.Pack()
	if err != nil {
		return nil
	}
	for rng.IntN(4) == 0 { // damage
		b[rng.IntN(len(b))] ^= 1 << rng.UintN(8)
	}
	return b
}

// TestFastAnswersAreTheSlowOnes: what the UDP loop answers by itself means what is answered without it.
func TestFastAnswersAreTheSlowOnes(t *testing.T) {
	t.Run("with a wildcard", func(t *testing.T) { testFastAnswers(t, nil) })
	t.Run("without", func(t *testing.T) { testFastAnswers(t, withoutWildcard) })
}

func withoutWildcard(c *Config) { c.Records = strings.Replace(c.Records, "*.wild", "any.wild", 1) }

func testFastAnswers(t *testing.T, change func(*Config)) {
	r := prepare(t, change)
	defer r.Close()
	h := r.ready()
	rng := rand.New(rand.NewPCG(1, 7))
	fast, total := 0, 20_000
	for range total {
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{byte(rng.UintN(224)), byte(rng.UintN(256)), 1, 1}), 5353)
		if b := randomQuery(rng); b != nil && r.compare(h, b, from) {
			fast++
		}
	}
	if fast < total/10 {
		t.Errorf("only %d of %d were answered fast", fast, total)
	}
	for range 3 { // what the commonest queries must be
		for _, q := range []struct {
			name  string
			qtype uint16
		}{{"www.perigee.test.", dns.TypeA}, {"wWW.perigee.test.", dns.TypeAAAA}, {"perigee.test.", dns.TypeSOA}, {"mail.perigee.test.", dns.TypeA}, {"www.perigee.test.", dns.TypeHTTPS},
			{"nothing.perigee.test.", dns.TypeA}} {
			m := new(dns.Msg)
			m.SetQuestion(q.name, q.qtype)
			m.SetEdns0(1232, false)
			b, _ := m.Pack()
			if !r.compare(h, b, netip.MustParseAddrPort("81.2.69.142:53")) && !(h.wild && q.name == "nothing.perigee.test.") {
				t.Errorf("%s %d is answered slowly", q.name, q.qtype)
			}
		}
	}
}

func FuzzFastAnswersAreTheSlowOnes(f *testing.F) {
	rng := rand.New(rand.NewPCG(2, 2))
	for range 50 {
		f.Add(randomQuery(rng), uint32(rng.Uint32()))
	}
	r := prepare(f, withoutWildcard)
	f.Cleanup(func() { r.Close() })
	h := r.ready()
	f.Fuzz(func(t *testing.T, b []byte, from uint32) {
		r.t = t
		r.compare(h, b, netip.AddrPortFrom(netip.AddrFrom4([4]byte{byte(from >> 24), byte(from >> 16), byte(from >> 8), byte(from)}), 53))
	})
}

func TestFastAnswersDoNotAllocate(t *testing.T) {
	r := prepare(t, nil)
	defer r.Close()
	r.ready()
	m := new(dns.Msg)
	m.SetQuestion("www.perigee.test.", dns.TypeA)
	m.SetEdns0(1232, false)
	m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24, Address: []byte{81, 2, 69, 0}})
	b, _ := m.Pack()
	var q asked
	var tl tally
	var out [maxUDP]byte
	from := netip.MustParseAddr("192.0.2.1")
	if n := testing.AllocsPerRun(100, func() {
		if r.fresh().answer(&q, b, from, out[:], &tl) == 0 {
			t.Fatal("not answered")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestFastAnswersFollowTheFleet: a change is obeyed by the next query, whoever answers it.
func TestFastAnswersFollowTheFleet(t *testing.T) {
	r := newRig(t, nil)
	ask := func() string {
		m := new(dns.Msg)
		m.SetQuestion("www.perigee.test.", dns.TypeA)
		a, err := dns.Exchange(m, r.Addr().String())
		if err != nil || len(a.Answer) == 0 {
			t.Fatalf("%v %v", a, err)
		}
		return a.Answer[0].(*dns.A).A.String()
	}
	for i := range 6 {
		addr := netip.AddrFrom4([4]byte{127, 0, 9, byte(i)}).String()
		r.board(edge("one", 50, 8, addr))
		if got := ask(); got != addr {
			t.Fatalf("%s after the fleet has only %s", got, addr)
		}
		if i%2 == 0 {
			for deadline := time.Now().Add(10 * time.Second); r.fresh() == nil && time.Now().Before(deadline); {
				time.Sleep(5 * time.Millisecond)
			}
			if r.fresh() == nil {
				t.Fatal("the short way was never made again")
			}
		}
		if got := ask(); got != addr {
			t.Fatalf("%s, want %s", got, addr)
		}
	}
}

// TestAnswersComeFromTheAddressThatWasAsked: also where the socket is bound to all of them.
func TestAnswersComeFromTheAddressThatWasAsked(t *testing.T) {
	for _, c := range []struct{ listen, ask string }{
		{"0.0.0.0:0", "127.0.0.2"}, {"0.0.0.0:0", "127.0.0.1"}, {"[::]:0", "127.0.0.3"}, {"[::]:0", "::1"},
	} {
		r := newRig(t, func(cfg *Config) { cfg.Listen = c.listen })
		conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(c.ask), r.Addr().Port())))
		if err != nil {
			t.Fatal(err)
		}
		m := new(dns.Msg)
		m.SetQuestion("www.perigee.test.", dns.TypeA)
		a, _, err := (&dns.Client{Timeout: 5 * time.Second}).ExchangeWithConn(m, &dns.Conn{Conn: conn})
		if err != nil || len(a.Answer) != 1 {
			t.Errorf("%s asked at %s: %v %v", c.listen, c.ask, a, err)
		}
		conn.Close()
	}
}
