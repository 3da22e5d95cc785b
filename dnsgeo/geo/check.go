package geo

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Reason is why a DB must not replace the one in use.
type Reason string

// The reasons, in the order in which they are looked for.
const (
	Older      Reason = "older"       // the publisher built it before the one in use
	Canaries   Reason = "canaries"    // it does not know addresses that everybody knows
	Coverage4  Reason = "coverage4"   // it knows too little of the IPv4 space that is known now
	Coverage6  Reason = "coverage6"   // the same for IPv6
	Moved      Reason = "moved"       // too much of the space would change its country
	RolledBack Reason = "rolled-back" // it was in use and rolled back
)

// Refusal is the error of a DB that could be read and is not put into use.
type Refusal struct {
	Reason Reason
	Detail string // a sentence for the operator
}

// Error returns the sentence for the operator.
func (r *Refusal) Error() string { return r.Detail }

func refuse(why Reason, format string, args ...any) error {
	return &Refusal{why, fmt.Sprintf(format, args...)}
}

// What a new DB may differ from the one in use. Publishers' monthly changes are far below: DB-IP City Lite moves some 0.3 % of IPv4 between countries.
const (
	maxLost4     = 0.02 // share of the known IPv4 space that it may not know
	maxLost6     = 0.10 // of IPv6, where one allocation is worth as much space as thousands of networks in use
	maxEmigrated = 0.20 // share of the known IPv4 space that it may have in another country
)

// canaries are addresses all over the world, of organisations that have held them for decades. A DB that has lost
// several of them is damaged, cut short or something else than a map of the Internet.
var canaries = []netip.Addr{
	netip.MustParseAddr("8.8.8.8"),
	netip.MustParseAddr("18.9.22.69"),
	netip.MustParseAddr("81.2.69.142"),
	netip.MustParseAddr("129.132.19.216"),
	netip.MustParseAddr("133.11.0.1"),
	netip.MustParseAddr("193.0.6.139"),
	netip.MustParseAddr("196.216.2.1"),
	netip.MustParseAddr("200.160.2.3"),
	netip.MustParseAddr("202.12.29.1"),
	netip.MustParseAddr("2001:4860:4860::8888"),
	netip.MustParseAddr("2001:67c:2e8:22::c100:68b"),
	netip.MustParseAddr("2001:dc0:2001::1"),
}

// maxLostCanaries is how many canaries that the old DB knows the new one may miss.
const maxLostCanaries = 2

// compare reports why next must not replace old. The table in the binary is there for want of anything better: it is replaced by older and by smaller data,
// as long as that is a map of the Internet.
func compare(old, next *DB) error {
	lost := lostCanaries(old, next)
	was, is := old.passport, next.passport
	if !was.Embedded && !was.Built.IsZero() && is.Built.Before(was.Built) {
		return refuse(Older, "it was built on %s, the data in use on %s; force it if it is meant", is.Built.Format(time.DateOnly), was.Built.Format(time.DateOnly))
	}
	if len(lost) > maxLostCanaries {
		return refuse(Canaries, "it does not know %s, which the data in use does; is it complete (IPv4 and IPv6)?", strings.Join(lost, ", "))
	}
	if was.Embedded {
		return nil
	}
	d := Diff(old, next, maxDistance, 0)
	share := func(part, whole float64) float64 {
		if whole == 0 {
			return 0
		}
		return part / whole
	}
	const advice = "is it complete? Look with `perigee geo diff`, and force it if it is meant"
	switch v4, v6 := d.IPv4, d.IPv6; {
	case share(v4.Lost, v4.Before) > maxLost4:
		return refuse(Coverage4, "it does not know %.1f %% of the IPv4 space that the data in use does; %s", 100*share(v4.Lost, v4.Before), advice)
	case share(v6.Lost, v6.Before) > maxLost6:
		return refuse(Coverage6, "it does not know %.1f %% of the IPv6 space that the data in use does; %s", 100*share(v6.Lost, v6.Before), advice)
	case share(v4.Country, v4.Before) > maxEmigrated:
		return refuse(Moved, "it has %.1f %% of the IPv4 space in other countries than the data in use; %s", 100*share(v4.Country, v4.Before), advice)
	}
	return nil
}

// maxDistance is farther than two points on Earth can be apart, in kilometres: only countries count.
const maxDistance = 21_000

// lostCanaries returns the canaries that old knows and next does not.
func lostCanaries(old, next *DB) []string {
	var lost []string
	for _, a := range canaries {
		was, _ := old.Lookup(a)
		if is, _ := next.Lookup(a); was.Known && !is.Known {
			lost = append(lost, a.String())
		}
	}
	return lost
}

// selfTests is about how many look-ups of each family the self test makes.
const selfTests = 4096

// selfTest asks a new DB for addresses at the beginning and the end of runs all over both families: each must be found in its own run, within a
// prefix that does not leave it, and at a place on Earth.
func selfTest(db *DB) error {
	return errors.Join(selfTestOf(db, &db.runs.v4), selfTestOf(db, &db.runs.v6))
}

func selfTestOf[L uint16 | uint32](db *DB, x *axis[L]) error {
	step := len(x.low)/selfTests + 1
	c := cursor[L]{x: x}
	for first := uint64(0); ; c.next() {
		last := c.last()
		if c.i%step == 0 {
			for _, key := range []uint64{first, last} {
				if number, length := x.find(key); number != x.num.at(c.i) || !within(key, 2*x.half()-length, first, last) || !onEarth(&db.places[number]) {
					return fmt.Errorf("the look-up of %s fails the self test; report it with the file", addrOf[L](key, false))
				}
			}
		}
		if last == x.lastKey() {
			return nil
		}
		first = last + 1
	}
}

// within reports whether the aligned block of 1<<bits keys around key lies within first and last.
func within(key uint64, bits int, first, last uint64) bool {
	if bits < 0 || bits > 64 {
		return false
	}
	rest := uint64(1)<<bits - 1
	return key&^rest >= first && key|rest <= last
}

func onEarth(p *Place) bool { return !p.Known || validCoordinates(p.Lat, p.Lon) }
