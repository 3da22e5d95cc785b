package geo

import (
	"net/netip"
	"time"
)

// DB maps every IP address to a Place. It is immutable and safe for concurrent use; nothing has to be closed.
type DB struct {
	places   []Place // places[0] is the zero Place
	runs     *Runs
	passport Passport
}

// Lookup returns where a is, and the largest prefix around a on which the answer is the same: the prefix is never
// narrower than the data's own network. Addresses the data does not know, private and loopback ones among them, and
// the zero Addr have the zero Place. It does not allocate.
func (db *DB) Lookup(a netip.Addr) (Place, netip.Prefix) {
	n, p := db.runs.Find(a)
	return db.places[n], p
}

// Places returns every distinct Place; number 0 is the zero Place. The caller must not change it.
func (db *DB) Places() []Place { return db.places }

// Runs returns the address space cut into runs that carry the numbers of Places.
func (db *DB) Runs() *Runs { return db.runs }

// Passport says where the data comes from.
func (db *DB) Passport() Passport { return db.passport }

// newDB finishes a passport and joins the parts.
func newDB(places []Place, runs *Runs, p Passport) *DB {
	p.Built = p.Built.UTC().Truncate(time.Second)
	p.Networks = runs.Len()
	p.Places = len(places) - 1
	return &DB{places: places, runs: runs, passport: p}
}
