package geo

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
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

// Passport says where the data comes from. The caller must not change its Files.
func (db *DB) Passport() Passport { return db.passport }

// Identity tells apart what DBs were read from: it is that of their files, whatever they are called. A DB that was not read from files has "".
func (db *DB) Identity() string {
	sums := make([]string, len(db.passport.Files))
	for i, f := range db.passport.Files {
		sums[i] = f.SHA256
	}
	return strings.Join(sums, "+")
}

// Identity returns what the DB would have that Open read from the files. A file that is missing gives fs.ErrNotExist.
func Identity(paths ...string) (string, error) {
	sums := make([]string, len(paths))
	for i, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return "", fmt.Errorf("read geo data: %w", err)
		}
		h := sha256.New()
		_, err = io.Copy(h, io.LimitReader(f, maxFile+1))
		if err = errors.Join(err, f.Close()); err != nil {
			return "", fmt.Errorf("read geo data: %w", err)
		}
		sums[i] = hex.EncodeToString(h.Sum(nil))
	}
	return strings.Join(sums, "+"), nil
}

// newDB finishes a passport and joins the parts. Who joined owners to places says how many places there were before.
func newDB(places []Place, runs *Runs, p Passport) *DB {
	p.Built = p.Built.UTC().Truncate(time.Second)
	p.Networks = runs.Len()
	if p.Places == 0 {
		p.Places = countKnown(places)
	}
	p.ASNs = countOwners(places)
	db := &DB{places: places, runs: runs}
	p.Coverage = db.coverage()
	db.passport = p
	return db
}

// countOwners counts distinct autonomous systems.
func countOwners(places []Place) int {
	owners := make(map[uint32]bool)
	for i := range places {
		if asn := places[i].ASN; asn != 0 {
			owners[asn] = true
		}
	}
	return len(owners)
}

// countKnown counts distinct known places, whoever owns their networks.
func countKnown(places []Place) int {
	known := 0
	var seen map[Place]bool // made once there is an owner, whose places need not be distinct without it
	for i, p := range places {
		if !p.Known {
			continue
		}
		if p.ASN != 0 && seen == nil {
			seen = make(map[Place]bool)
			for _, q := range places[:i] {
				seen[q] = true
			}
		}
		if p.ASN = 0; seen != nil {
			if seen[p] {
				continue
			}
			seen[p] = true
		}
		known++
	}
	return known
}
