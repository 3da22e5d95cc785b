package upload

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"time"

	"perigee/clock"
	"perigee/object"
	"perigee/origin"
)

// A bucket that says SlowDown, answers 503 or keeps silent is given time. What is being stored is in memory and is sent again; the
// publisher is not read from meanwhile and feels it as a slow line. Package origin repeats a request a few times within seconds; this
// is for the minutes after.
const (
	firstPause = 250 * time.Millisecond
	longPause  = 8 * time.Second
)

// patiently runs write again and again, after pauses that grow, while the bucket is unavailable and Config.Patience is not used up. Only
// for what may be repeated. An outcome that is not known (origin.ErrUnknown) is the caller's to find out.
func (p *Publisher) patiently(ctx context.Context, write func() error) error {
	end := p.cfg.Clock.Now().Add(p.cfg.Patience)
	for pause := firstPause; ; pause = min(2*pause, longPause) {
		err := write()
		if err == nil || !errors.Is(err, origin.ErrUnavailable) || errors.Is(err, origin.ErrUnknown) {
			return err
		}
		// The jitter keeps uploads that failed together from coming back together.
		wait := pause/2 + rand.N(pause)
		if p.cfg.Clock.Now().Add(wait).After(end) {
			return err
		}
		p.cfg.Log.Debug("the bucket is given time", "pause", wait, "err", err)
		if perr := clock.Sleep(ctx, p.cfg.Clock, wait); perr != nil {
			return errors.Join(err, perr)
		}
	}
}

// turns bounds how many requests to the bucket are under way at a time, and with that the connections and file descriptors of thousands
// of uploads that arrive together. Each waits for its turn as long as its context allows.
type turns chan struct{}

func (t turns) take(ctx context.Context) (done func(), err error) {
	select {
	case t <- struct{}{}:
		return func() { <-t }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// orderly is a Writer whose requests take turns. Listing has no bodies and is the sweeper's alone: it takes none.
type orderly struct {
	Writer
	turns turns
}

func (o orderly) Put(ctx context.Context, key object.Key, body []byte, opt origin.PutOptions) (string, error) {
	done, err := o.turns.take(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	return o.Writer.Put(ctx, key, body, opt)
}

func (o orderly) Delete(ctx context.Context, key object.Key) error {
	done, err := o.turns.take(ctx)
	if err != nil {
		return err
	}
	defer done()
	return o.Writer.Delete(ctx, key)
}

func (o orderly) Create(ctx context.Context, key object.Key, contentType string) (string, error) {
	done, err := o.turns.take(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	return o.Writer.Create(ctx, key, contentType)
}

func (o orderly) Part(ctx context.Context, key object.Key, id string, number int, body []byte) (origin.Part, error) {
	done, err := o.turns.take(ctx)
	if err != nil {
		return origin.Part{}, err
	}
	defer done()
	return o.Writer.Part(ctx, key, id, number, body)
}

func (o orderly) Complete(ctx context.Context, key object.Key, id string, parts []origin.Part) (string, error) {
	done, err := o.turns.take(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	return o.Writer.Complete(ctx, key, id, parts)
}

func (o orderly) Abort(ctx context.Context, key object.Key, id string) error {
	done, err := o.turns.take(ctx)
	if err != nil {
		return err
	}
	defer done()
	return o.Writer.Abort(ctx, key, id)
}

// orderlyReader is a Reader whose requests take turns. A body that is being read has none: reading one while writing another must not
// wait for itself.
type orderlyReader struct {
	Reader
	turns turns
}

func (o orderlyReader) Get(ctx context.Context, key object.Key, opt origin.GetOptions) (io.ReadCloser, origin.Info, error) {
	done, err := o.turns.take(ctx)
	if err != nil {
		return nil, origin.Info{}, err
	}
	defer done()
	return o.Reader.Get(ctx, key, opt)
}

func (o orderlyReader) Head(ctx context.Context, key object.Key) (origin.Info, error) {
	done, err := o.turns.take(ctx)
	if err != nil {
		return origin.Info{}, err
	}
	defer done()
	return o.Reader.Head(ctx, key)
}
