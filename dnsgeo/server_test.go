package dnsgeo

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"perigee/dnsgeo/steer"
	"perigee/fleet"
)

const (
	london    = "81.2.69.0/24"
	newYork   = "128.59.0.0/24"
	singapore = "137.132.0.0/24"
)

func TestThreePlacesThreeEdges(t *testing.T) {
	r := newRig(t, nil)
	r.compiled()
	for _, network := range []string{"udp", "tcp"} {
		for subnet, want := range map[string][2]string{
			london: {"127.0.1.1", "::1:1"}, newYork: {"127.0.1.2", "::1:2"}, singapore: {"127.0.1.3", "::1:1"},
			"2604:2000::/32": {"127.0.1.2", "::1:2"}, "2404:e800::/32": {"127.0.1.3", "::1:1"}, "2003:e0::/44": {"127.0.1.1", "::1:1"},
		} {
			for i, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
				m := r.ask(network, question("www.perigee.test.", qtype, subnet))
				if got := address(t, m); got != want[i] || !m.Authoritative || m.Answer[0].Header().Ttl != 20 {
					t.Errorf("%s %s %s: %q, want %s\n%v", network, subnet, dns.TypeToString[qtype], got, want[i], m)
				}
				e := subnetOf(m)
				p := netip.MustParsePrefix(subnet)
				if e == nil || e.Address.String() != p.Addr().String() || int(e.SourceNetmask) != p.Bits() {
					t.Fatalf("%s %s: the subnet came back as %v", network, subnet, e)
				}
			}
		}
	}
	if c := r.Counters(); c.UDP.Load() != 12 || c.TCP.Load() != 12 || c.ECS.Load() != 24 || c.Steered.Load() != 24 || c.Rcode(0) != 24 || c.Dropped.Load() != 0 {
		t.Errorf("counters: %d UDP, %d TCP, %d ECS, %d steered, %d NOERROR", c.UDP.Load(), c.TCP.Load(), c.ECS.Load(), c.Steered.Load(), c.Rcode(0))
	}
}

func TestSourceAddressDecidesWithoutECS(t *testing.T) {
	r := prepare(t, nil)
	defer r.Close()
	for from, want := range map[string]string{
		"81.2.69.142": "127.0.1.1", "128.59.1.1": "127.0.1.2", "137.132.1.1": "127.0.1.3", "::ffff:137.132.1.1": "127.0.1.3",
		"2404:e800::1": "127.0.1.3", "127.0.0.1": "127.0.1.1", "fe80::1%eth0": "127.0.1.1",
	} {
		m := r.direct(question("www.perigee.test.", dns.TypeA, ""), from)
		if got := address(t, m); got != want || subnetOf(m) != nil {
			t.Errorf("from %s: %q, want %s\n%v", from, got, want, m)
		}
	}
}

func TestFleetIsFollowed(t *testing.T) {
	r := newRig(t, nil)
	london := func() string { return address(t, r.ask("udp", question("www.perigee.test.", dns.TypeA, london))) }
	nodes := r.fleet.Load().Nodes
	set := func(i int, change func(*fleet.Node)) {
		next := append([]fleet.Node(nil), r.fleet.Load().Nodes...)
		change(&next[i])
		r.board(next...)
	}
	if got := london(); got != "127.0.1.1" {
		t.Fatalf("at first: %s", got)
	}
	for _, step := range []struct {
		name   string
		change func()
		want   string
	}{
		{"fra drains", func() { set(0, func(n *fleet.Node) { n.State = fleet.Draining }) }, "127.0.1.2"},
		{"fra is back", func() { set(0, func(n *fleet.Node) { n.State = fleet.Ready }) }, "127.0.1.1"},
		{"fra crashes", func() { set(0, func(n *fleet.Node) { n.Down = true }) }, "127.0.1.2"},
		{"all are down", func() {
			set(1, func(n *fleet.Node) { n.Down = true })
			set(2, func(n *fleet.Node) { n.Down = true })
		}, "127.0.1.1"},
		{"all are forgotten", func() { r.board() }, "127.0.1.1"},
		{"the board is lost", func() { r.fleet.Store(nil) }, "127.0.1.1"},
		{"one joins", func() { r.board(edge("lon", 51.5, 0, "127.0.1.9")) }, "127.0.1.9"},
		{"all as before", func() { r.board(nodes...) }, "127.0.1.1"},
	} {
		step.change()
		// The very next query obeys, whether or not the new map is compiled.
		if got := london(); got != step.want {
			t.Errorf("%s: %s, want %s", step.name, got, step.want)
		}
		if step.name != "the board is lost" {
			r.compiled()
		}
		if got := london(); got != step.want {
			t.Errorf("%s, compiled: %s, want %s", step.name, got, step.want)
		}
	}
	if r.Counters().LastGood.Load() == 0 {
		t.Error("answers without a fit edge were not counted")
	}
}

func TestNoEdgeYet(t *testing.T) {
	r := prepare(t, nil)
	defer r.Close()
	r.steering.state.Store(&state{db: r.geo.Current(), plan: steer.NewPlan(nil, nil)})
	r.fleet.Store(nil)
	m := r.direct(question("www.perigee.test.", dns.TypeA, london), "127.0.0.1")
	if m.Rcode != dns.RcodeServerFailure || len(m.Answer) != 0 || subnetOf(m) == nil || subnetOf(m).SourceScope != 0 {
		t.Errorf("%v", m)
	}
	r.board(edge("fra", 50.11, 8.68, "127.0.1.1"))
	if m := r.direct(question("www.perigee.test.", dns.TypeA, london), "127.0.0.1"); address(t, m) != "127.0.1.1" {
		t.Errorf("%v", m)
	}
}

// TestScopesHold: in the scope that an answer carries, every other client gets that answer too; before and after
// the map is compiled.
func TestScopesHold(t *testing.T) {
	r := prepare(t, nil)
	defer r.Close()
	rng := rand.New(rand.NewPCG(11, 11))
	check := func(clients, others int) (widest int) {
		widest = 128
		for range clients {
			bits, all := 24, netip.MustParsePrefix("0.0.0.0/0")
			if rng.IntN(2) == 0 {
				bits, all = 56, netip.MustParsePrefix("2000::/3")
			}
			client, _ := inside(rng, all).Prefix(bits)
			m := r.direct(question("www.perigee.test.", dns.TypeA, client.String()), "127.0.0.1")
			want, bits := address(t, m), int(subnetOf(m).SourceScope)
			widest = min(widest, bits)
			scope, err := client.Addr().Prefix(bits)
			if err != nil {
				t.Fatal(err)
			}
			for range others {
				other := inside(rng, scope)
				asked := netip.PrefixFrom(other, other.BitLen())
				o := r.direct(question("www.perigee.test.", dns.TypeA, asked.String()), "127.0.0.1")
				if got, s := address(t, o), int(subnetOf(o).SourceScope); got != want || s != bits {
					t.Fatalf("%v gets %s for all of %v, but %v there gets %s with scope %d", client, want, scope, other, got, s)
				}
			}
		}
		return widest
	}
	check(50, 100)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); r.steering.run(ctx) }()
	r.compiled()
	cancel()
	<-done
	if widest := check(200, 100); widest > 12 {
		t.Errorf("the widest scope has a length of %d: scopes are not merged", widest)
	}
}

// inside returns a random address of p.
func inside(rng *rand.Rand, p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= byte(rng.IntN(2)) << (7 - bit%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// TestDecideIsTheAnswer: the explanation names the edge and scope that the wire carries.
func TestDecideIsTheAnswer(t *testing.T) {
	r := newRig(t, nil)
	r.compiled()
	rng := rand.New(rand.NewPCG(13, 13))
	for range 300 {
		a := inside(rng, netip.MustParsePrefix("0.0.0.0/0"))
		m := r.direct(question("www.perigee.test.", dns.TypeA, netip.PrefixFrom(a, 32).String()), "127.0.0.1")
		d := r.Decide("WWW.perigee.test", a, TypeA)
		if d.Addr.String() != address(t, m) || d.Scope.Bits() != int(subnetOf(m).SourceScope) || d.Edge != d.Edges[0].Name ||
			!d.Scope.Contains(a) || !d.Network.Contains(a) || d.Scope.Bits() > d.Network.Bits() || !d.Steered || !d.Compiled {
			t.Fatalf("%v is told\n%v\nand explained\n%+v", a, m, d)
		}
	}
	d := r.Decide("www.perigee.test", netip.MustParseAddr("81.2.69.142"), TypeA)
	if d.Rcode != "NOERROR" || d.Edge != "fra" || d.Edges[0].Reason != steer.Nearest || d.Edges[0].KM < 500 || d.Edges[0].KM > 800 ||
		d.Place.Country != "GB" || d.TTL != 20 || len(d.Records) != 1 || d.Geo.Attribution == "" || d.Fleet != r.gen {
		t.Errorf("%+v", d)
	}
	for name, rcode := range map[string]string{"no.perigee.test": "NXDOMAIN", "example.com": "REFUSED", "mail.perigee.test": "NOERROR", "": "REFUSED", "a..b": "REFUSED"} {
		if d := r.Decide(name, netip.MustParseAddr("81.2.69.142"), TypeA); d.Rcode != rcode || d.Steered {
			t.Errorf("%q: %+v", name, d)
		}
	}
	if d := r.Decide("www.perigee.test", netip.Addr{}, TypeA); d.Edge != "fra" || d.Edges[0].Reason != steer.Default {
		t.Errorf("no client: %+v", d)
	}
	if n := r.Counters().Steered.Load(); n != 300 {
		t.Errorf("%d steered answers were counted; explanations are none", n)
	}
}

func TestGeoSwapIsFollowed(t *testing.T) {
	r := newRig(t, nil)
	r.compiled()
	before := r.Counters().Compiled.Load()
	// The same table, opened again, is another DB: the map must be made anew.
	if err := r.geo.Swap("geo/table.bin"); err != nil {
		t.Fatal(err)
	}
	if got := address(t, r.ask("udp", question("www.perigee.test.", dns.TypeA, london))); got != "127.0.1.1" {
		t.Errorf("after the swap: %s", got)
	}
	r.compiled()
	if r.steering.current().db != r.geo.Current() || r.Counters().Compiled.Load() == before {
		t.Error("the map of the old geo data is still in use")
	}
}

// TestQueriesDuringChange runs queries, changes of the fleet and explanations side by side, for the race detector.
func TestQueriesDuringChange(t *testing.T) {
	r := newRig(t, nil)
	nodes := r.fleet.Load().Nodes
	var wg sync.WaitGroup
	for _, network := range []string{"udp", "udp", "tcp"} {
		wg.Go(func() {
			for range 150 {
				for _, name := range []string{"www.perigee.test.", "sub.perigee.test.", "perigee.test.", "alias.perigee.test."} {
					m := r.ask(network, question(name, dns.TypeA, singapore))
					if m.Rcode != dns.RcodeSuccess {
						t.Errorf("%v", m)
					}
				}
			}
		})
	}
	for i := range 30 {
		next := append([]fleet.Node(nil), nodes...)
		next[i%3].Down = true
		r.board(next...)
		r.names.Store(NewNames("perigee.test", []string{"www.perigee.test", "perigee.test"}))
		r.Decide("www.perigee.test", netip.MustParseAddr("137.132.0.1"), TypeA)
		time.Sleep(5 * time.Millisecond)
	}
	wg.Wait()
}

func TestNewRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, x := range map[string]struct {
		change func(*Config)
		says   string
	}{
		"port taken":        {func(c *Config) { c.Listen = taken.Addr().String() }, "address already in use"},
		"no name server":    {func(c *Config) { c.Servers = nil }, "needs a name server"},
		"bad zone":          {func(c *Config) { c.Zone = "a..b" }, "not a domain name"},
		"root zone":         {func(c *Config) { c.Zone = "." }, "not a domain name"},
		"bad record":        {func(c *Config) { c.Records = "x A 1.2.3" }, "bad A A"},
		"record outside":    {func(c *Config) { c.Records = "www.example.com. A 192.0.2.1" }, "outside the zone"},
		"CNAME beside A":    {func(c *Config) { c.Records = "x CNAME y\nx A 192.0.2.1" }, "CNAME and other"},
		"below a DNAME":     {func(c *Config) { c.Records = "x DNAME example.com.\na.x A 192.0.2.1" }, "below the DNAME"},
		"two DNAMEs":        {func(c *Config) { c.Records = "x DNAME example.com.\nx DNAME example.net." }, "more than one DNAME"},
		"signatures":        {func(c *Config) { c.Records = "x NSEC a.perigee.test. A" }, "not served"},
		"class CH":          {func(c *Config) { c.Records = "x CH TXT x" }, "class IN"},
		"two SOAs":          {func(c *Config) { c.Records = "@ SOA a b 1 2 3 4 5\n@ SOA a b 2 2 3 4 5" }, "more than one SOA"},
		"TTL of a fraction": {func(c *Config) { c.TTL = 1500 * time.Millisecond }, "whole seconds"},
		"no fleet":          {func(c *Config) { c.Fleet = nil }, "required"},
	} {
		t.Run(name, func(t *testing.T) {
			r := prepare(t, nil)
			defer r.Close()
			c := Config{Listen: "127.0.0.1:0", Zone: "perigee.test", Servers: []NameServer{{Name: "ns.example.com"}},
				Names: r.names.Load, Fleet: r.fleet.Load, Geo: r.geo, Log: r.log, Clock: r.clock}
			x.change(&c)
			s, err := New(c)
			if err == nil {
				s.Close()
				t.Fatal("it was taken")
			}
			if !strings.Contains(err.Error(), x.says) {
				t.Errorf("%v, want %q", err, x.says)
			}
		})
	}
}

func TestRunEndsByItsContext(t *testing.T) {
	r := prepare(t, nil)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	// An open and idle TCP connection does not hold it up.
	conn, err := dns.Dial("tcp", r.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.WriteMsg(question("www.perigee.test.", dns.TypeA, "")); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ReadMsg(); err != nil {
		t.Fatal(err)
	}
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("Run: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("Run did not end")
	}
	if _, err := net.Dial("tcp", r.Addr().String()); err == nil {
		t.Error("the socket is still open")
	}
}

func TestRunReportsALostSocket(t *testing.T) {
	r := prepare(t, nil)
	if err := closeAll(r.udp); err != nil {
		t.Fatal(err)
	}
	if err := r.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("Run: %v", err)
	}
}

func TestWithoutSocketsItExplains(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Listen = "" })
	r.compiled()
	if d := r.Decide("www.perigee.test", netip.MustParseAddr("81.2.69.142"), TypeA); d.Edge != "fra" || !d.Compiled {
		t.Errorf("%+v", d)
	}
	if r.Addr().IsValid() || r.udp != nil || r.tcp != nil || r.Close() != nil {
		t.Errorf("it listens on %v", r.Addr())
	}
}
