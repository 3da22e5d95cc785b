package health

import (
	"errors"
	"time"
)

// Failure is why a probe failed.
type Failure struct {
	// Word goes into reports and metrics: of a-z and '-', 24 bytes at most.
	Word string
	Err  error
}

// The words for failures.
const (
	WordTimeout   = "timeout"    // no answer in time
	WordRefused   = "refused"    // nobody listens
	WordReset     = "reset"      // the connection broke
	WordNoRoute   = "no-route"   // there is no way to any of its addresses
	WordBadAnswer = "bad-answer" // 5xx, or no HTTP
	WordWrongNode = "wrong-node" // somebody else answers at its address
	WordError     = "error"      // anything else
)

// Error implements error.
func (f *Failure) Error() string { return f.Word + ": " + f.Err.Error() }

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

func wordOf(err error) string {
	var f *Failure
	if errors.As(err, &f) {
		return f.Word
	}
	return WordError
}

// take takes in what came of a probe.
func (p *Prober) take(a answer) {
	p.running--
	t := a.t
	t.running = false
	if p.targets[t.node.Node] != t {
		return // it is not asked any more
	}
	if a.err == nil {
		p.succeeded(t, a.began)
	} else {
		p.missed(t, a.err)
	}
}

func (p *Prober) succeeded(t *target, began time.Time) {
	if began.After(p.witness) {
		p.witness = began
	}
	if p.blind {
		p.see()
	}
	t.fails = 0
	t.oks++
	if !t.known || !t.up && t.oks >= p.cfg.Up {
		p.settle(t, true, nil)
	}
}

func (p *Prober) missed(t *target, err error) {
	now := p.cfg.Clock.Now()
	word := wordOf(err)
	p.mu.Lock()
	p.failed[word]++
	p.mu.Unlock()
	t.oks = 0
	if t.fails++; t.fails == 1 {
		t.failing = now
	}
	fresh := t.word != word
	t.word = word
	if p.blind {
		return
	}
	// This failure may be what another edge's verdict has waited for.
	for _, t := range p.order {
		if t.fails < p.cfg.Down || t.known && !t.up {
			continue
		}
		switch p.cause(t) {
		case theEdge:
			p.settle(t, false, err)
		case thisNode:
			p.lose(err)
			return
		}
	}
	if fresh && t.known {
		p.publish()
	}
}

// cause is what failures come from.
type cause uint8

const (
	unclear  cause = iota // the other edges have not been asked since
	theEdge               // another edge has answered since, or there is none to ask
	thisNode              // all others fail as well
)

func (p *Prober) cause(t *target) cause {
	if !p.witness.Before(t.failing) {
		return theEdge
	}
	others := 0
	for _, o := range p.order {
		if o == t || o.known && !o.up {
			continue
		}
		others++
		if o.fails == 0 {
			return unclear
		}
	}
	if others == 0 {
		return theEdge
	}
	return thisNode
}

// settle gives a verdict.
func (p *Prober) settle(t *target, up bool, err error) {
	first := !t.known
	t.known, t.up, t.since = true, up, p.cfg.Clock.Now()
	switch {
	case !up:
		p.cfg.Log.Warn("an edge does not answer", "edge", t.node.Node, "fails", t.fails, "err", err)
	case !first:
		p.cfg.Log.Info("an edge answers again", "edge", t.node.Node)
	}
	p.publish()
}

// lose makes the prober blind.
func (p *Prober) lose(err error) {
	p.blind = true
	p.cfg.Log.Warn("no edge answers any more: taking this node's network for broken", "edges", len(p.order), "err", err)
	p.cfg.Blind(true)
	p.publish()
}

// see ends that.
func (p *Prober) see() {
	p.blind = false
	for _, t := range p.order {
		t.fails, t.oks = 0, 0
	}
	p.cfg.Log.Info("edges answer again")
	p.cfg.Blind(false)
	p.publish()
}
