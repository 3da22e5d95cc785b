package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"perigee/catalog"
	"perigee/object"
	"perigee/purge"
	"perigee/web"
)

// catalogConfig is the catalogue of the configuration.
func (r *role) catalogConfig() catalog.Config {
	c := r.cfg.Catalog
	cfg := catalog.Config{File: c.Path, Lookups: c.Lookups, LookupFor: c.LookupFor.Std(), Clock: r.clock, Log: r.log}
	if c.IsPostgres() {
		cfg.Postgres = catalog.Postgres{
			DSN: c.DSN.Reveal(), Replicas: c.Replicas, MaxLag: c.MaxLag.Std(), Connections: c.Connections,
			Timeout: c.Timeout.Std(), ConnectTimeout: c.ConnectTimeout.Std(),
		}
	}
	for _, s := range r.cfg.Catalog.Servers() {
		one := catalog.Shard{Name: s.Name}
		if c.IsPostgres() {
			one.Postgres = cfg.Postgres
			one.Postgres.DSN, one.Postgres.Replicas = s.Where, nil
		} else {
			one.File = s.Where
		}
		cfg.Shards = append(cfg.Shards, one)
	}
	return cfg
}

// slots is the catalogue as the console sees its servers.
type slots struct{ catalog *catalog.Catalog }

// Layout implements web.Catalogue.
func (s slots) Layout(ctx context.Context) (web.CatalogueLayout, error) {
	l, err := s.catalog.Layout(ctx)
	out := web.CatalogueLayout{Epoch: l.Epoch, Waiting: l.Waiting, Servers: []web.CatalogueServer{}, Moves: []web.CatalogueMove{}}
	for _, x := range l.Servers {
		out.Servers = append(out.Servers, web.CatalogueServer(x))
	}
	for _, x := range l.Moves {
		out.Moves = append(out.Moves, web.CatalogueMove(x))
	}
	return out, away(err)
}

// Move implements web.Catalogue.
func (s slots) Move(ctx context.Context, slots []object.Slot, to string) error {
	return away(s.catalog.OrderMoves(ctx, slots, to))
}

// Rebalance implements web.Catalogue.
func (s slots) Rebalance(ctx context.Context) (int, error) {
	n, err := s.catalog.OrderRebalance(ctx)
	return n, away(err)
}

// CancelMove implements web.Catalogue.
func (s slots) CancelMove(ctx context.Context, slot object.Slot) error {
	return away(s.catalog.CancelMove(ctx, slot))
}

// follow hears from the log what every API node has changed: what is kept in memory of it is forgotten, proofs know where
// it is, the console shows it.
func (a *api) follow(ctx context.Context) error {
	from, err := a.catalog.LastPosition(ctx)
	if err != nil {
		from = purge.Position{} // the log says itself where it begins
	}
	if err := a.log.Follow(ctx, from, listener{a}); err != nil && ctx.Err() == nil {
		return fmt.Errorf("follow the log: %w", err)
	}
	return nil
}

// listener is the API as a reader of the log.
type listener struct{ *api }

// news is how old an entry may be to be shown as something that happens.
const news = time.Minute

// Apply implements purge.Sink.
func (l listener) Apply(r purge.Record) error {
	now := l.r.clock.Now()
	l.catalog.Applied(r)
	l.m.tracker.Appended(r.ID, r.Position, now)
	if now.Sub(r.At) < news {
		l.console.Changed(r)
	}
	return nil
}

// Reset implements purge.Sink.
func (l listener) Reset(purge.Position, error) error {
	l.catalog.Forget()
	return nil
}

// Confirm implements purge.Sink. What is kept has a term of its own.
func (l listener) Confirm(time.Time) {}

// away makes the console's routes say that the catalogue's database is away.
func away(err error) error {
	if errors.Is(err, catalog.ErrUnavailable) {
		return fmt.Errorf("%w: %w", web.ErrUnavailable, err)
	}
	return err
}
