package geo

import (
	"encoding/binary"
	"net/netip"
)

// space is the unicast part of one family's keys, which are addresses of IPv4 and /64 networks of IPv6.
type space struct {
	reserved [][2]uint64 // first and last keys of what is not unicast, ascending and apart
	total    uint64      // keys that are
}

// The blocks that no address on the Internet lies in: the special-purpose registries of IANA (RFC 6890, RFC 8190), multicast and class E; of IPv6
// everything outside 2000::/3 (RFC 4291 §2.4), documentation (RFC 3849, RFC 9637), ORCHIDv2 (RFC 7343) and 6to4 (RFC 7526), which carries IPv4 addresses.
var (
	notUnicast4 = []string{"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
		"192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3"}
	notUnicast6 = []string{"::/3", "2001:20::/28", "2001:db8::/32", "2002::/16", "3fff::/20", "4000::/2", "8000::/1"}
)

func newSpace(notUnicast []string, last uint64) space {
	s := space{total: last} // one less than the keys there are, lest it overflow
	for _, text := range notUnicast {
		first, end := keysOf(netip.MustParsePrefix(text))
		s.reserved = append(s.reserved, [2]uint64{first, end})
		s.total -= end - first + 1
	}
	s.total++
	return s
}

// keysOf returns the first and the last key of a prefix; one of IPv6 that is longer than 64 bits is part of a single key.
func keysOf(p netip.Prefix) (first, last uint64) {
	if p.Addr().Is4() {
		b := p.Addr().As4()
		first = uint64(binary.BigEndian.Uint32(b[:]))
		return first, first | (1<<(32-p.Bits()) - 1)
	}
	b := p.Addr().As16()
	first = binary.BigEndian.Uint64(b[:8])
	return first, first | (1<<max(0, 64-p.Bits()) - 1)
}

// size returns how many unicast keys lie from first to last.
func (s *space) size(first, last uint64) uint64 {
	n := last - first + 1 // 0 for all of IPv6, of which the reserved ones are then taken: the difference is right again
	for _, r := range s.reserved {
		if r[0] > last {
			break
		}
		if from, to := max(first, r[0]), min(last, r[1]); from <= to {
			n -= to - from + 1
		}
	}
	return n
}

// spaces are the unicast parts of both families.
type spaces struct{ v4, v6 space }

func newSpaces() *spaces {
	return &spaces{newSpace(notUnicast4, 1<<32-1), newSpace(notUnicast6, 1<<64-1)}
}

// coverage measures how much of the space has a known place.
func (db *DB) coverage() Coverage {
	s := newSpaces()
	return Coverage{IPv4: coverageOf(&db.runs.v4, &s.v4, db.places), IPv6: coverageOf(&db.runs.v6, &s.v6, db.places)}
}

func coverageOf[L uint16 | uint32](x *axis[L], s *space, places []Place) float64 {
	var known uint64
	c := cursor[L]{x: x}
	for first := uint64(0); ; c.next() {
		last := c.last()
		if places[x.num.at(c.i)].Known {
			known += s.size(first, last)
		}
		if last == x.lastKey() {
			return float64(known) / float64(s.total)
		}
		first = last + 1
	}
}
