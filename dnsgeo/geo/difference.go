package geo

import (
	"cmp"
	"math"
	"net/netip"
	"slices"
)

// Difference tells how the answers of one DB differ from those of another.
type Difference struct {
	IPv4    FamilyDifference `json:"ipv4"`
	IPv6    FamilyDifference `json:"ipv6"`
	Largest []Move           `json:"largest"` // the largest networks whose place changed, by share of their family's space
}

// FamilyDifference is the Difference of one family. All are shares of its unicast space, from 0 to 1: see Coverage.
type FamilyDifference struct {
	Before  float64 `json:"before"`  // had a known place
	After   float64 `json:"after"`   // has one now
	Gained  float64 `json:"gained"`  // has one now and had none
	Lost    float64 `json:"lost"`    // had one and has none now
	Moved   float64 `json:"moved"`   // of what is known in both: farther than the limit away, or in another country
	Country float64 `json:"country"` // of what moved: in another country
}

// Move is a range of addresses whose place changed.
type Move struct {
	First      netip.Addr `json:"first"`
	Last       netip.Addr `json:"last"`
	From       Place      `json:"from"`
	To         Place      `json:"to"`
	Kilometres float64    `json:"km"`
	Share      float64    `json:"share"` // of the unicast space of its family
}

// Diff compares next with old: what moved by more than km kilometres or to another country, at most top Moves of it by name. It takes
// some 100 ms for two city databases.
func Diff(old, next *DB, km float64, top int) Difference {
	d := differ{old: old.places, next: next.places, km: km, top: top}
	s := newSpaces()
	var out Difference
	out.IPv4 = diffAxes(&d, &old.runs.v4, &next.runs.v4, &s.v4)
	out.IPv6 = diffAxes(&d, &old.runs.v6, &next.runs.v6, &s.v6)
	out.Largest = d.largest()
	return out
}

// differ compares places and collects the largest moves.
type differ struct {
	old, next []Place
	km        float64
	top       int
	moves     []Move
}

func diffAxes[L uint16 | uint32](d *differ, old, next *axis[L], s *space) FamilyDifference {
	var before, after, gained, lost, moved, country uint64
	for g := range overlay(old, next) {
		p, q := &d.old[g.a], &d.next[g.b]
		if !p.Known && !q.Known {
			continue
		}
		n := s.size(g.first, g.last)
		if p.Known {
			before += n
		}
		if q.Known {
			after += n
		}
		switch far, abroad := d.changed(p, q); {
		case !p.Known:
			gained += n
		case !q.Known:
			lost += n
		case (far > d.km || abroad) && n > 0:
			moved += n
			if abroad {
				country += n
			}
			d.note(Move{First: addrOf[L](g.first, false), Last: addrOf[L](g.last, true), From: *p, To: *q, Kilometres: far, Share: float64(n) / float64(s.total)})
		}
	}
	share := func(n uint64) float64 { return float64(n) / float64(s.total) }
	return FamilyDifference{Before: share(before), After: share(after), Gained: share(gained), Lost: share(lost), Moved: share(moved), Country: share(country)}
}

// changed returns how far q is from p, and whether it is known to be in another country.
func (d *differ) changed(p, q *Place) (km float64, abroad bool) {
	if !p.Known || !q.Known {
		return 0, false
	}
	return kilometres(p.Lat, p.Lon, q.Lat, q.Lon), p.Country != q.Country && p.Country != "" && q.Country != ""
}

// note keeps a move if it is one of the largest so far. The list is cut whenever it has twice as many as are wanted.
func (d *differ) note(m Move) {
	if d.top <= 0 {
		return
	}
	d.moves = append(d.moves, m)
	if len(d.moves) >= 2*d.top {
		d.moves = d.largest()
	}
}

// largest returns the largest moves; the lower address comes first of two that are alike.
func (d *differ) largest() []Move {
	slices.SortStableFunc(d.moves, func(a, b Move) int {
		return cmp.Or(cmp.Compare(b.Share, a.Share), a.First.Compare(b.First))
	})
	return d.moves[:min(len(d.moves), d.top):len(d.moves)]
}

// addrOf returns the first or the last address of a key.
func addrOf[L uint16 | uint32](key uint64, last bool) netip.Addr {
	if new(axis[L]).half() == 16 {
		return netip.AddrFrom4([4]byte{byte(key >> 24), byte(key >> 16), byte(key >> 8), byte(key)})
	}
	var b [16]byte
	for i := range 8 {
		b[i] = byte(key >> (56 - 8*i))
		if last {
			b[8+i] = 0xff
		}
	}
	return netip.AddrFrom16(b)
}

// kilometres returns the great-circle distance between two points in degrees (haversine, mean radius 6,371 km). Package steer, which imports this one, has
// a faster one for ordering.
func kilometres(lat1, lon1, lat2, lon2 float64) float64 {
	const radian = math.Pi / 180
	half := func(d float64) float64 { s := math.Sin(d * radian / 2); return s * s }
	h := half(lat2-lat1) + math.Cos(lat1*radian)*math.Cos(lat2*radian)*half(lon2-lon1)
	return 2 * 6371 * math.Asin(min(1, math.Sqrt(h)))
}
