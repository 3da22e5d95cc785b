package share

import (
	"errors"
	"time"

	"perigee/dnsgeo/sign"
)

// Outcome is what became of a message that arrived.
type Outcome int

// The outcomes.
const (
	Accepted  Outcome = iota // a set, newer than the one at hand: it is in use
	Known                    // a set that is already there, or an older one
	Conflict                 // a set with the serial of the one at hand and other keys
	Failed                   // a newer set that could not be kept
	Asked                    // an ask
	None                     // an answer that its sender has no keys
	Replayed                 // an ask or an answer that came before, too late, or was never asked for
	Foreign                  // of another zone
	Untrusted                // by none of the peers
	Damaged                  // not whole, forged, too long, or for another node
	Limited                  // not looked at, because there were too many
	outcomes
)

// String returns the word for the outcome in metrics and log.
func (o Outcome) String() string {
	return [...]string{"accepted", "known", "conflict", "failed", "asked", "none", "replayed", "foreign", "untrusted", "damaged", "limited"}[o]
}

// take looks at one message.
func (s *Share) take(message []byte, now time.Time) {
	if d := now.Sub(s.takenAt); d < 0 || d >= time.Second {
		s.takenAt, s.taken = now, 0
	}
	if s.taken++; s.taken > takePerSecond {
		s.counters.count(Limited)
		return
	}
	var o Outcome
	if sign.IsNote(message) {
		o = s.takeNote(message, now)
	} else {
		o = s.takeSet(message)
	}
	s.counters.count(o)
	if o != Known {
		s.cfg.Log.Debug("a message about DNSSEC keys", "zone", s.zone, "outcome", o.String())
	}
}

func (s *Share) trusts(id sign.PublicIdentity) bool { return s.peers[id] != nil }

// judge turns an error of sign.Open into an outcome.
func judge(err error) Outcome {
	if errors.Is(err, sign.ErrUntrusted) {
		return Untrusted
	}
	return Damaged
}

func (s *Share) takeSet(message []byte) Outcome {
	set, from, err := sign.Open(message, s.cfg.Self, s.trusts)
	if err != nil {
		return judge(err)
	}
	if set.Zone != s.zone {
		return Foreign
	}
	p, have := s.peers[from], s.cfg.Signer.Keys()
	p.none = false
	switch {
	case set.Serial < have.Serial:
		p.owed = true
		return Known
	case set.Serial == have.Serial && set.Same(have):
		return Known
	case set.Serial == have.Serial:
		if p.conflict != set.Serial {
			p.conflict = set.Serial
			s.cfg.Log.Error("another DNS node has other DNSSEC keys with the same serial: they were changed on both at the same time. Both go on as they are. "+
				"On the node whose keys are at the parent, make another change (perigee dns keys roll): it reaches all", "zone", s.zone, "serial", set.Serial, "peer", from.String())
		}
		return Conflict
	}
	kept, err := s.cfg.Store.Accept(set)
	if err == nil && kept {
		err = s.cfg.Signer.Use(set)
	}
	switch {
	case err != nil:
		s.cfg.Log.Error("DNSSEC keys arrived and cannot be kept", "zone", s.zone, "serial", set.Serial, "peer", from.String(), "err", err)
		return Failed
	case !kept: // a command was faster: the signer takes what is in the store within seconds
		return Known
	}
	s.cfg.Log.Info("DNSSEC keys arrived and are in use", "zone", s.zone, "serial", set.Serial, "peer", from.String())
	return Accepted
}

func (s *Share) takeNote(message []byte, now time.Time) Outcome {
	n, from, err := sign.OpenNote(message, s.cfg.Self, s.trusts)
	if err != nil {
		return judge(err)
	}
	if n.Zone != s.zone {
		return Foreign
	}
	p := s.peers[from]
	if n.Kind == sign.NoteNone {
		if n.Nonce != s.nonce || s.holds() {
			return Replayed
		}
		p.none = true
		return None
	}
	if off := now.Sub(n.At); off > sign.Early || off < -sign.Early || !n.At.After(p.asked) {
		return Replayed
	}
	p.asked, p.nonce, p.owed = n.At, n.Nonce, true
	return Asked
}
