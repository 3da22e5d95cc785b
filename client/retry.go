package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"perigee/clock"
)

// Retry says how calls are repeated while the server, or the way to it, fails. Those that only ask simply are; those that change something carry an
// Idempotency-Key, by which the server makes the change once; Upload and UploadDirect go on where the server is.
type Retry struct {
	// Tries is how often a call is tried in all; 4 when zero, 1 for never again.
	Tries int
	// Pause is how long to wait after the first failure; it doubles with each more, up to MaxPause. 250 ms and 10 s when zero.
	Pause, MaxPause time.Duration
}

func (r Retry) withDefaults() Retry {
	if r.Tries == 0 {
		r.Tries = 4
	}
	if r.Pause == 0 {
		r.Pause = 250 * time.Millisecond
	}
	if r.MaxPause == 0 {
		r.MaxPause = 10 * time.Second
	}
	return r
}

// maxRetryAfter is the longest wait that a server can ask for.
const maxRetryAfter = 30 * time.Second

// After returns how long to wait after the try-th failure, counted from 1. The jitter keeps many clients from coming back as one; what the
// server asks for in Retry-After counts if it is longer.
func (r Retry) After(try int, err error) time.Duration {
	r = r.withDefaults()
	d := min(r.Pause<<min(try-1, 16), r.MaxPause)
	d = d/2 + rand.N(d/2+1)
	var p *Problem
	if errors.As(err, &p) {
		d = max(d, min(p.RetryAfter, maxRetryAfter))
	}
	return d
}

// again waits before the next try; false says that there is none.
func (c *Client) again(ctx context.Context, try int, err error) bool {
	if try >= c.retry.Tries || !Temporary(err) || ctx.Err() != nil {
		return false
	}
	return clock.Sleep(ctx, c.clock, c.retry.After(try, err)) == nil
}

// asks reports whether a method only asks (RFC 9110 §9.2.1).
func asks(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}
