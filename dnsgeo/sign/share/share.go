package share

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"perigee/clock"
	"perigee/dnsgeo/sign"
)

const (
	// HoldFor is how long a node without keys at most keeps the zone unanswered.
	HoldFor = time.Minute
	// Repeat is how often a node sends its set although nothing has changed.
	Repeat = time.Minute
	// AskAtMost is the longest time between two asks.
	AskAtMost = 30 * time.Second
	// ComplainEvery is how often the log says that the zone is answered unsigned because no peer has sent keys.
	ComplainEvery = 10 * time.Minute
	// MaxPeers is how many peers there may be.
	MaxPeers = 64

	step          = time.Second // between two looks, and two messages to one peer
	takePerSecond = 128
	inboxSize     = 128
)

// Bus carries messages. fleet/bus.Client is one.
type Bus interface {
	// PublishDNSKeys sends a message to the node of that identity, and waits for nothing. It fails when the bus cannot be reached.
	PublishDNSKeys(to string, message []byte) error
	// SubscribeDNSKeys calls hear with every message to that identity, one at a time, until stop.
	SubscribeDNSKeys(to string, hear func(message []byte)) (stop func(), err error)
}

// Config says for whom and with whom a Share works.
type Config struct {
	Self *sign.Identity
	// Peers may have and may give the keys. Self may be among them: one list for all nodes.
	Peers  []sign.PublicIdentity
	Store  *sign.Store
	Signer *sign.Signer // of the same zone; it has the set of the store
	Bus    Bus
	Log    *slog.Logger
	Clock  clock.Clock
}

// peer is what is known of one other node.
type peer struct {
	id        sign.PublicIdentity
	owed      bool // what this node has is to be sent
	notBefore time.Time
	asked     time.Time // its last ask, by its clock
	nonce     [16]byte  // of that ask
	none      bool      // it has said that it has no keys
	conflict  uint64    // the serial for which the log has a conflict with it
}

// Share is one node's part in the exchange.
type Share struct {
	cfg      Config
	self     string
	zone     string
	peers    map[sign.PublicIdentity]*peer
	nonce    [16]byte
	inbox    chan []byte
	until    time.Time // when Awaited ends whatever happens
	awaited  atomic.Bool
	counters Counters

	// Of Run alone.
	sent       *sign.KeySet // what the peers were last owed
	repeatAt   time.Time
	askAt      time.Time
	askPause   time.Duration
	complainAt time.Time
	takenAt    time.Time // the second that taken counts
	taken      int
}

// New returns the Share of one node. From now on, and at most for HoldFor, it may be that keys are awaited.
func New(c Config) (*Share, error) {
	if c.Self == nil || c.Store == nil || c.Signer == nil || c.Bus == nil || c.Log == nil || c.Clock == nil {
		return nil, errors.New("share DNSSEC keys: identity, store, signer, bus, log and clock must be configured")
	}
	if c.Store.Zone() != c.Signer.Zone() {
		return nil, fmt.Errorf("share DNSSEC keys: the store is of zone %s, the signer of %s", c.Store.Zone(), c.Signer.Zone())
	}
	s := &Share{
		cfg: c, self: c.Self.String(), zone: c.Store.Zone(), peers: map[sign.PublicIdentity]*peer{}, inbox: make(chan []byte, inboxSize),
		until: c.Clock.Now().Add(HoldFor), askPause: step,
	}
	for _, id := range c.Peers {
		if id != c.Self.Public() {
			s.peers[id] = &peer{id: id}
		}
	}
	if len(s.peers) > MaxPeers {
		return nil, fmt.Errorf("share DNSSEC keys: there are %d peers, at most %d may be", len(s.peers), MaxPeers)
	}
	_, _ = rand.Read(s.nonce[:]) // never fails: crypto/rand ends the process instead
	s.awaited.Store(len(s.peers) > 0 && !s.holds())
	return s, nil
}

// holds reports whether there is a set, which may also be one that makes the zone unsigned.
func (s *Share) holds() bool { return s.cfg.Signer.Keys().Serial > 0 }

// Awaited reports whether the zone must not be answered now, because it may be signed with keys that are on their way.
func (s *Share) Awaited() bool { return s.awaited.Load() }

// Ready returns nil, or why the node should not be asked for the zone now.
func (s *Share) Ready() error {
	if !s.Awaited() {
		return nil
	}
	left := max(0, s.until.Sub(s.cfg.Clock.Now())).Round(time.Second)
	return fmt.Errorf("the DNSSEC keys of zone %s are awaited from the other DNS nodes (dns.key_peers), for %v more at most", s.zone, left)
}

// Counters returns the counters of the Share.
func (s *Share) Counters() *Counters { return &s.counters }

// Run exchanges keys until ctx ends.
func (s *Share) Run(ctx context.Context) error {
	stop, err := s.cfg.Bus.SubscribeDNSKeys(s.self, s.hear)
	if err != nil {
		return fmt.Errorf("share DNSSEC keys: %w", err)
	}
	defer stop()
	t := s.cfg.Clock.NewTicker(step)
	defer t.Stop()
	for {
		s.look(s.cfg.Clock.Now())
		select {
		case <-ctx.Done():
			return nil
		case m := <-s.inbox:
			s.take(m, s.cfg.Clock.Now())
		case <-t.C():
		}
	}
}

// hear is called by the bus. It does not wait for Run.
func (s *Share) hear(message []byte) {
	select {
	case s.inbox <- message:
	default:
		s.counters.count(Limited)
	}
}

// look does what is due.
func (s *Share) look(now time.Time) {
	set := s.cfg.Signer.Keys()
	if s.awaited.Load() {
		s.await(set, now)
	}
	if set.Serial == 0 {
		s.ask(now)
	} else if s.sent == nil || s.sent.Serial != set.Serial || !now.Before(s.repeatAt) {
		s.sent, s.repeatAt = set, now.Add(Repeat)
		for _, p := range s.peers {
			p.owed = true
		}
	}
	for _, p := range s.peers {
		if p.owed && !now.Before(p.notBefore) {
			s.pay(p, set, now)
		}
	}
}

// await ends the wait for keys when its time has come.
func (s *Share) await(set *sign.KeySet, now time.Time) {
	none := true
	for _, p := range s.peers {
		none = none && p.none
	}
	switch {
	case set.Serial > 0:
	case none:
		s.cfg.Log.Info("no DNS node has DNSSEC keys: the zone is answered unsigned", "zone", s.zone, "peers", len(s.peers))
		s.complainAt = now.Add(ComplainEvery)
	case now.Before(s.until):
		return
	}
	s.awaited.Store(false)
}

// ask asks all peers for the set, when it is time to.
func (s *Share) ask(now time.Time) {
	silent := 0
	for _, p := range s.peers {
		if !p.none {
			silent++
		}
	}
	if silent > 0 && !s.awaited.Load() && !now.Before(s.complainAt) {
		s.complainAt = now.Add(ComplainEvery)
		s.cfg.Log.Error("no DNSSEC keys arrived from the other DNS nodes, and the zone is answered UNSIGNED: where its parent has a DS record, validating resolvers "+
			"refuse these answers. Do the nodes run, reach the bus, and list each other in dns.key_peers?", "zone", s.zone, "peers", len(s.peers), "silent", silent)
	}
	if now.Before(s.askAt) {
		return
	}
	reached := false
	for _, p := range s.peers {
		m, err := sign.SealNote(sign.Note{Kind: sign.NoteAsk, Zone: s.zone, At: now, Nonce: s.nonce}, s.cfg.Self, p.id)
		if s.send(p, m, err) {
			reached = true
			s.counters.Asks.Add(1)
		}
	}
	if !reached { // no bus yet: nobody was asked
		s.askAt = now.Add(step)
		return
	}
	s.askAt = now.Add(s.askPause)
	s.askPause = min(2*s.askPause, AskAtMost)
}

// pay sends a peer what it is owed.
func (s *Share) pay(p *peer, set *sign.KeySet, now time.Time) {
	p.notBefore = now.Add(step)
	if set.Serial > 0 {
		m, err := sign.Seal(set, s.cfg.Self, p.id)
		if s.send(p, m, err) {
			p.owed = false
			s.counters.Sets.Add(1)
		}
		return
	}
	m, err := sign.SealNote(sign.Note{Kind: sign.NoteNone, Zone: s.zone, At: p.asked, Nonce: p.nonce}, s.cfg.Self, p.id)
	if s.send(p, m, err) {
		p.owed = false
		s.counters.Nones.Add(1)
	}
}

// send publishes a sealed message, if it could be made.
func (s *Share) send(p *peer, message []byte, err error) bool {
	if err == nil {
		err = s.cfg.Bus.PublishDNSKeys(p.id.String(), message)
	}
	if err != nil {
		s.cfg.Log.Debug("a message about DNSSEC keys was not sent; it is tried again", "peer", p.id.String(), "err", err)
	}
	return err == nil
}
