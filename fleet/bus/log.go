package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"perigee/object"
	"perigee/purge"
)

const (
	// DefaultLogBytes is how large the log may grow unless its configuration says otherwise: 150,000 to 350,000
	// entries, each of which costs the server up to 0.6 KB of memory on top. Beyond it the oldest entries go.
	DefaultLogBytes = 128 << 20
	// DefaultAskEvery is how often a follower asks for the state of the log.
	DefaultAskEvery = 2 * time.Second

	// maxMessage bounds what the server stores as one message, in bytes: several times the largest valid entry.
	maxMessage = 256 << 10
	// ensureEvery is how often Run looks after the log.
	ensureEvery = 5 * time.Second

	metaID     = "perigee.id"     // stream metadata: the stream's identity
	metaRegion = "perigee.region" // and whose log it is
	headerID   = "Perigee-Log"    // header of an entry's message: the identity of the stream it was written for
)

// LogConfig says how a Log behaves.
type LogConfig struct {
	MaxBytes int64         // DefaultLogBytes when 0
	AskEvery time.Duration // DefaultAskEvery when 0
	// Written, for a writer that has appended before it was restarted, is the last position it was given. If the log
	// turns out not to reach that far, it has lost entries and goes on under a new identity. Without it only losses
	// since Client.Log are noticed.
	Written purge.Position
}

// Log is the ordered log of one region: the JetStream stream PERIGEE_LOG. It implements purge.Appender and
// purge.Follower.
//
// A stream has a random identity, given when it is made, which stands in every position. Each entry is a message on a
// subject made of its ID, appended under two conditions that the server checks: the stream ends where the writer
// believes, and nothing is stored on that subject. So the chain of hashes has no forks however many writers there are,
// and an ID that is in the log is never added again, however long ago it was and whoever restarted since. What bounds
// that memory is the log itself: an ID is forgotten when its entry is dropped because the log is full.
type Log struct {
	c   *Client
	cfg LogConfig

	// busy holds one token while an Append is under way. It guards the fields below; a channel, so that waiting for
	// it can be given up.
	busy chan struct{}
	tail tail
	// known is whether tail is believed to be the log's end. It was so on the connection it was learned on.
	known *link
	// high is the furthest entry that is known to have been acknowledged.
	high purge.Mark
}

// tail is the end of a stream.
type tail struct {
	stream string
	seq    uint64
	hash   object.Hash // of the last message, whatever it is
}

var (
	_ purge.Appender = (*Log)(nil)
	_ purge.Follower = (*Log)(nil)
)

// Log returns the region's log on this bus. It does not talk to the bus yet. A process that appends uses one Log: two
// would be two writers that slow each other down.
func (c *Client) Log(cfg LogConfig) *Log {
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = DefaultLogBytes
	}
	if cfg.AskEvery == 0 {
		cfg.AskEvery = DefaultAskEvery
	}
	l := &Log{c: c, cfg: cfg, busy: make(chan struct{}, 1)}
	l.high, _ = cfg.Written.Mark(c.cfg.Region)
	return l
}

// Ensure makes the log if it is not there and sets its limits. It belongs to the control side.
func (l *Log) Ensure(ctx context.Context) error {
	ctx, cancel, err := l.c.now(ctx)
	if err != nil {
		return fmt.Errorf("make the log: %w", err)
	}
	defer cancel()
	_, err = l.ensure(ctx)
	return err
}

// Run keeps the log in being until ctx ends: it makes the log at the start, when the bus has come back without it and
// when somebody has deleted it. It belongs to the control side, which learns of trouble from Append; Run only logs it.
func (l *Log) Run(ctx context.Context) error {
	ticker := l.c.cfg.Clock.NewTicker(ensureEvery)
	defer ticker.Stop()
	for {
		link, err := l.c.wait(ctx)
		if err != nil {
			return err
		}
		if err := l.Ensure(ctx); err != nil && ctx.Err() == nil {
			l.c.complain("the log cannot be looked after", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-link.lost.Done():
		case <-ticker.C():
		}
	}
}

// ensure returns the stream's state, having made the stream if need be. ctx is one of Client.now.
func (l *Log) ensure(ctx context.Context) (*jetstream.StreamInfo, error) {
	s, err := l.c.js.Stream(ctx, streamName)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		s, err = l.c.js.CreateStream(ctx, l.config(jetstream.StreamConfig{}))
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another writer was faster
			s, err = l.c.js.Stream(ctx, streamName)
		} else if err == nil {
			l.c.cfg.Log.Info("made the log", "region", l.c.cfg.Region, "stream", s.CachedInfo().Config.Metadata[metaID])
		}
	}
	if err != nil {
		return nil, fmt.Errorf("make the log: %w", because(ctx, err))
	}
	info := s.CachedInfo()
	if err := l.checkRegion(info); err != nil && info.Config.Metadata[metaRegion] != "" {
		return nil, err
	}
	if !l.fits(info.Config) {
		if s, err = l.c.js.UpdateStream(ctx, l.config(info.Config)); err != nil {
			return nil, fmt.Errorf("set the limits of the log: %w", because(ctx, err))
		}
		info = s.CachedInfo()
	}
	return info, nil
}

// config returns have with everything set that the log rests on. An identity that have has is kept.
func (l *Log) config(have jetstream.StreamConfig) jetstream.StreamConfig {
	cfg := have
	cfg.Name = streamName
	cfg.Description = "Perigee: every name change, in order"
	cfg.Subjects = []string{logSubject + "*"}
	cfg.Storage = jetstream.FileStorage
	cfg.MaxBytes = l.cfg.MaxBytes
	cfg.MaxMsgSize = maxMessage
	cfg.Discard = jetstream.DiscardOld
	cfg.DenyDelete = true
	cfg.DenyPurge = true
	cfg.AllowDirect = true
	cfg.RePublish = &jetstream.RePublish{Source: logSubject + "*", Destination: feedSubject + "{{wildcard(1)}}"}
	cfg.Metadata = map[string]string{metaID: have.Metadata[metaID], metaRegion: l.c.cfg.Region}
	if cfg.Metadata[metaID] == "" {
		cfg.Metadata[metaID] = newID()
	}
	return cfg
}

// fits reports whether a stream needs no update. Limits beyond ours, such as replicas, are the operator's.
func (l *Log) fits(cfg jetstream.StreamConfig) bool {
	return cfg.MaxBytes == l.cfg.MaxBytes && cfg.AllowDirect && cfg.RePublish != nil && cfg.DenyDelete && cfg.DenyPurge &&
		cfg.Metadata[metaID] != "" && cfg.Metadata[metaRegion] == l.c.cfg.Region
}

func (l *Log) checkRegion(info *jetstream.StreamInfo) error {
	if r := info.Config.Metadata[metaRegion]; r != l.c.cfg.Region {
		return fmt.Errorf("the log on this bus belongs to region %q, this node is configured for %q", r, l.c.cfg.Region)
	}
	return nil
}

// renew gives the stream a new identity.
func (l *Log) renew(ctx context.Context, info *jetstream.StreamInfo) (*jetstream.StreamInfo, error) {
	cfg := l.config(info.Config)
	cfg.Metadata[metaID] = newID()
	s, err := l.c.js.UpdateStream(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("renew the log: %w", because(ctx, err))
	}
	return s.CachedInfo(), nil
}
