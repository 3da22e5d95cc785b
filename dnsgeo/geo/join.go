package geo

import "fmt"

// maxJoined bounds the pairs of place and owner that a join may make: some 500 MB while they are made. DB-IP City Lite, the
// largest in places with 566,000, makes 1.1 million with the 91,000 owners of the Internet.
const maxJoined = 1 << 22

// join lays the runs of owners over those of places: every pair of place and owner that occurs becomes a Place.
func join(places []Place, runs *Runs, owners []Place, networks *Runs, limit int) ([]Place, *Runs, error) {
	j := joiner{places: places, owners: owners, number: map[uint64]uint32{0: 0}, joined: []Place{{}}, limit: limit}
	out := new(Runs)
	joinAxes(&j, &runs.v4, &networks.v4, &out.v4)
	joinAxes(&j, &runs.v6, &networks.v6, &out.v6)
	return j.joined, out, j.err
}

// joiner numbers pairs of place and owner.
type joiner struct {
	places, owners []Place
	number         map[uint64]uint32 // by number of the place, shifted by 32, and of the owner
	joined         []Place
	limit          int
	err            error
}

func (j *joiner) numberOf(place, owner uint32) uint32 {
	pair := uint64(place)<<32 | uint64(owner)
	n, ok := j.number[pair]
	if ok || j.err != nil {
		return n
	}
	if len(j.joined) > j.limit {
		j.err = fmt.Errorf("joining places and owners gives more than %d pairs; leave the ASN file away, or use a database with fewer places", j.limit)
		return 0
	}
	p := j.places[place]
	if asn := j.owners[owner].ASN; asn != 0 {
		p.ASN = asn
	}
	n = uint32(len(j.joined))
	j.number[pair] = n
	j.joined = append(j.joined, p)
	return n
}

func joinAxes[L uint16 | uint32](j *joiner, places, owners, out *axis[L]) {
	for s := range overlay(places, owners) {
		out.push(s.first, j.numberOf(s.a, s.b))
		if j.err != nil {
			return
		}
	}
	out.done = true
	out.finish()
}
