package keys

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"sync"
	"time"

	"perigee/clock"
)

// Rates are how fast the API may be used. They hold for one process: of several API nodes each allows as much.
type Rates struct {
	// Requests is how many requests a second one key may send, on average over Burst; 0 sets no limit.
	Requests float64
	// Bytes is how many bytes a second the bodies of one key's requests may have, on average; 0 sets no limit. A body
	// is never slowed down or broken off: one that goes beyond makes the requests after it wait.
	Bytes float64
	// Refused is how many requests a second without a good key are told what was wrong with them, by network (one IPv4
	// address, or one IPv6 /64); 0 sets no limit. Good keys of the same network go on.
	Refused float64
	// Burst is over how long a rate is counted: so much of it may come at once. 10 s when zero.
	Burst time.Duration
}

// maxRated bounds how many keys and networks are remembered at once, each with 48 bytes.
const maxRated = 16_384

// rater counts what keys and networks use. A bucket that is full again is as good as none, so those are forgotten first.
type rater struct {
	rates Rates
	clock clock.Clock

	mu      sync.Mutex
	buckets map[string]*bucket
}

// bucket holds what may be used now: it fills with its rate up to burst seconds' worth. It may be in debt: a body has
// been read before its size was known. (golang.org/x/time/rate has no debt.)
type bucket struct {
	rate, level float64
	at          time.Time
}

func (b *bucket) fill(now time.Time, burst time.Duration) {
	most := b.most(burst)
	b.level = min(most, b.level+b.rate*now.Sub(b.at).Seconds())
	b.at = now
}

func (b *bucket) most(burst time.Duration) float64 { return max(1, b.rate*burst.Seconds()) }

func newRater(r Rates, c clock.Clock) *rater {
	if r.Burst == 0 {
		r.Burst = 10 * time.Second
	}
	return &rater{rates: r, clock: c, buckets: map[string]*bucket{}}
}

// standing is how one bucket is after a request.
type standing struct {
	limited bool          // there is a limit
	ok      bool          // the request is within it
	quota   int64         // what a whole burst is
	left    int64         // of it, now
	full    time.Duration // until all of it is there again
	wait    time.Duration // until a request is within it, unless ok
}

// take uses n of a bucket if there is something in it; with n zero it only looks.
func (t *rater) take(name string, rate, n float64) standing {
	if rate <= 0 {
		return standing{ok: true}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.bucket(name, rate)
	s := standing{limited: true, ok: b.level >= max(n, 1), quota: int64(b.most(t.rates.Burst))}
	if s.ok {
		b.level -= n
	} else {
		s.wait = seconds((max(n, 1) - b.level) / rate)
	}
	s.left = int64(max(0, b.level))
	s.full = seconds((b.most(t.rates.Burst) - b.level) / rate)
	return s
}

// spend takes n of a bucket, whether they are there or not.
func (t *rater) spend(name string, rate, n float64) {
	if rate <= 0 || n <= 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.bucket(name, rate).level -= n
}

func seconds(s float64) time.Duration { return time.Duration(min(s, 1e9) * float64(time.Second)) }

// bucket returns the bucket of that name, filled up to now. t.mu is held.
func (t *rater) bucket(name string, rate float64) *bucket {
	now := t.clock.Now()
	b := t.buckets[name]
	if b == nil {
		if len(t.buckets) >= maxRated {
			t.forget(now)
		}
		b = &bucket{rate: rate, at: now}
		b.level = b.most(t.rates.Burst)
		t.buckets[name] = b
	}
	b.rate = rate
	b.fill(now, t.rates.Burst)
	return b
}

// forget drops the buckets that are full, and if those are few, some others too. t.mu is held.
func (t *rater) forget(now time.Time) {
	for n, b := range t.buckets {
		if b.fill(now, t.rates.Burst); b.level >= b.most(t.rates.Burst) {
			delete(t.buckets, n)
		}
	}
	for n := range t.buckets {
		if len(t.buckets) <= maxRated*7/8 {
			return
		}
		delete(t.buckets, n)
	}
}

// admit counts a request of a key and says in its answer how it stands, in the fields of draft-ietf-httpapi-ratelimit-headers-10
// §3 and §4. A request beyond a limit is a *Denied.
func (t *rater) admit(h http.Header, id *Identity) *Denied {
	requests := t.take("r "+id.ID, t.rates.requests(id), 1)
	bytes := t.take("b "+id.ID, t.rates.bytes(id), 0)
	var policy, state []string
	for _, p := range []struct {
		standing
		name, unit string
	}{{requests, "requests", ""}, {bytes, "upload-bytes", `;qu="content-bytes"`}} {
		if !p.limited {
			continue
		}
		policy = append(policy, fmt.Sprintf("%q;q=%d%s;w=%d", p.name, p.quota, p.unit, wholeSeconds(t.rates.Burst)))
		state = append(state, fmt.Sprintf("%q;r=%d;t=%d", p.name, p.left, wholeSeconds(p.full)))
	}
	if len(policy) > 0 {
		h.Set("RateLimit-Policy", strings.Join(policy, ", "))
		h.Set("RateLimit", strings.Join(state, ", "))
	}
	switch {
	case !requests.ok:
		return tooMany("the key "+id.ID+" ("+id.Name+") sends more requests than it may", requests.wait)
	case !bytes.ok:
		return tooMany("the key "+id.ID+" ("+id.Name+") has sent more bytes than it may", bytes.wait)
	}
	return nil
}

func (r *Rates) requests(id *Identity) float64 {
	if id.RequestsPerSecond > 0 {
		return id.RequestsPerSecond
	}
	return r.Requests
}

func (r *Rates) bytes(id *Identity) float64 {
	if id.BytesPerSecond > 0 {
		return float64(id.BytesPerSecond)
	}
	return r.Bytes
}

// refused counts a request that gets d because its sender is not known, and returns d or, beyond the limit, what to
// answer in its place.
func (t *rater) refused(r *http.Request, d *Denied) *Denied {
	s := t.take("n "+networkOf(remoteIP(r)).String(), t.rates.Refused, 1)
	if s.ok {
		return d
	}
	return tooMany("too many requests without a good API key came from this address", s.wait)
}

func tooMany(what string, wait time.Duration) *Denied {
	n := wholeSeconds(wait)
	return &Denied{Status: http.StatusTooManyRequests, Slug: "too-many-requests", Title: "Too many requests",
		Detail: fmt.Sprintf("%s; try again in %d s", what, n), RetryAfter: n}
}

// wholeSeconds rounds up, to at least one.
func wholeSeconds(d time.Duration) int { return max(1, int(math.Ceil(d.Seconds()))) }

// metered returns r with a body that is counted when it has been read.
func (t *rater) metered(r *http.Request, id *Identity) *http.Request {
	rate := t.rates.bytes(id)
	if rate <= 0 || r.Body == nil || r.Body == http.NoBody {
		return r
	}
	c := *r
	c.Body = &meteredBody{ReadCloser: r.Body, spend: func(n int) { t.spend("b "+id.ID, rate, float64(n)) }}
	return &c
}

type meteredBody struct {
	io.ReadCloser
	spend func(int)
}

// Read implements io.Reader.
func (b *meteredBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.spend(n)
	return n, err
}
