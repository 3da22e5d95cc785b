package origin

import (
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
)

// retryer repeats what the SDK knows to be repeatable. A request that the store put off because it has too much to do is
// repeated more often and after longer pauses than one that failed: waiting is what the store asks for, and a publisher rather
// waits than sends a file again.
type retryer struct {
	aws.RetryerV2
	attempts int // of requests that failed in another way
}

// newRetryer leaves the SDK's own limiter off: it would remember a long outage and then refuse to retry at all for a while after it.
func newRetryer(cfg Config) aws.Retryer {
	standard := retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = cfg.busyAttempts()
		o.MaxBackoff = time.Second
		o.RateLimiter = ratelimit.None
	})
	return retryer{standard, cfg.attempts()}
}

// RetryDelay implements aws.Retryer. An error ends the attempts.
func (r retryer) RetryDelay(attempt int, err error) (time.Duration, error) {
	f := response(err)
	switch {
	case f != nil && f.busy():
		return busyPause(attempt), nil
	case attempt >= r.attempts:
		return 0, err
	}
	return r.RetryerV2.RetryDelay(attempt, err)
}

// busy reports whether the store refused to begin, because it has too much to do.
func (f *fault) busy() bool {
	return f.code == "SlowDown" || f.status == http.StatusTooManyRequests
}

// busyPause is how long to wait after the attempt of that number, from 1: 200 ms, doubled up to 5 s, less up to a half at random, so
// that clients that were refused together do not come back together.
func busyPause(attempt int) time.Duration {
	d := min(100*time.Millisecond<<min(attempt, 10), 5*time.Second)
	return d/2 + rand.N(d/2)
}
