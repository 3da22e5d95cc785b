package dnsgeo

import (
	"context"
	"math"
	"net/netip"
	"sync/atomic"
	"time"

	"perigee/clock"
	"perigee/dnsgeo/geo"
	"perigee/dnsgeo/steer"
)

// Of the steered answers one in demandSample is counted by the place of its client; the count of a place loses half in demandHalf, so that what is left is about
// the last hour's. Fewer than demandLeast samples say nothing.
const (
	demandSample = 16
	demandEvery  = 30 * time.Second
	demandHalf   = 40 * time.Minute
	demandLeast  = 500
)

// demand counts where queries for steered names come from. Places are those of one DB: another one begins anew.
type demand struct {
	geo     *geo.Holder
	clock   clock.Clock
	counts  atomic.Pointer[placeCounts]
	current atomic.Pointer[steer.Demand] // nil while there are too few samples

	weights []float64 // by number of place; only run uses it
}

// placeCounts are the samples since the last look, by number of place.
type placeCounts struct {
	db *geo.DB
	n  []atomic.Uint32
}

func newDemand(h *geo.Holder, c clock.Clock) *demand {
	d := &demand{geo: h, clock: c}
	d.begin(h.Current())
	return d
}

func (d *demand) begin(db *geo.DB) {
	d.weights = make([]float64, len(db.Places()))
	d.counts.Store(&placeCounts{db: db, n: make([]atomic.Uint32, len(db.Places()))})
}

// count counts one sample.
func (d *demand) count(client netip.Addr) {
	c := d.counts.Load()
	if n, _ := c.db.Runs().Find(client); n < len(c.n) {
		c.n[n].Add(1)
	}
}

// run adds samples up until ctx ends.
func (d *demand) run(ctx context.Context) {
	t := d.clock.NewTicker(demandEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C():
			d.add()
		}
	}
}

// add takes the samples since the last time into account.
func (d *demand) add() {
	c := d.counts.Load()
	if db := d.geo.Current(); db != c.db {
		d.begin(db)
		d.current.Store(nil)
		return
	}
	decay := math.Exp2(-float64(demandEvery) / float64(demandHalf))
	total := 0.0
	for i := range c.n {
		d.weights[i] = d.weights[i]*decay + float64(c.n[i].Swap(0))
		total += d.weights[i]
	}
	if total < demandLeast {
		d.current.Store(nil)
		return
	}
	if next, err := steer.NewDemand(d.weights); err == nil {
		d.current.Store(next)
	}
}

// Demand returns where the queries of about the last hour came from; nil while too few have been counted. It is what Config.Demand is without one.
func (s *Server) Demand() *steer.Demand { return s.demand.current.Load() }
