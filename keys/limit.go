package keys

import (
	"net/netip"
	"sync"
	"time"

	"perigee/clock"
)

const (
	loginWindow   = time.Minute
	loginFailures = 10   // allowed per window and network
	loginNetworks = 4096 // remembered at once
)

// limiter counts failed logins per network: one IPv4 address, or one IPv6 /64, which is as much as any host gets.
type limiter struct {
	clock clock.Clock

	mu   sync.Mutex
	seen map[netip.Prefix]window
}

type window struct {
	began    time.Time
	failures int
}

func networkOf(ip netip.Addr) netip.Prefix {
	ip = ip.Unmap().WithZone("")
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	p, _ := ip.Prefix(bits) // an address always has these prefixes; the zero Prefix stands for no address
	return p
}

// allowed reports whether ip may try to log in.
func (l *limiter) allowed(ip netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	w, ok := l.seen[networkOf(ip)]
	return !ok || l.clock.Now().Sub(w.began) >= loginWindow || w.failures < loginFailures
}

// failed counts a failed login of ip.
func (l *limiter) failed(ip netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, p := l.clock.Now(), networkOf(ip)
	w := l.seen[p]
	if now.Sub(w.began) >= loginWindow {
		w = window{began: now}
	}
	w.failures++
	if _, ok := l.seen[p]; !ok && len(l.seen) >= loginNetworks {
		l.evict(now)
	}
	l.seen[p] = w
}

// evict drops the windows that are over, or else the oldest one. l.mu is held.
func (l *limiter) evict(now time.Time) {
	var oldest netip.Prefix
	var began time.Time
	for p, w := range l.seen {
		if now.Sub(w.began) >= loginWindow {
			delete(l.seen, p)
		} else if began.IsZero() || w.began.Before(began) {
			oldest, began = p, w.began
		}
	}
	if len(l.seen) >= loginNetworks {
		delete(l.seen, oldest)
	}
}
