package sign

import (
	"errors"
	"fmt"
	"time"

	"github.com/miekg/dns"
)

// Generate returns a set with one key that signs from now on. The parent must not have its DS before DSAfter: until then caches may hold answers
// from before, which have no signature. A maxTTL of 0 stands for DefaultMaxTTL.
func Generate(zone string, maxTTL time.Duration, now time.Time) (*KeySet, error) {
	if maxTTL == 0 {
		maxTTL = DefaultMaxTTL
	}
	if maxTTL < time.Second || maxTTL > maxMaxTTL || maxTTL%time.Second != 0 {
		return nil, fmt.Errorf("the longest TTL must be a number of whole seconds between 1s and %v, not %v", maxMaxTTL, maxTTL)
	}
	zone = dns.CanonicalName(zone)
	if err := CheckZone(zone); err != nil {
		return nil, err
	}
	k, err := newKey(zone, func(uint16) bool { return false })
	if err != nil {
		return nil, err
	}
	now = second(now)
	k.Published, k.Active = now, now
	return &KeySet{Zone: zone, Serial: 1, MaxTTL: maxTTL, Keys: []*Key{k}}, nil
}

// second cuts a time to the precision of signatures.
func second(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// change returns a copy of the set without the keys that are removed at now, for one change by edit, which gets a copy of each key.
func (s *KeySet) change(now time.Time, edit func(*KeySet) error) (*KeySet, error) {
	next := &KeySet{Zone: s.Zone, Serial: s.Serial + 1, MaxTTL: s.MaxTTL, Withdrawn: s.Withdrawn}
	for _, k := range s.Keys {
		if k.State(now) != Removed {
			c := *k
			next.Keys = append(next.Keys, &c)
		}
	}
	if err := edit(next); err != nil {
		return nil, err
	}
	return next, next.check()
}

// successor returns the key that is published and not active yet; nil when no rollover is under way.
func (s *KeySet) successor(now time.Time) *Key {
	if n := len(s.Keys); n > 1 && s.Keys[n-1].State(now) == Published {
		return s.Keys[n-1]
	}
	return nil
}

// Roll begins a rollover: it publishes a new key beside the active one.
func (s *KeySet) Roll(now time.Time) (*KeySet, error) {
	now = second(now)
	return s.change(now, func(s *KeySet) error {
		a := s.active(now)
		switch next := s.successor(now); {
		case a == nil:
			return fmt.Errorf("zone %s is not signed: make a key with generate first", s.Zone)
		case next != nil && next.Active.IsZero():
			return fmt.Errorf("key %d is published already: when the parent has its DS, say so with roll --ds-seen; retire %d takes it back", next.Tag, next.Tag)
		case next != nil:
			return fmt.Errorf("key %d takes over on %s; the next rollover can begin then", next.Tag, next.Active.Format(time.RFC3339))
		case !s.Withdrawn.IsZero():
			return errors.New("the zone is about to become unsigned: its DS records are withdrawn")
		case len(s.Keys) == maxKeys:
			return fmt.Errorf("the set has %d keys: retire the ones that sign no more", maxKeys)
		case now.Before(s.DSAfter(a)):
			return fmt.Errorf("no key of zone %s may have a DS before %s: begin the rollover after that", s.Zone, s.DSAfter(a).Format(time.RFC3339))
		case !a.Retired.IsZero():
			return fmt.Errorf("key %d retires on %s", a.Tag, a.Retired.Format(time.RFC3339))
		}
		k, err := newKey(s.Zone, func(tag uint16) bool { return s.find(tag) != nil })
		if err != nil {
			return err
		}
		k.Published = now
		s.Keys = append(s.Keys, k)
		return nil
	})
}

// SeeDS goes on with a rollover: somebody has seen the DS of the new key at every server of the parent, where it has the given TTL. It settles when the
// new key takes over; the old one is removed when no cache needs it any more.
func (s *KeySet) SeeDS(now time.Time, ttl time.Duration) (*KeySet, error) {
	if ttl < time.Second || ttl > maxMaxTTL {
		return nil, fmt.Errorf("the TTL of the DS record must be between 1s and %v, not %v", maxMaxTTL, ttl)
	}
	now = second(now)
	return s.change(now, func(s *KeySet) error {
		next := s.successor(now)
		switch {
		case next == nil:
			return errors.New("no rollover is under way: begin one with roll")
		case !next.Active.IsZero():
			return fmt.Errorf("this was said before: key %d takes over on %s", next.Tag, next.Active.Format(time.RFC3339))
		}
		old := s.Keys[len(s.Keys)-2]
		next.SeenDS = now
		next.Active = later(next.Published.Add(KeyTTL+Spread), second(now.Add(ttl+Spread+time.Second)))
		old.Retired = next.Active
		old.Removed = old.Retired.Add(s.MaxTTL + Spread)
		return nil
	})
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Retire takes a key back that does not sign yet, an unwanted successor, or erases one that is removed. Keys that have signed leave the zone by
// themselves when that is safe.
func (s *KeySet) Retire(tag uint16, now time.Time) (*KeySet, error) {
	now = second(now)
	if k := s.find(tag); k != nil && k.State(now) == Removed {
		return s.change(now, func(*KeySet) error { return nil })
	}
	return s.change(now, func(s *KeySet) error {
		k := s.find(tag)
		if k == nil {
			return fmt.Errorf("there is no key %d: list shows the keys", tag)
		}
		switch k.State(now) {
		case Active:
			return fmt.Errorf("key %d signs the zone: roll puts another one in its place, withdraw makes the zone unsigned", tag)
		case Retired:
			return fmt.Errorf("key %d is retired and leaves by itself on %s, when no cache has a signature by it", tag, k.Removed.Format(time.RFC3339))
		}
		if !k.Active.IsZero() && now.Add(Spread).After(k.Active) {
			// A server that hears of this too late would sign with a key that the others no longer publish.
			return fmt.Errorf("key %d takes over on %s, too soon to reach all servers before: roll again after that", tag, k.Active.Format(time.RFC3339))
		}
		// Its DS may be at the parent already. That does no harm while the DS of the active key is there too.
		s.Keys = s.Keys[:len(s.Keys)-1]
		old := s.Keys[len(s.Keys)-1]
		old.Retired, old.Removed = time.Time{}, time.Time{}
		return nil
	})
}

// Withdraw begins to make the zone unsigned: CDS and CDNSKEY ask the parent to delete its DS records (RFC 8078 §4). The zone stays signed.
func (s *KeySet) Withdraw(now time.Time) (*KeySet, error) {
	now = second(now)
	return s.change(now, func(s *KeySet) error {
		switch {
		case s.active(now) == nil:
			return fmt.Errorf("zone %s is not signed", s.Zone)
		case s.successor(now) != nil:
			return fmt.Errorf("key %d waits to take over: retire it first", s.successor(now).Tag)
		case !s.Withdrawn.IsZero():
			return errors.New("the DS records are withdrawn already: when the parent has none any more, say so with withdraw --ds-gone")
		}
		s.Withdrawn = now
		return nil
	})
}

// LoseDS ends what Withdraw began: somebody has seen that no server of the parent has a DS record any more, where they had the given TTL. The
// zone becomes unsigned when no cache has one either.
func (s *KeySet) LoseDS(now time.Time, ttl time.Duration) (*KeySet, error) {
	if ttl < time.Second || ttl > maxMaxTTL {
		return nil, fmt.Errorf("the TTL of the DS record must be between 1s and %v, not %v", maxMaxTTL, ttl)
	}
	now = second(now)
	return s.change(now, func(s *KeySet) error {
		a := s.active(now)
		switch {
		case s.Withdrawn.IsZero():
			return errors.New("the DS records were not withdrawn: begin with withdraw")
		case a == nil || !a.Retired.IsZero():
			return errors.New("this was said before")
		}
		a.Retired = second(now.Add(ttl + Spread + time.Second))
		a.Removed = a.Retired.Add(s.MaxTTL + Spread)
		return nil
	})
}

// DSAfter returns when the parent may have the DS of a key: at once for the successor of another, for the first key of a zone when no cache
// has an unsigned answer any more.
func (s *KeySet) DSAfter(k *Key) time.Time {
	if k.Active.Equal(k.Published) {
		return k.Published.Add(s.MaxTTL + Spread)
	}
	return k.Published
}

// WantDS returns the keys whose DS records the parent should have at a moment, no others.
func (s *KeySet) WantDS(now time.Time) []*Key {
	if !s.Withdrawn.IsZero() {
		return nil
	}
	var out []*Key
	for _, k := range s.In(now, Published, Active) {
		if !now.Before(s.DSAfter(k)) {
			out = append(out, k)
		}
	}
	return out
}
