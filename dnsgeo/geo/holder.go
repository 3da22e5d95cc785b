package geo

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
)

// Holder keeps the DB in use. Readers take Current and never wait; a DB that was replaced lives on for those who still
// hold it and is then garbage, so that there is nothing to close too early.
type Holder struct {
	current atomic.Pointer[DB]
	swap    sync.Mutex // one Swap at a time: compiling a large file takes seconds and memory
}

// NewHolder returns a Holder of db.
func NewHolder(db *DB) *Holder {
	h := new(Holder)
	h.current.Store(db)
	return h
}

// Current returns the DB in use.
func (h *Holder) Current() *DB { return h.current.Load() }

// Swap opens the files as Open does, checks the result and puts it into use. On an error the DB in use stays.
func (h *Holder) Swap(paths ...string) error {
	h.swap.Lock()
	defer h.swap.Unlock()
	db, err := Open(paths...)
	if err != nil {
		return err
	}
	if err := compare(h.Current(), db); err != nil {
		return fmt.Errorf("geo data %s is not put into use: %w", strings.Join(paths, ", "), err)
	}
	h.current.Store(db)
	return nil
}

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

// maxLost is how many canaries that the old DB knows the new one may miss.
const maxLost = 2

// compare reports why next must not replace old.
func compare(old, next *DB) error {
	var lost []string
	for _, a := range canaries {
		was, _ := old.Lookup(a)
		is, p := next.Lookup(a)
		if !p.Contains(a) {
			return errors.New("the look-up of " + a.String() + " gives the network " + p.String())
		}
		if was.Known && !is.Known {
			lost = append(lost, a.String())
		}
	}
	if len(lost) > maxLost {
		return fmt.Errorf("it does not know %s, which the data in use does; is it complete (IPv4 and IPv6)?", strings.Join(lost, ", "))
	}
	return nil
}
