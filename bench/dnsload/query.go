package dnsload

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
)

const (
	headerSize   = 12
	typeA        = 1
	typeAAAA     = 28
	typeOPT      = 41
	classIN      = 1
	optECS       = 8
	randomLabel  = 12
	optHeader    = 11   // name, type, class, TTL and length of an OPT record
	udpSize      = 1232 // of answers that are asked for
	ecsData      = 7    // family, source and scope lengths, three bytes of address
	sourceLength = 24
)

// query is one query and what its answer must be.
type query struct {
	packet []byte
	end    int // of the question
	kind   *asker
	addr   []byte // the one right address; nil for any of the kind's
}

func (q *query) id() uint16 { return binary.BigEndian.Uint16(q.packet) }

// ecs returns the data of the query's client-subnet option, nil if it has none.
func (q *query) ecs() []byte {
	if !q.kind.ECS {
		return nil
	}
	return q.packet[q.end+optHeader+4:]
}

// asker makes the queries of a kind.
type asker struct {
	Kind
	packets [][]byte // by name: the query, but for id, random label and subnet
	ends    []int
	addrs   [][]byte
}

func newAsker(k Kind) (*asker, error) {
	if k.Weight < 0 || len(k.Names) == 0 {
		return nil, errors.New("a kind has a weight and names")
	}
	if k.Type != typeA && k.Type != typeAAAA {
		return nil, fmt.Errorf("type %d is neither A nor AAAA", k.Type)
	}
	if k.Each && len(k.Addrs) != len(k.Names) {
		return nil, fmt.Errorf("%d names have %d addresses", len(k.Names), len(k.Addrs))
	}
	a := &asker{Kind: k}
	for _, addr := range k.Addrs {
		if addr.Is4() != (k.Type == typeA) {
			return nil, fmt.Errorf("%s is no address of type %d", addr, k.Type)
		}
		a.addrs = append(a.addrs, addr.AsSlice())
	}
	for _, name := range k.Names {
		if k.Random {
			name = strings.Repeat("x", randomLabel) + "." + name
		}
		b, err := appendName(make([]byte, headerSize, 128), name)
		if err != nil {
			return nil, err
		}
		b[5], b[11] = 1, 1 // one question, one additional record
		b = binary.BigEndian.AppendUint16(b, k.Type)
		b = binary.BigEndian.AppendUint16(b, classIN)
		a.ends = append(a.ends, len(b))
		a.packets = append(a.packets, appendOPT(b, k.ECS))
	}
	return a, nil
}

func appendName(b []byte, name string) ([]byte, error) {
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		if len(label) == 0 || len(label) > 63 {
			return nil, fmt.Errorf("%q is no domain name", name)
		}
		b = append(append(b, byte(len(label))), label...)
	}
	if b = append(b, 0); len(b) > headerSize+255 {
		return nil, fmt.Errorf("%q is no domain name", name)
	}
	return b, nil
}

// appendOPT appends an OPT record, which ends with the three bytes of a subnet if there is one.
func appendOPT(b []byte, ecs bool) []byte {
	b = append(b, 0, 0, typeOPT, udpSize>>8, udpSize&0xff, 0, 0, 0, 0, 0, 0)
	if !ecs {
		return b
	}
	b[len(b)-1] = 4 + ecsData
	return append(b, 0, optECS, 0, ecsData, 0, 1, sourceLength, 0, 0, 0, 0)
}

// ask makes q a new query, in the memory of the old one.
func (a *asker) ask(q *query, id uint16, rng *rand.Rand) {
	n := 0
	if len(a.packets) > 1 {
		n = rng.IntN(len(a.packets))
	}
	q.kind, q.end, q.addr = a, a.ends[n], nil
	if a.Each {
		q.addr = a.addrs[n]
	}
	q.packet = append(q.packet[:0], a.packets[n]...)
	binary.BigEndian.PutUint16(q.packet, id)
	if a.Random {
		label := q.packet[headerSize+1:][:randomLabel]
		for v, i := rng.Uint64(), 0; i < randomLabel; i++ {
			label[i] = 'a' + byte(v%26)
			v /= 26
		}
	}
	if a.ECS {
		network := publicNetwork(rng)
		copy(q.packet[len(q.packet)-3:], network[:])
	}
}

// reserved are the networks that are not of the public address space (IANA IPv4 Special-Purpose Address Registry; multicast and what is above it).
var reserved = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.0.0.0/24"), netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("192.88.99.0/24"), netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("224.0.0.0/3"),
}

// publicNetwork returns the first three bytes of a random /24 of the public address space.
func publicNetwork(rng *rand.Rand) [3]byte {
	for {
		v := rng.Uint32()
		n := [3]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8)}
		if !isReserved(netip.AddrFrom4([4]byte{n[0], n[1], n[2], 0})) {
			return n
		}
	}
}

func isReserved(a netip.Addr) bool {
	for _, p := range reserved {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
