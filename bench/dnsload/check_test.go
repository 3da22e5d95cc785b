package dnsload

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

var (
	edgeA    = netip.MustParseAddr("198.51.100.7")
	edgeB    = netip.MustParseAddr("198.51.100.8")
	edgeSix  = netip.MustParseAddr("2001:db8::7")
	steered  = Kind{Weight: 1, Names: []string{"www.example.test"}, Type: typeA, ECS: true, Addrs: []netip.Addr{edgeA, edgeB}}
	steered6 = Kind{Weight: 1, Names: []string{"www.example.test"}, Type: typeAAAA, ECS: true, Addrs: []netip.Addr{edgeSix}}
	static   = Kind{Weight: 1, Names: []string{"one.example.test", "two.example.test"}, Type: typeA, Addrs: []netip.Addr{edgeA, edgeB}, Each: true}
	missing  = Kind{Weight: 1, Names: []string{"example.test"}, Type: typeA, Random: true, Rcode: 3}
)

// newQuery makes a query of a kind.
func newQuery(t testing.TB, k Kind, id uint16) *query {
	t.Helper()
	a, err := newAsker(k)
	if err != nil {
		t.Fatal(err)
	}
	q := new(query)
	a.ask(q, id, rand.New(rand.NewPCG(1, 2)))
	return q
}

// rightAnswer answers a query as a server does: question, a record with addr unless it is the zero Addr, an SOA if not, the OPT record with the subnet.
func rightAnswer(query []byte, end int, rcode byte, addr netip.Addr) []byte {
	b := slices.Clone(query[:end])
	b[2], b[3] = 0x84, rcode
	if addr.IsValid() {
		b[7] = 1
		b = append(b, 0xc0, headerSize)
		b = append(b, query[end-4:end]...) // type and class
		b = append(b, 0, 0, 0, 60, 0, byte(len(addr.AsSlice())))
		b = append(b, addr.AsSlice()...)
	} else {
		b[9] = 1
		b = append(b, 0xc0, byte(end-4-6), 0, 6, 0, 1, 0, 0, 0, 60, 0, 22, 0, 0)
		b = append(b, make([]byte, 20)...)
	}
	opt := slices.Clone(query[end:])
	if len(opt) > optHeader {
		opt[optHeader+4+3] = 16 // the scope
	}
	return append(b, opt...)
}

func TestCheck(t *testing.T) {
	at := func(offset int, v byte) func(*query, []byte) []byte {
		return func(_ *query, b []byte) []byte { b[offset] = v; return b }
	}
	fromEnd := func(offset int, v byte) func(*query, []byte) []byte {
		return func(_ *query, b []byte) []byte { b[len(b)-offset] = v; return b }
	}
	for _, x := range []struct {
		name   string
		kind   Kind
		addr   netip.Addr
		rcode  byte
		change func(*query, []byte) []byte
		want   error
	}{
		{"right", steered, edgeB, 0, nil, nil},
		{"right, IPv6", steered6, edgeSix, 0, nil, nil},
		{"right, no such name", missing, netip.Addr{}, 3, nil, nil},
		{"right, owner in full", steered, edgeA, 0, func(q *query, b []byte) []byte {
			return slices.Concat(b[:q.end], b[headerSize:q.end-4], b[q.end+2:])
		}, nil},
		{"right, options beside the subnet", steered, edgeA, 0, func(q *query, b []byte) []byte {
			b[len(b)-11-1] += 6
			return append(b, 0, 3, 0, 2, 'n', 's') // NSID
		}, nil},
		{"another id", steered, edgeA, 0, at(1, 9), errHeader},
		{"a query", steered, edgeA, 0, at(2, 0x04), errHeader},
		{"not authoritative", steered, edgeA, 0, at(2, 0x80), errHeader},
		{"cut", steered, edgeA, 0, at(2, 0x86), errHeader},
		{"another opcode", steered, edgeA, 0, at(2, 0x8c), errHeader},
		{"SERVFAIL", steered, edgeA, 2, nil, errRcode},
		{"no such name, says NOERROR", missing, netip.Addr{}, 0, nil, errRcode},
		{"no question", steered, edgeA, 0, at(5, 0), errQuestion},
		{"another name", steered, edgeA, 0, at(headerSize+1, 'v'), errQuestion},
		{"another case", steered, edgeA, 0, at(headerSize+1, 'W'), errQuestion},
		{"no address", steered, netip.Addr{}, 0, nil, errCount},
		{"an address of a name that does not exist", missing, edgeA, 3, nil, errCount},
		{"a count without a record", steered, edgeA, 0, at(7, 2), errCount},
		{"somebody's address", steered, netip.MustParseAddr("198.51.100.9"), 0, nil, errAddress},
		{"another record type", steered, edgeA, 0, func(q *query, b []byte) []byte { b[q.end+3] = 5; return b }, errOwner},
		{"another owner", steered, edgeA, 0, func(q *query, b []byte) []byte { b[q.end+1] = headerSize + 4; return b }, errOwner},
		{"a record that ends early", steered, edgeA, 0, func(q *query, b []byte) []byte { return b[:q.end+14] }, errBroken},
		{"no OPT record", steered, edgeA, 0, func(q *query, b []byte) []byte { b[11] = 0; return b[:q.end+16] }, errOwner},
		{"a byte too many", steered, edgeA, 0, func(_ *query, b []byte) []byte { return append(b, 0) }, errBroken},
		{"an option that ends early", steered, edgeA, 0, fromEnd(8, 9), errBroken},
		{"another subnet", steered, edgeA, 0, fromEnd(1, 255), errSubnet},
		{"another source length", steered, edgeA, 0, fromEnd(5, 23), errSubnet},
		{"a scope that is none", steered, edgeA, 0, fromEnd(4, 33), errSubnet},
		{"no subnet", steered, edgeA, 0, func(_ *query, b []byte) []byte { b = b[:len(b)-11]; b[len(b)-1] = 0; return b }, errSubnet},
		{"a subnet that was not sent", static, edgeA, 0, func(_ *query, b []byte) []byte {
			b[len(b)-1] = 11
			return append(b, 0, optECS, 0, 7, 0, 1, 24, 0, 1, 2, 3)
		}, errSubnet},
	} {
		t.Run(x.name, func(t *testing.T) {
			q := newQuery(t, x.kind, 0x1203)
			b := rightAnswer(q.packet, q.end, x.rcode, x.addr)
			if x.change != nil {
				b = x.change(q, b)
			}
			if err := q.check(b); !errors.Is(err, x.want) {
				t.Errorf("%v, want %v; query %x, answer %x", err, x.want, q.packet, b)
			}
		})
	}
}

func TestCheckKnowsEachStaticName(t *testing.T) {
	a, err := newAsker(static)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	seen := map[byte]bool{}
	for range 50 {
		q := new(query)
		a.ask(q, 1, rng)
		right, other := edgeA, edgeB
		if q.packet[headerSize+2] == 'w' {
			right, other = edgeB, edgeA
		}
		seen[q.packet[headerSize+2]] = true
		if err := q.check(rightAnswer(q.packet, q.end, 0, right)); err != nil {
			t.Fatal(err)
		}
		if err := q.check(rightAnswer(q.packet, q.end, 0, other)); !errors.Is(err, errAddress) {
			t.Fatalf("the address of the other name: %v", err)
		}
	}
	if len(seen) != 2 {
		t.Errorf("of two names %d were asked for", len(seen))
	}
}

// TestAsk: the wire form is the one of RFC 1035 and RFC 7871, and what is random is where it belongs.
func TestAsk(t *testing.T) {
	q := newQuery(t, steered, 0xabcd)
	want := "\xab\xcd\x00\x00\x00\x01\x00\x00\x00\x00\x00\x01\x03www\x07example\x04test\x00\x00\x01\x00\x01" +
		"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x0b\x00\x08\x00\x07\x00\x01\x18\x00"
	if got := string(q.packet[:len(q.packet)-3]); got != want {
		t.Errorf("%x, want %x", got, want)
	}
	a, err := newAsker(missing)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(5, 6))
	labels := map[string]bool{}
	for range 1000 {
		a.ask(q, 1, rng)
		labels[string(q.packet[headerSize:headerSize+1+randomLabel])] = true
	}
	if len(labels) != 1000 {
		t.Errorf("1000 random names are %d", len(labels))
	}
	for range 100_000 {
		n := publicNetwork(rng)
		if isReserved(netip.AddrFrom4([4]byte{n[0], n[1], n[2], 255})) {
			t.Fatalf("%v is not public", n)
		}
	}
}

func TestNewAskerRefuses(t *testing.T) {
	for _, k := range []Kind{
		{},
		{Weight: 1, Names: []string{"a..b"}, Type: typeA},
		{Weight: 1, Names: []string{string(bytes.Repeat([]byte("a."), 128))}, Type: typeA},
		{Weight: 1, Names: []string{"a"}, Type: 16},
		{Weight: 1, Names: []string{"a"}, Type: typeA, Addrs: []netip.Addr{edgeSix}},
		{Weight: 1, Names: []string{"a", "b"}, Type: typeA, Addrs: []netip.Addr{edgeA}, Each: true},
	} {
		if _, err := newAsker(k); err == nil {
			t.Errorf("%+v was accepted", k)
		}
	}
}

// FuzzCheck: whatever comes from the network is refused or is an answer to what was asked.
func FuzzCheck(f *testing.F) {
	for _, k := range []Kind{steered, steered6, static} {
		q := newQuery(f, k, 7)
		f.Add(rightAnswer(q.packet, q.end, 0, k.Addrs[0]))
	}
	q := newQuery(f, missing, 7)
	f.Add(rightAnswer(q.packet, q.end, 3, netip.Addr{}))
	f.Add([]byte{0, 7, 0x84})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, k := range []Kind{steered, steered6, static, missing} {
			q := newQuery(t, k, 7)
			if q.check(b) != nil {
				continue
			}
			if !bytes.Equal(b[:2], q.packet[:2]) || !bytes.Equal(b[headerSize:q.end], q.packet[headerSize:q.end]) || b[3]&15 != k.Rcode {
				t.Errorf("%x was taken for an answer to %x", b, q.packet)
			}
			if n := binary.BigEndian.Uint16(b[6:]); int(n) != min(1, len(k.Addrs)) {
				t.Errorf("%d addresses were taken for right", n)
			}
			if k.ECS && !bytes.Contains(b[q.end:], q.ecs()[4:]) {
				t.Errorf("%x lacks the subnet of %x", b, q.packet)
			}
		}
	})
}
