package dnsgeo

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"perigee/dnsgeo/cookie"
	"perigee/dnsgeo/limit"
	"perigee/dnsgeo/sign"
	"perigee/dnsgeo/steer"
)

// ready waits until the rig's server answers by itself, without a Run.
func (r *rig) ready() *hot {
	r.t.Helper()
	st := r.steering.current()
	next := *st
	next.compiled = steer.Compile(st.plan, st.db)
	r.steering.state.Store(&next)
	r.hot.Store(r.newHot(r.Server.names(), &next, r.signs(r.clock.Now())))
	h := r.fresh(r.clock.Now())
	if h == nil {
		r.t.Fatal("nothing is made")
	}
	return h
}

// compare asks both ways; it reports whether the short one answered.
func (r *rig) compare(h *hot, packet []byte, from netip.AddrPort) bool {
	r.t.Helper()
	a := answerer{s: r.Server, hot: h, now: time.Now()}
	a.q.now = a.now
	var out [maxUDP]byte
	if !a.q.read(packet, from.Addr()) || !a.bake(from.Addr()) {
		return false
	}
	n := h.answer(&a.q, packet, from.Addr(), out[:], &a.t)
	if n == 0 {
		return false
	}
	want := r.respond(packet, from, false, make([]byte, dns.MaxMsgSize))
	var x, y dns.Msg
	if err := x.Unpack(out[:n]); err != nil {
		r.t.Fatalf("query % x: fast % x: %v", packet, out[:n], err)
	}
	if err := y.Unpack(want); err != nil {
		r.t.Fatalf("query % x: slow % x: %v", packet, want, err)
	}
	// The library leaves compression out of what is short, and compressed names inside records are in the case of the question.
	if x.Question[0] != y.Question[0] || !strings.EqualFold(x.String(), y.String()) {
		r.t.Fatalf("query % x from %v\nfast: %v\nslow: %v", packet, from, &x, &y)
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
		if rng.IntN(4) == 0 {
			opt.Option = append(opt.Option, &dns.EDNS0_LOCAL{Code: dns.EDNS0COOKIE, Data: make([]byte, []int{8, 24, 8, 3, 41}[rng.IntN(5)])})
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
	t.Run("with cookies", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { // the time is in the cookies
			testFastAnswers(t, func(c *Config) { c.Listen, c.Cookies = "", jar(t) })
		})
	})
	t.Run("signed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			keys, err := sign.Generate("perigee.test", 0, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			signer, err := sign.NewSigner(keys, time.Now(), sign.Limits{Rate: 1e6, Burst: 1e6})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(48 * time.Hour) // the signatures count by now
			testFastAnswers(t, func(c *Config) { c.Listen, c.Signer = "", signer })
			testFastAnswers(t, func(c *Config) {
				c.Listen, c.Signer, c.HTTPSRecord = "", signer, &HTTPSRecord{ALPN: []string{"h3", "h2"}}
			})
		})
	})
	t.Run("with HTTPS records", func(t *testing.T) {
		testFastAnswers(t, func(c *Config) { c.HTTPSRecord = &HTTPSRecord{Port: 8443} })
	})
}

func jar(t testing.TB) *cookie.Jar {
	t.Helper()
	j, err := cookie.NewDerived(make([]byte, cookie.MinKey), 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return j
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
	for i := range 6 { // what the commonest queries must be
		do := i%2 > 0
		for _, q := range []struct {
			name  string
			qtype uint16
			proof bool // a denial, which a signed zone proves
			wild  bool // that a wildcard could stand for
		}{
			{"www.perigee.test.", dns.TypeA, false, false}, {"wWW.perigee.test.", dns.TypeAAAA, false, false}, {"perigee.test.", dns.TypeSOA, false, false},
			{"mail.perigee.test.", dns.TypeA, false, false}, {"www.perigee.test.", dns.TypeHTTPS, true, false}, {"nothing.perigee.test.", dns.TypeA, true, true},
		} {
			m := new(dns.Msg)
			m.SetQuestion(q.name, q.qtype)
			m.SetEdns0(1232, do)
			b, _ := m.Pack()
			slow := q.wild && h.wild || q.proof && do && h.signed && !(q.qtype == dns.TypeHTTPS && h.https)
			if r.compare(h, b, netip.MustParseAddrPort("81.2.69.142:53")) == slow {
				t.Errorf("%s %d with DO %v: slow %v", q.name, q.qtype, do, !slow)
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
	a := answerer{s: r.Server}
	var out [maxUDP]byte
	from := netip.MustParseAddrPort("192.0.2.1:53")
	if n := testing.AllocsPerRun(100, func() {
		if a.begin(); a.answer(b, from, out[:]) == 0 || a.t.answered[0] == 0 {
			t.Fatal("not answered")
		}
		a.end()
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
			for deadline := time.Now().Add(10 * time.Second); r.fresh(time.Now()) == nil && time.Now().Before(deadline); {
				time.Sleep(5 * time.Millisecond)
			}
			if r.fresh(time.Now()) == nil {
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

// TestCookies: a client that returns what it was given is known, over UDP and TCP; one that asks for nothing but a cookie gets it (RFC 7873 §5.4).
func TestCookies(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Cookies = jar(t) })
	ask := func(network string, option []byte, questions int) (*dns.Msg, []byte) {
		t.Helper()
		m := new(dns.Msg)
		m.SetQuestion("www.perigee.test.", dns.TypeA)
		m.Question = m.Question[:questions]
		m.SetEdns0(1232, false)
		if option != nil {
			m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_LOCAL{Code: dns.EDNS0COOKIE, Data: option})
		}
		a, _, err := (&dns.Client{Net: network}).Exchange(m, r.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range a.IsEdns0().Option {
			if c, ok := o.(*dns.EDNS0_COOKIE); ok {
				b, _ := hex.DecodeString(c.Cookie)
				return a, b
			}
		}
		return a, nil
	}
	mine := []byte{1, 2, 3, 4, 5, 6, 7, 8}
	for _, network := range []string{"udp", "tcp"} {
		a, got := ask(network, mine, 1)
		if len(got) != cookie.Size || !bytes.Equal(got[:8], mine) || len(a.Answer) != 1 {
			t.Fatalf("%s: %x %v", network, got, a)
		}
		if a, again := ask(network, got, 1); !bytes.Equal(again, got) || len(a.Answer) != 1 {
			t.Errorf("%s: a good cookie changes: %x %v", network, again, a)
		}
		if a, alone := ask(network, mine, 0); len(alone) != cookie.Size || a.Rcode != dns.RcodeSuccess {
			t.Errorf("%s: alone: %x %v", network, alone, a)
		}
		if a, _ := ask(network, mine[:5], 1); a.Rcode != dns.RcodeFormatError {
			t.Errorf("%s: malformed: %v", network, a)
		}
		if a, none := ask(network, nil, 1); none != nil || len(a.Answer) != 1 {
			t.Errorf("%s: none: %x %v", network, none, a)
		}
		if a, _ := ask(network, nil, 0); a.Rcode != dns.RcodeFormatError {
			t.Errorf("%s: nothing is asked: %v", network, a)
		}
	}
}

// TestFloodsAreLimited: who has not shown that it is at its address gets so much, by name and not by type; who has is not limited.
func TestFloodsAreLimited(t *testing.T) {
	const rate = 10
	limiter, err := limit.New(limit.Config{Rates: [5]int{rate, rate, rate, rate, rate}, Slip: 2}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		r := prepare(t, func(c *Config) { c.Listen, c.Cookies, c.Limit = "", jar(t), limiter })
		r.ready()
		a := answerer{s: r.Server}
		a.begin()
		var out [maxUDP]byte
		flood := func(from string, option []byte, name func(i int) string) (whole, cut, asked, sent int) {
			for i := range 1000 {
				m := new(dns.Msg)
				m.SetQuestion(name(i), dns.TypeA)
				m.SetEdns0(1232, false)
				if option != nil {
					m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_LOCAL{Code: dns.EDNS0COOKIE, Data: option})
				}
				b, _ := m.Pack()
				n := a.answer(b, netip.AddrPortFrom(netip.MustParseAddr(from), 53), out[:])
				asked, sent = asked+len(b), sent+n
				switch {
				case n == 0:
				case out[2]&2 != 0:
					cut++
				default:
					whole++
				}
			}
			return whole, cut, asked, sent
		}
		same := func(int) string { return "www.perigee.test." }
		random := func(i int) string { return fmt.Sprintf("n%d.perigee.test.", i) }
		wild := func(i int) string { return fmt.Sprintf("n%d.wild.perigee.test.", i) }
		for i, name := range []func(int) string{same, random, wild} {
			whole, cut, asked, sent := flood(fmt.Sprintf("192.0.%d.1", i), nil, name)
			if whole > 3*rate || cut < 400 || cut > 600 || sent > asked {
				t.Errorf("%d: %d whole and %d cut answers; %d bytes for %d", i, whole, cut, sent, asked)
			}
		}
		client := netip.MustParseAddr("198.51.100.7")
		good := r.cookies.Make(nil, [8]byte{1}, client, a.now)
		if whole, _, _, _ := flood(client.String(), good, same); whole != 1000 {
			t.Errorf("a known client gets %d of 1000", whole)
		}
	})
}
