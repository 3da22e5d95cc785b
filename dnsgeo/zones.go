package dnsgeo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"perigee/clock"
)

// ZoneFile is a zone that is served from a file of the form of RFC 1035 §5, beside the zone of the steered names.
//
// $ORIGIN, $TTL and $GENERATE are understood; $INCLUDE opens files at or below the directory of Path only. A changed file
// is read within seconds and put in force when all of it is right; else the version before stays and the log says why.
//
// One ZoneFile may bear the name of the zone of the steered names: its records then stand beside these, in place of
// Config.Records, and it needs neither SOA nor NS records. Such a zone is never transferred.
type ZoneFile struct {
	Name string
	Path string // read again when it changes
	Text string // the text itself, when Path is ""

	Transfer Transfer
	Notify   []NotifyTarget // who is told of a new version (RFC 1996)
}

// Transfer says who may have a zone whole (AXFR, IXFR): nobody when both lists are empty, else who uses one of Keys and
// comes from an address in Allow; an empty list demands nothing.
type Transfer struct {
	Keys  []string // names of Config.TSIGKeys
	Allow []netip.Prefix
}

// NotifyTarget is a secondary.
type NotifyTarget struct {
	Addr netip.AddrPort
	Key  string // name of the key that signs the message, "" for none
}

const (
	reloadEvery = 2 * time.Second // how often files are looked at
	maxZones    = 10_000
	maxTargets  = 32 // per zone
)

// zones is every zone that is served. Which ones there are is fixed; what they hold is swapped.
type zones struct {
	byName  map[string]*served // by canonical origin
	steered *served
	files   []*served // those read from files
	keys    keyring

	clock    clock.Clock
	log      *slog.Logger
	counters *Counters
}

// served is one zone that is served.
type served struct {
	origin   string
	steered  bool
	servers  []NameServer // of the steered zone, for when its file names none
	file     ZoneFile
	access   access
	current  atomic.Pointer[version]
	notifies []*notifier

	// Used by the one who loads.
	read   *source
	readAt time.Time
	failed string // what was wrong with the file at the last reading, so that it is told once
}

// newZones loads every zone; a mistake in any is an error.
func newZones(c *Config, counters *Counters) (*zones, error) {
	z := &zones{byName: make(map[string]*served), clock: c.Clock, log: c.Log, counters: counters}
	var err error
	if z.keys, err = newKeyring(c.TSIGKeys); err != nil {
		return nil, err
	}
	if len(c.Zones) > maxZones {
		return nil, fmt.Errorf("%d zones, the limit is %d", len(c.Zones), maxZones)
	}
	z.steered = &served{origin: canonical(c.Zone), steered: true, servers: c.Servers, file: ZoneFile{Name: c.Zone, Text: c.Records}}
	z.byName[z.steered.origin] = z.steered
	for _, f := range c.Zones {
		if err := z.add(c, f); err != nil {
			return nil, fmt.Errorf("zone %s: %w", f.Name, err)
		}
	}
	for _, s := range z.byName {
		first, err := z.load(s)
		if err != nil {
			return nil, err
		}
		s.current.Store(newVersion(first))
		if s.file.Path != "" {
			z.files = append(z.files, s)
		}
	}
	return z, nil
}

// add makes a zone of a file.
func (z *zones) add(c *Config, f ZoneFile) error {
	origin := canonical(f.Name)
	if origin == z.steered.origin {
		switch {
		case z.steered.file.Path != "" || z.steered.file.Text != "":
			return errors.New("its records are given twice")
		case len(f.Notify) > 0 || len(f.Transfer.Keys)+len(f.Transfer.Allow) > 0:
			return errors.New("it cannot be transferred: its answers depend on the client, which a plain secondary cannot do")
		}
		z.steered.file = f
		return nil
	}
	if z.byName[origin] != nil {
		return errors.New("it is there twice")
	}
	s := &served{origin: origin, file: f}
	var err error
	if s.access, err = newAccess(f.Transfer, z.keys); err != nil {
		return err
	}
	if len(f.Notify) > maxTargets {
		return fmt.Errorf("%d secondaries to notify, the limit is %d", len(f.Notify), maxTargets)
	}
	for _, t := range f.Notify {
		n, err := newNotifier(s, t, c, z.keys, z.counters)
		if err != nil {
			return err
		}
		s.notifies = append(s.notifies, n)
	}
	z.byName[origin] = s
	return nil
}

// load reads a zone's file or text.
func (z *zones) load(s *served) (*zone, error) {
	s.read, s.readAt = textSource(s.file.Text), z.clock.Now()
	if s.file.Path != "" {
		s.read = fileSource(s.file.Path)
	}
	if s.steered {
		return newZone(s.origin, s.servers, s.read, s.readAt)
	}
	return newOrdinaryZone(s.origin, s.read)
}

// find returns the zone that answers for a canonical name: the one with the longest origin that name ends in; nil when
// there is none. The DS records of an origin belong to the zone above it, if that is served here, too.
func (z *zones) find(name string, qtype uint16) *served {
	var below *served
	for off, end := 0, false; !end; off, end = dns.NextLabel(name, off) {
		s := z.byName[name[off:]]
		if s == nil {
			continue
		}
		if off > 0 || qtype != dns.TypeDS {
			return s
		}
		below = s
	}
	return below
}

// zone is what is served at this moment.
func (s *served) zone() *zone { return s.current.Load().zone }

// run reads changed files until ctx ends, and, when notify is set, tells the secondaries.
func (z *zones) run(ctx context.Context, notify bool) {
	var wg sync.WaitGroup
	defer wg.Wait()
	if notify {
		for _, s := range z.byName {
			for _, n := range s.notifies {
				wg.Go(func() { n.run(ctx) })
			}
		}
	}
	if len(z.files) == 0 {
		return
	}
	tick := z.clock.NewTicker(reloadEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C():
			z.reload()
		}
	}
}

// reload puts the files that have changed in force.
func (z *zones) reload() {
	for _, s := range z.files {
		if changed, settled := s.read.changed(s.readAt, z.clock.Now()); !changed || !settled {
			continue
		}
		next, err := z.load(s)
		if err != nil {
			if s.failed == err.Error() {
				continue
			}
			s.failed = err.Error()
			z.counters.ZoneErrors.Add(1)
			z.log.Error("dns: a zone's file has a mistake; the version before stays in force", "zone", s.origin, "serial", s.current.Load().serial(), "err", err)
			continue
		}
		s.failed = ""
		z.put(s, next)
	}
}

// put makes next what is served of s, if it differs from what is.
func (z *zones) put(s *served, next *zone) {
	was := s.current.Load()
	v := was.next(next)
	if v == nil {
		return
	}
	if !s.steered && !newer(v.serial(), was.serial()) {
		z.log.Warn("dns: a zone has changed, but its serial number did not grow; secondaries will not take it over", "zone", s.origin,
			"serial", v.serial(), "before", was.serial())
	}
	s.current.Store(v)
	z.counters.ZoneLoads.Add(1)
	z.log.Info("dns: a zone has a new version", "zone", s.origin, "serial", v.serial(), "records", next.records)
	for _, n := range s.notifies {
		n.changed()
	}
}
