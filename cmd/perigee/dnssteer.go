package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"perigee/config"
	"perigee/dnsgeo/steer"
	"perigee/fleet/latency"
)

// steered is what steering goes by beside the fleet and the geo data, the same for all that decides or explains in this process.
type steered struct {
	policy    atomic.Pointer[steer.Policy]
	latencies atomic.Pointer[steer.Latencies]
	demand    atomic.Pointer[func() *steer.Demand] // of a process with a DNS server
}

// The intervals of looking at the file of the policy, and at the measured round trips: a change of these makes a new map.
const (
	policyEvery    = 2 * time.Second
	latenciesEvery = 15 * time.Second
)

// steer returns what this process steers by; it reads the policy and follows its file.
func (r *role) steer() (*steered, error) {
	if r.steering != nil {
		return r.steering, nil
	}
	s := &steered{}
	if file := r.cfg.DNS.Policy; file != "" {
		p, err := config.ReadPolicy(file)
		if err != nil {
			return nil, fmt.Errorf("dns.policy: %w", err)
		}
		s.policy.Store(p)
		r.start("steering policy", func(ctx context.Context) error { s.follow(ctx, r, file); return nil })
	}
	r.steering = s
	return s, nil
}

// Demand returns where the queries come from, as far as this process knows.
func (s *steered) Demand() *steer.Demand {
	if f := s.demand.Load(); f != nil {
		return (*f)()
	}
	return nil
}

// follow puts a changed file into force. One with a mistake changes nothing.
func (s *steered) follow(ctx context.Context, r *role, file string) {
	t := r.clock.NewTicker(policyEvery)
	defer t.Stop()
	b, _ := os.ReadFile(file)
	for seen := sha256.Sum256(b); ; {
		select {
		case <-ctx.Done():
			return
		case <-t.C():
		}
		b, err := os.ReadFile(file)
		if err != nil || sha256.Sum256(b) == seen {
			continue
		}
		seen = sha256.Sum256(b)
		p, err := config.ReadPolicy(file)
		if err != nil {
			r.log.Error("the steering policy is not put into force; the one before stays", "err", err)
			continue
		}
		s.policy.Store(p)
		r.log.Info("the steering policy was read again", "file", file)
	}
}

// learn takes measured round trips into account while the policy wants them.
func (s *steered) learn(ctx context.Context, r *role, a *latency.Aggregator) {
	t := r.clock.NewTicker(latenciesEvery)
	defer t.Stop()
	var last []steer.Sample
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C():
		}
		next := s.samples(a)
		if slices.Equal(next, last) {
			continue
		}
		l, err := steer.NewLatencies(next)
		if err != nil {
			r.log.Warn("the measured round trips cannot be used", "err", err)
			continue
		}
		last = next
		s.latencies.Store(l)
	}
}

// samples are those round trips that the policy trusts, no more exact than it looks at them, so that what means the same looks the same.
func (s *steered) samples(a *latency.Aggregator) (out []steer.Sample) {
	p := s.policy.Load()
	if p == nil || p.Rules().Latency.Samples == 0 {
		return nil
	}
	want := p.Rules().Latency
	for _, x := range a.Table() {
		if x.Samples < want.Samples {
			continue
		}
		lat, lon := x.Cell.Centre()
		out = append(out, steer.Sample{Lat: lat, Lon: lon, Edge: x.Edge, RTT: max(x.RTT.Round(want.Step), time.Microsecond), Count: want.Samples})
	}
	slices.SortFunc(out, func(a, b steer.Sample) int {
		return cmp.Or(cmp.Compare(a.Lat, b.Lat), cmp.Compare(a.Lon, b.Lon), cmp.Compare(a.Edge, b.Edge))
	})
	return out
}
