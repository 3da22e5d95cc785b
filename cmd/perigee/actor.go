package main

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/netip"
	"time"

	"perigee/catalog"
	"perigee/keys"
)

// known is middleware inside the guard: it gives each request its id, and says to the catalogue who changes things.
func known(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		const requestID = "X-Request-Id"
		id := rand.Text()[:16]
		w.Header().Set(requestID, id)
		who, _ := keys.FromContext(r.Context())
		a := catalog.Actor{Key: who.ID, Name: who.Name, Method: r.Method, Request: id, Remote: network(r.RemoteAddr)}
		next.ServeHTTP(w, r.WithContext(catalog.WithActor(r.Context(), a)))
	})
}

// network is what the audit log has of an address: enough to see where a key is used from, too little to find a person.
func network(remote string) string {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return ""
	}
	ip := ap.Addr().Unmap().WithZone("")
	if ip.IsLoopback() {
		return "loopback"
	}
	bits := 48
	if ip.Is4() {
		bits = 24
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return ""
	}
	return p.String()
}

// expireEvery is how often what is too old is deleted.
const expireEvery = 10 * time.Minute

// expire keeps the audit log and the idempotency records from growing for ever.
func (a *api) expire(ctx context.Context) error {
	t := a.r.clock.NewTicker(expireEvery)
	defer t.Stop()
	for {
		n, err := a.catalog.Expire(ctx, a.r.cfg.API.AuditKeep.Std())
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			a.r.log.Warn("old entries of the audit log could not be deleted; trying on", "err", err)
		case n > 0:
			a.r.log.Debug("old entries were deleted", "rows", n)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C():
		}
	}
}
