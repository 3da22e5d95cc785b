package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync"
	"time"

	"perigee/clock"
	"perigee/object"
)

// Claim publishes a content that the site has already, without sending it: o needs its Size and SHA256. false says that the site does not have it, or
// that nobody said so; then nothing was changed.
func (c *Client) Claim(ctx context.Context, site object.Site, path object.Path, o PutOptions) (f File, claimed bool, err error) {
	if o.SHA256.IsZero() || o.Size < 1 {
		return File{}, false, nil
	}
	err = c.change(ctx, func(key string) error {
		body := newOffer(c.clock)
		defer body.withdraw()
		req, err := c.putRequest(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got100Continue: body.want}), site, path, body, o)
		if err != nil {
			return err
		}
		req.Header.Set("Expect", "100-continue") // also for one that is small: the server answers before the body only those who wait
		req.Header.Set(idempotencyKey, key)
		_, err = c.call(req, &f)
		if errors.Is(err, errWanted) {
			return errWanted // and no failure of the way to the server
		}
		return err
	})
	var p *Problem
	if errors.Is(err, errWanted) || errors.As(err, &p) && p.Status == http.StatusExpectationFailed {
		return File{}, false, nil
	}
	if err != nil {
		return File{}, false, fmt.Errorf("claim %s:%s: %w", site, path, err)
	}
	return f, true, nil
}

// errWanted ends a request whose server wants the body: it does not have the content.
var errWanted = errors.New("the server wants the body")

// offerTime is how long a server may look for the content before the body counts as wanted.
const offerTime = 30 * time.Second

// offer is a body that is never sent. Reading it waits until the server asks for it, and fails.
type offer struct {
	clock  clock.Clock
	once   sync.Once
	wanted chan struct{}
}

func newOffer(c clock.Clock) *offer { return &offer{clock: c, wanted: make(chan struct{})} }

// want says that the server has asked for the body, withdraw that the call is over.
func (o *offer) want()     { o.once.Do(func() { close(o.wanted) }) }
func (o *offer) withdraw() { o.want() }

// Read implements io.Reader. The transport reads it when the server asks, or when it no longer waits for that: longer than a second, the server may still
// be looking.
func (o *offer) Read([]byte) (int, error) {
	t := o.clock.NewTimer(offerTime)
	defer t.Stop()
	select {
	case <-o.wanted:
	case <-t.C():
	}
	return 0, errWanted
}

var _ io.Reader = (*offer)(nil)
