package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"perigee/object"
	"perigee/purge"
)

const (
	// feedBuffer is how many entries of the feed wait for a sink that is busy. More are dropped, and read from the
	// stream when their turn comes.
	feedBuffer = 256
	// againAfter is how long a follower waits after an error before it starts over.
	againAfter = 250 * time.Millisecond
)

// Follow implements purge.Follower. It returns an error that is neither ctx's nor the sink's only after Close.
//
// After a Reset it goes on before the oldest entry there is, so that hard purges and tombstones the log still has are
// applied again; after an entry that cannot be read it goes on behind that one.
func (l *Log) Follow(ctx context.Context, from purge.Position, s purge.Sink) error {
	f := &follower{log: l, sink: s, pos: from}
	f.mark, _ = from.Mark(l.c.cfg.Region)
	for {
		err := f.session(ctx)
		var refused sinkError
		switch {
		case errors.As(err, &refused):
			return refused.error
		case ctx.Err() != nil:
			return ctx.Err()
		case l.c.nc.IsClosed():
			return nats.ErrConnectionClosed
		case errors.Is(err, ErrDisconnected):
			continue // the next session waits for the connection
		}
		l.c.complain("the log cannot be followed", err)
		t := l.c.cfg.Clock.NewTimer(againAfter)
		select {
		case <-ctx.Done():
		case <-t.C():
		}
		t.Stop()
	}
}

// follower is one call of Follow. It is used by that call alone.
type follower struct {
	log  *Log
	sink purge.Sink
	pos  purge.Position // the sink's, with mark in it
	mark purge.Mark     // where the sink stands in this region
}

// sinkError is an error of the sink, which ends Follow.
type sinkError struct{ error }

// session follows over one connection. Its steps:
//
//	listen to the feed
//	ask: learn the stream's state; Reset if it does not continue from mark; read up to its end; Confirm
//	then apply what the feed brings, and ask again every AskEvery and whenever the feed does not fit
//
// Listening comes first, so that an entry appended after the answer to ask is in the feed.
func (f *follower) session(ctx context.Context) error {
	link, err := f.log.c.wait(ctx)
	if err != nil {
		return err
	}
	ctx, release := link.hold(ctx)
	defer release()
	feed := make(chan *nats.Msg, feedBuffer)
	sub, err := f.log.c.nc.ChanSubscribe(feedSubject+"*", feed)
	if err != nil {
		return fmt.Errorf("listen to the log: %w", err)
	}
	defer sub.Unsubscribe()
	if err := f.ask(ctx); err != nil {
		return because(ctx, err)
	}
	ticker := f.log.c.cfg.Clock.NewTicker(f.log.cfg.AskEvery)
	defer ticker.Stop()
	for {
		fits := false
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case m := <-feed:
			if fits, err = f.hear(m); err != nil {
				return err
			}
		case <-ticker.C():
		}
		if fits {
			continue
		}
		// The answer covers everything the feed has brought by now.
		for len(feed) > 0 {
			<-feed
		}
		if err := f.ask(ctx); err != nil {
			return because(ctx, err)
		}
	}
}

// hear applies an entry of the feed if it is the next one beyond doubt. It reports false if the stream has to be asked.
func (f *follower) hear(m *nats.Msg) (fits bool, err error) {
	s, err := storedFrom(m)
	if err != nil || s.id != f.mark.Stream {
		return false, nil
	}
	if s.seq <= f.mark.Seq {
		return true, nil // read from the stream before the feed brought it
	}
	e, err := purge.DecodeEntry(s.data)
	if err != nil || s.seq != f.mark.Seq+1 || e.Prev != f.mark.Hash {
		return false, nil
	}
	return true, f.apply(s, e)
}

// ask brings the sink to the end of the stream and confirms that.
func (f *follower) ask(ctx context.Context) error {
	asked := f.log.c.cfg.Clock.Now()
	info, err := f.log.info(ctx)
	if err != nil {
		return err
	}
	if err := f.place(ctx, info); err != nil {
		return err
	}
	for f.mark.Seq < info.State.LastSeq {
		batch, err := f.log.readNow(ctx, f.mark.Seq+1, readBatch)
		if err != nil {
			return err
		}
		if len(batch) == 0 {
			return fmt.Errorf("the log ends at %d and has nothing after %d", info.State.LastSeq, f.mark.Seq)
		}
		for i := range batch {
			if err := f.take(batch[i]); err != nil {
				return err
			}
		}
	}
	f.sink.Confirm(asked)
	return nil
}

// place checks that the stream continues from mark, and resets the sink if not.
func (f *follower) place(ctx context.Context, info *jetstream.StreamInfo) error {
	if err := f.log.checkRegion(info); err != nil {
		return err
	}
	start := purge.Mark{Stream: info.Config.Metadata[metaID]}
	if info.State.FirstSeq > 1 {
		start.Seq = info.State.FirstSeq - 1
	}
	switch last := info.State.LastSeq; {
	case f.mark.Stream == "" && start.Seq == 0:
		f.moveTo(start) // nothing seen, and nothing missed
		return nil
	case f.mark.Stream != "" && f.mark.Stream != start.Stream:
		return f.reset(start, "the stream was made anew")
	case f.mark.Seq > last:
		return f.reset(start, fmt.Sprintf("the log ends at %d, before %d", last, f.mark.Seq))
	case f.mark.Seq < start.Seq:
		return f.reset(start, fmt.Sprintf("the log begins after %d, and we are at %d", start.Seq, f.mark.Seq))
	case f.mark.Seq == start.Seq || f.mark.Hash.IsZero():
		return nil // our entry is not in the log any more; the next one tells whether it was this one
	}
	at, err := f.log.readNow(ctx, f.mark.Seq, 1)
	if err != nil {
		return err
	}
	if len(at) == 0 || at[0].seq != f.mark.Seq || object.HashOf(at[0].data) != f.mark.Hash {
		return f.reset(start, fmt.Sprintf("entry %d is not the one we applied", f.mark.Seq))
	}
	return nil
}

// take handles the next message of the stream: an entry, or the proof that the chain is broken.
func (f *follower) take(s stored) error {
	id, hash := f.mark.Stream, object.HashOf(s.data)
	e, err := purge.DecodeEntry(s.data)
	if err != nil {
		return f.reset(purge.Mark{Stream: id, Seq: s.seq, Hash: hash}, fmt.Sprintf("message %d is no entry: %v", s.seq, err))
	}
	if s.seq != f.mark.Seq+1 {
		err = f.reset(purge.Mark{Stream: id, Seq: s.seq - 1, Hash: e.Prev},
			fmt.Sprintf("the log goes on at %d after %d", s.seq, f.mark.Seq))
	} else if unknown := f.mark.Hash.IsZero() && f.mark.Seq > 0; !unknown && e.Prev != f.mark.Hash {
		err = f.reset(purge.Mark{Stream: id, Seq: s.seq - 1, Hash: e.Prev},
			fmt.Sprintf("entry %d follows another entry than the one we applied", s.seq))
	}
	if err != nil {
		return err
	}
	return f.apply(s, e)
}

func (f *follower) apply(s stored, e *purge.Entry) error {
	f.moveTo(purge.Mark{Stream: f.mark.Stream, Seq: s.seq, Hash: object.HashOf(s.data)})
	if err := f.sink.Apply(purge.Record{Entry: *e, Position: f.pos}); err != nil {
		return sinkError{err}
	}
	return nil
}

func (f *follower) reset(to purge.Mark, why string) error {
	f.moveTo(to)
	if err := f.sink.Reset(f.pos, fmt.Errorf("%w: %s", purge.ErrGap, why)); err != nil {
		return sinkError{err}
	}
	return nil
}

func (f *follower) moveTo(m purge.Mark) {
	f.mark = m
	f.pos = f.pos.With(f.log.c.cfg.Region, m)
}

// info asks for the state of the stream.
func (l *Log) info(ctx context.Context) (*jetstream.StreamInfo, error) {
	ctx, cancel, err := l.c.now(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	s, err := l.c.js.Stream(ctx, streamName)
	if err != nil {
		return nil, fmt.Errorf("ask for the state of the log: %w", because(ctx, err))
	}
	return s.CachedInfo(), nil
}

// readNow is Client.read with a limit of its own on time.
func (l *Log) readNow(ctx context.Context, from uint64, n int) ([]stored, error) {
	ctx, cancel, err := l.c.now(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	return l.c.read(ctx, from, n)
}
