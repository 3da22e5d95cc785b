package dnsgeo

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"perigee/clock"
	"perigee/dnsgeo/geo"
	"perigee/fleet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var world = sync.OnceValues(geo.Embedded)

func embedded(t testing.TB) *geo.DB {
	t.Helper()
	db, err := world()
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// rig is a server on a free port with a fleet and names that the test changes.
type rig struct {
	*Server
	t     testing.TB
	fleet atomic.Pointer[fleet.Snapshot]
	names atomic.Pointer[Names]
	geo   *geo.Holder
	gen   uint64
}

const staticRecords = `
@        TXT   "v=spf1 -all"
@        MX    10 mail
mail     A     192.0.2.25
alias    CNAME WWW
outside  CNAME www.example.com.
loop1    CNAME loop2
loop2    CNAME loop1
www      TXT   "beside the steered address"
fixed    A     192.0.2.99
*.wild   A     192.0.2.77
a.b.deep TXT   "deep"
sub      NS    ns.sub
ns.sub   A     192.0.2.53
sub      DS    1 13 2 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
big      TXT   "` + "%s" + `"
`

// newRig starts a server for the zone perigee.test with three edges; change may be nil.
func newRig(t testing.TB, change func(*Config)) *rig {
	t.Helper()
	r := prepare(t, change)
	r.start()
	return r
}

// start runs a server that was prepared until the end of the test.
func (r *rig) start() {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	r.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("Run: %v", err)
		}
	})
}

// prepare makes a server that does not run yet.
func prepare(t testing.TB, change func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, geo: geo.NewHolder(embedded(t))}
	r.board(edge("fra", 50.11, 8.68, "127.0.1.1", "::1:1"), edge("nyc", 40.71, -74.01, "127.0.1.2", "::1:2"), edge("sin", 1.35, 103.82, "127.0.1.3"))
	r.names.Store(NewNames("perigee.test", []string{"www.perigee.test", "Perigee.TEST.", "x.y.perigee.test", "fixed.perigee.test", "www.example.com"}))
	c := Config{
		Listen: "127.0.0.1:0", Zone: "perigee.test", Servers: []NameServer{{"ns1.perigee.test", []netip.Addr{netip.MustParseAddr("127.0.0.1")}}},
		Records: fmt.Sprintf(staticRecords, long(1400)),
		Names:   r.names.Load, Fleet: r.fleet.Load, Geo: r.geo, Log: slog.New(slog.DiscardHandler), Clock: clock.System,
	}
	if change != nil {
		change(&c)
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	r.Server = s
	return r
}

// long returns strings of a TXT record with n bytes in all.
func long(n int) string {
	var s string
	for i := range n {
		if i > 0 && i%200 == 0 {
			s += `" "`
		}
		s += "x"
	}
	return s
}

// edge returns a ready edge.
func edge(name string, lat, lon float64, addrs ...string) fleet.Node {
	n := fleet.Node{Report: fleet.Report{Format: 1, Node: name, Role: fleet.RoleEdge, State: fleet.Ready,
		Place: fleet.Place{Name: name, Lat: lat, Lon: lon}}}
	for _, a := range addrs {
		n.Addrs = append(n.Addrs, netip.AddrPortFrom(netip.MustParseAddr(a), 8100))
	}
	return n
}

// board makes nodes the fleet.
func (r *rig) board(nodes ...fleet.Node) {
	r.gen++
	r.fleet.Store(&fleet.Snapshot{Gen: r.gen, Nodes: nodes})
}

// compiled waits until the steering map of this moment is compiled.
func (r *rig) compiled() {
	r.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); r.steering.current().compiled == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatal("no steering map was compiled within 20 s")
		}
	}
}

// question returns a query with EDNS; subnet may be "".
func question(name string, qtype uint16, subnet string) *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	m.SetEdns0(1232, false)
	if subnet != "" {
		p := netip.MustParsePrefix(subnet)
		e := &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: uint8(p.Bits()), Address: p.Addr().AsSlice()}
		if p.Addr().Is6() {
			e.Family = 2
		}
		m.IsEdns0().Option = append(m.IsEdns0().Option, e)
	}
	return m
}

// ask sends m over "udp" or "tcp".
func (r *rig) ask(network string, m *dns.Msg) *dns.Msg {
	r.t.Helper()
	c := &dns.Client{Net: network, Timeout: 20 * time.Second}
	in, _, err := c.Exchange(m, r.Addr().String())
	if err != nil {
		r.t.Fatalf("%s %v: %v", network, m.Question, err)
	}
	return in
}

// direct gives a packet to the server as it comes off the wire, without a socket.
func (r *rig) direct(m *dns.Msg, from string) *dns.Msg {
	r.t.Helper()
	b, err := m.Pack()
	if err != nil {
		r.t.Fatal(err)
	}
	out := new(dns.Msg)
	if err := out.Unpack(r.respond(b, netip.AddrPortFrom(netip.MustParseAddr(from), 4242), false, nil)); err != nil {
		r.t.Fatal(err)
	}
	return out
}

// address returns the only address in an answer, "" if there is none.
func address(t testing.TB, m *dns.Msg) string {
	t.Helper()
	var out string
	for _, rr := range m.Answer {
		var a string
		switch rr := rr.(type) {
		case *dns.A:
			a = rr.A.String()
		case *dns.AAAA:
			a = rr.AAAA.String()
		default:
			continue
		}
		if out != "" {
			t.Errorf("more than one address in %v", m.Answer)
		}
		out = a
	}
	return out
}

// subnetOf returns the client-subnet option of an answer, nil if there is none.
func subnetOf(m *dns.Msg) *dns.EDNS0_SUBNET {
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if e, ok := o.(*dns.EDNS0_SUBNET); ok {
				return e
			}
		}
	}
	return nil
}
