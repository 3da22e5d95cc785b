package bus

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"perigee/object"
	"perigee/purge"
)

// maxConflicts is how often an Append that lost the race against another writer tries again.
const maxConflicts = 16

// Append implements purge.Appender. It waits for at most 5 s, and not at all while the bus cannot be reached.
// Appends of one Log are done one after the other, each with its own sync to disk.
func (l *Log) Append(ctx context.Context, e purge.Entry) (purge.Position, error) {
	e.Prev = object.Hash{}
	if err := e.Validate(); err != nil {
		return purge.Position{}, err
	}
	ctx, cancel, err := l.c.now(ctx)
	if err != nil {
		return purge.Position{}, fmt.Errorf("append entry %s: %w", e.ID, err)
	}
	defer cancel()
	select {
	case l.busy <- struct{}{}:
		defer func() { <-l.busy }()
	case <-ctx.Done():
		return purge.Position{}, fmt.Errorf("append entry %s: %w", e.ID, context.Cause(ctx))
	}
	mark, err := l.append(ctx, e)
	if err != nil {
		l.known = nil
		return purge.Position{}, fmt.Errorf("append entry %s: %w", e.ID, because(ctx, err))
	}
	return purge.At(l.c.cfg.Region, mark), nil
}

// append is called with the token of busy. What can go wrong between two writers A and B of one stream:
//
//	A and B both know tail 7. A appends 8. B's append says "after 7" and the server refuses it; B learns tail 8, chains
//	its entry to that and appends 9. Nobody has overwritten anything, and the chain has one line.
//
//	A appends entry x, the answer is lost, A's process dies. B appends x again: the server refuses it because subject x
//	is taken, B looks x up and answers with A's position.
//
//	As before, but A's message is still on its way when B appends x as 8. It says "after 7" and is refused.
func (l *Log) append(ctx context.Context, e purge.Entry) (purge.Mark, error) {
	for range maxConflicts {
		if err := l.load(ctx); err != nil {
			return purge.Mark{}, err
		}
		mark, err := l.publish(ctx, e)
		if !isConflict(err) {
			return mark, err
		}
		l.known = nil
		if err := l.load(ctx); err != nil {
			return purge.Mark{}, err
		}
		mark, err = l.find(ctx, e.ID)
		if !errors.Is(err, jetstream.ErrMsgNotFound) {
			return mark, err
		}
	}
	return purge.Mark{}, errors.New("other processes append to this log all the time; there must be one")
}

func isConflict(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence
}

// load learns where the log ends, unless it knows.
func (l *Log) load(ctx context.Context) error {
	link := l.c.current()
	if link != nil && l.known == link {
		return nil
	}
	info, err := l.ensure(ctx)
	if err != nil {
		return err
	}
	if info.Config.Metadata[metaID] == l.high.Stream && info.State.LastSeq < l.high.Seq {
		// The server has lost what it had acknowledged, for example because an old copy of its disk was put back. Its
		// numbers will be given to other entries, so positions reported by now could pass for proof of those.
		l.c.cfg.Log.Error("the log has lost entries; it goes on under a new identity and every node will revalidate what it has",
			"acknowledged", l.high.Seq, "found", info.State.LastSeq)
		if info, err = l.renew(ctx, info); err != nil {
			return err
		}
	}
	l.tail = tail{stream: info.Config.Metadata[metaID], seq: info.State.LastSeq}
	if info.State.Msgs > 0 {
		last, err := l.c.read(ctx, info.State.LastSeq, 1)
		if err != nil {
			return fmt.Errorf("read the end of the log: %w", err)
		}
		if len(last) > 0 && last[0].seq == l.tail.seq {
			l.tail.hash = object.HashOf(last[0].data)
		}
	}
	l.known = link
	return nil
}

// publish appends e behind the tail.
func (l *Log) publish(ctx context.Context, e purge.Entry) (purge.Mark, error) {
	e.Prev = l.tail.hash
	data := e.Encode()
	msg := &nats.Msg{Subject: entrySubject(e.ID), Data: data, Header: nats.Header{headerID: {l.tail.stream}}}
	ack, err := l.c.js.PublishMsg(ctx, msg,
		jetstream.WithExpectStream(streamName),
		jetstream.WithExpectLastSequence(l.tail.seq),
		jetstream.WithExpectLastSequencePerSubject(0))
	if err != nil {
		return purge.Mark{}, err
	}
	if ack.Sequence != l.tail.seq+1 {
		return purge.Mark{}, fmt.Errorf("the server stored it as %d and not as %d", ack.Sequence, l.tail.seq+1)
	}
	l.tail.seq, l.tail.hash = ack.Sequence, object.HashOf(data)
	l.high = purge.Mark{Stream: l.tail.stream, Seq: l.tail.seq, Hash: l.tail.hash}
	return l.high, nil
}

// find returns where the entry with this ID stands; the error is jetstream.ErrMsgNotFound when it stands nowhere.
func (l *Log) find(ctx context.Context, id string) (purge.Mark, error) {
	s, err := l.c.js.Stream(ctx, streamName)
	if err != nil {
		return purge.Mark{}, err
	}
	m, err := s.GetLastMsgForSubject(ctx, entrySubject(id))
	if err != nil {
		return purge.Mark{}, err
	}
	return purge.Mark{Stream: l.tail.stream, Seq: m.Sequence, Hash: object.HashOf(m.Data)}, nil
}

// entrySubject is where the entry with this ID is stored. An ID that is no subject token is encoded; "=" occurs in
// no other.
func entrySubject(id string) string {
	for i := range len(id) {
		c := id[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return logSubject + "=" + base64.RawURLEncoding.EncodeToString([]byte(id))
		}
	}
	return logSubject + id
}

func newID() string { return rand.Text() }
