package fleet

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"time"

	"perigee/clock"
)

// Reporter sends a node's reports: every ReportEvery, at once after Kick, and a last one in state Stopping.
type Reporter struct {
	clock  clock.Clock
	log    *slog.Logger
	fill   func(*Report)
	send   func(*Report) error
	kick   chan struct{}
	boot   string
	seq    uint64
	failed bool
}

// NewReporter returns a Reporter that lets fill set everything but Format, Boot and Seq, and hands the report to send.
// An error of send is logged once until it works again: the next report repeats all there is to say.
func NewReporter(c clock.Clock, log *slog.Logger, fill func(*Report), send func(*Report) error) *Reporter {
	var b [8]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return &Reporter{clock: c, log: log, fill: fill, send: send, kick: make(chan struct{}, 1), boot: hex.EncodeToString(b[:])}
}

// Kick asks for a report at once. It never blocks; kicks during a report make one more.
func (r *Reporter) Kick() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// kickGap is the least time between two reports: a node that applies a thousand entries a second tells of every few.
const kickGap = 5 * time.Millisecond

// Run reports until ctx ends, and then says that the node is stopping.
func (r *Reporter) Run(ctx context.Context) error {
	t := r.clock.NewTicker(ReportEvery)
	defer t.Stop()
	gap := r.clock.NewTimer(kickGap)
	defer gap.Stop()
	for {
		r.report(false)
		gap.Reset(kickGap)
		select {
		case <-ctx.Done():
			r.report(true)
			return nil
		case <-gap.C():
		}
		select {
		case <-ctx.Done():
			r.report(true)
			return nil
		case <-t.C():
		case <-r.kick:
		}
	}
}

func (r *Reporter) report(last bool) {
	r.seq++
	rep := &Report{Format: 1, Boot: r.boot, Seq: r.seq}
	r.fill(rep)
	if last {
		rep.State = Stopping
	}
	err := r.send(rep)
	if err != nil && !r.failed {
		r.log.Warn("reports do not reach the bus; trying on", "node", rep.Node, "err", err)
	}
	r.failed = err != nil
}
