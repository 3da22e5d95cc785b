package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"perigee/clock"
	"perigee/purge"
	"perigee/purge/purgetest"
)

// rig is a log over a real server, and an operator's hands on it.
type rig struct {
	t      *testing.T
	dir    string
	addr   string
	server *Server
	op     *Client
	writer *Log
}

func (r *rig) stop() { r.server.Shutdown() }

func (r *rig) start() {
	s, err := Start(ServerConfig{Listen: r.addr, StoreDir: r.dir, Log: quiet(), Clock: clock.System})
	if err != nil {
		r.t.Fatal(err)
	}
	r.server, r.addr = s, s.Addr().String()
}

func (r *rig) must(err error) {
	if err != nil {
		r.t.Fatal(err)
	}
}

// compact lets the log shrink the only way it can: by a limit.
func (r *rig) compact(keep int) {
	s, err := r.op.js.Stream(r.t.Context(), streamName)
	r.must(err)
	cfg := s.CachedInfo().Config
	for _, limit := range []int64{int64(keep), -1} {
		cfg.MaxMsgs = limit
		_, err = r.op.js.UpdateStream(r.t.Context(), cfg)
		r.must(err)
	}
}

// replace deletes the stream and makes one with the same identity and other messages.
func (r *rig) replace(change func(old [][]byte) [][]byte) {
	s, err := r.op.js.Stream(r.t.Context(), streamName)
	r.must(err)
	info := s.CachedInfo()
	old, err := r.op.read(r.t.Context(), 1, 10_000)
	r.must(err)
	var raw [][]byte
	for _, m := range old {
		raw = append(raw, m.data)
	}
	r.must(r.op.js.DeleteStream(r.t.Context(), streamName))
	// The server takes the old files away after it has answered; until then it may refuse to make new ones.
	eventually(r.t, "the stream is made anew", func() bool {
		_, err = r.op.js.CreateStream(r.t.Context(), info.Config)
		return err == nil
	})
	for _, b := range change(raw) {
		e, err := purge.DecodeEntry(b)
		r.must(err)
		_, err = r.op.js.PublishMsg(r.t.Context(), &nats.Msg{
			Subject: entrySubject(e.ID), Data: b, Header: nats.Header{headerID: {info.Config.Metadata[metaID]}}})
		r.must(err)
	}
}

func (r *rig) inject(b []byte) {
	_, err := r.op.js.Publish(r.t.Context(), logSubject+"somebody-else", b)
	r.must(err)
}

func (r *rig) log() *Log {
	return connect(r.t, ClientConfig{URL: r.server.URL()}).Log(LogConfig{AskEvery: 50 * time.Millisecond})
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, dir: t.TempDir(), addr: "127.0.0.1:0"}
	r.start()
	t.Cleanup(func() { r.stop() })
	r.op = connect(t, ClientConfig{URL: r.server.URL()})
	r.writer = r.log()
	r.must(r.writer.Ensure(t.Context()))
	return r
}

func TestContract(t *testing.T) {
	purgetest.Suite(t, func(t *testing.T) *purgetest.Harness {
		r := newRig(t)
		return &purgetest.Harness{
			Region: "r1", Appender: r.writer, Second: r.log(), Follower: r.log(),
			Clock: clock.System, Watch: 500 * time.Millisecond,
			Interrupt: func() func() {
				r.stop()
				return func() {
					r.start()
					eventually(t, "the operator's connection", r.op.Connected)
				}
			},
			Compact: r.compact,
			Remake: func() {
				r.must(r.op.js.DeleteStream(t.Context(), streamName))
				eventually(t, "the log is made anew", func() bool { return r.writer.Ensure(t.Context()) == nil }) // see replace
			},
			Truncate: func(keep int) { r.replace(func(raw [][]byte) [][]byte { return raw[:keep] }) },
			Rewrite:  func(list []purge.Entry) { r.replace(func([][]byte) [][]byte { return purgetest.Chain(list) }) },
			Inject:   r.inject,
		}
	})
}

func TestEnsure(t *testing.T) {
	r := newRig(t)
	before, err := r.op.js.Stream(t.Context(), streamName)
	r.must(err)
	id := before.CachedInfo().Config.Metadata[metaID]
	if len(id) < 20 {
		t.Errorf("identity %q", id)
	}
	other := r.op.Log(LogConfig{MaxBytes: 1 << 20})
	r.must(other.Ensure(t.Context()))
	after, err := r.op.js.Stream(t.Context(), streamName)
	r.must(err)
	if cfg := after.CachedInfo().Config; cfg.MaxBytes != 1<<20 || cfg.Metadata[metaID] != id {
		t.Errorf("after a change of the limit: %d bytes, identity %q, want %d, %q", cfg.MaxBytes, cfg.Metadata[metaID], 1<<20, id)
	}
	r.op.cfg.Region = "elsewhere"
	if err := other.Ensure(t.Context()); err == nil || !strings.Contains(err.Error(), `"r1"`) {
		t.Errorf("a log of another region: %v", err)
	}
}

// TestRunMakesLog: the log is there as soon as the bus is, and again after somebody has deleted it.
func TestRunMakesLog(t *testing.T) {
	s := startServer(t, ServerConfig{})
	c := connect(t, ClientConfig{InProcess: s})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- c.Log(LogConfig{}).Run(ctx) }()
	there := func() bool { _, err := c.js.Stream(t.Context(), streamName); return err == nil }
	eventually(t, "the log", there)
	if err := c.js.DeleteStream(t.Context(), streamName); err != nil {
		t.Fatal(err)
	}
	c.nc.ForceReconnect()
	eventually(t, "the log to be made again", there)
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v", err)
	}
}

// TestBounded: the oldest entries go, the newest stay, and a dropped ID is forgotten, as documented.
func TestBounded(t *testing.T) {
	r := newRig(t)
	l := r.op.Log(LogConfig{MaxBytes: 64 << 10})
	r.must(l.Ensure(t.Context()))
	for i := range 400 {
		if _, err := l.Append(t.Context(), purgetest.NewEntry(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	s, err := r.op.js.Stream(t.Context(), streamName)
	r.must(err)
	if st := s.CachedInfo().State; st.Bytes > 64<<10 || st.FirstSeq == 1 || st.LastSeq != 400 {
		t.Errorf("state %+v", st)
	}
	for id, want := range map[string]uint64{"399": 400, "0": 401} {
		p, err := l.Append(t.Context(), purgetest.NewEntry(id))
		if m, _ := p.Mark("r1"); err != nil || m.Seq != want {
			t.Errorf("Append(%s) again: sequence %d, %v, want %d", id, m.Seq, err, want)
		}
	}
}

// TestLogThatWentBack: when entries that were acknowledged are gone, their numbers are given again; under the same
// identity, a node's old position would pass for proof of a new entry.
func TestLogThatWentBack(t *testing.T) {
	for name, restarted := range map[string]bool{"the same writer": false, "a writer that was restarted": true} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			var before purge.Position
			for i := range 10 {
				p, err := r.writer.Append(t.Context(), purgetest.NewEntry(fmt.Sprint("a", i)))
				r.must(err)
				before = p
			}
			r.replace(func(raw [][]byte) [][]byte { return raw[:5] })
			l := r.writer
			if restarted {
				l = r.op.Log(LogConfig{Written: before})
			}
			after, err := l.Append(t.Context(), purgetest.NewEntry("b"))
			r.must(err)
			if before.Covers(after) {
				t.Error("the position of entry 10 of the old log covers entry 6 of the new one")
			}
			again, err := l.Append(t.Context(), purgetest.NewEntry("c"))
			if r.must(err); !again.Covers(after) {
				t.Error("the log has got a new identity twice")
			}
		})
	}
}

// TestFeedIsNotTrusted: messages that only look like entries of the feed neither reach the sink nor stop it.
func TestFeedIsNotTrusted(t *testing.T) {
	r := newRig(t)
	first, err := r.writer.Append(t.Context(), purgetest.NewEntry("first"))
	r.must(err)
	mark, _ := first.Mark("r1")
	var sink collector
	follow(t, r.log(), purge.Position{}, &sink)
	eventually(t, "a Confirm", sink.see(func() bool { return sink.confirms > 0 }))

	forged := purgetest.NewEntry("forged")
	header := func(stream, seq string) nats.Header {
		return nats.Header{"Nats-Stream": {streamName}, "Nats-Sequence": {seq}, headerID: {stream}}
	}
	for _, m := range []*nats.Msg{
		{Data: []byte("junk")},
		{Header: header(mark.Stream, "2"), Data: []byte("junk")},
		{Header: header(mark.Stream, "2"), Data: forged.Encode()}, // not chained
		{Header: header(mark.Stream, "1000"), Data: forged.Encode()},
		{Header: header("another", "2"), Data: forged.Encode()},
		{Header: header(mark.Stream, "1"), Data: forged.Encode()},
		{Header: header(mark.Stream, "-1"), Data: forged.Encode()},
	} {
		m.Subject = feedSubject + "x"
		r.must(r.op.nc.PublishMsg(m))
		r.must(r.op.nc.Flush())
		// One at a time: a message that does not fit makes the follower pass over what is behind it in the feed.
		sink.mu.Lock()
		n := sink.confirms
		sink.mu.Unlock()
		eventually(t, "another Confirm", sink.see(func() bool { return sink.confirms > n+1 }))
	}
	_, err = r.writer.Append(t.Context(), purgetest.NewEntry("second"))
	r.must(err)
	eventually(t, "the true entry", sink.see(func() bool { return slices.Contains(sink.ids, "second") }))
	sink.mu.Lock()
	defer sink.mu.Unlock()
	if len(sink.resets) > 0 || !slices.Equal(sink.ids, []string{"first", "second"}) {
		t.Errorf("applied %v, resets %v", sink.ids, sink.resets)
	}
}

// TestSlowSink: what the feed cannot hold is read from the stream.
func TestSlowSink(t *testing.T) {
	r := newRig(t)
	gate := make(chan struct{})
	sink := &slowSink{gate: gate}
	follow(t, r.log(), purge.Position{}, sink)
	const n = 3 * feedBuffer
	for i := range n {
		_, err := r.writer.Append(t.Context(), purgetest.NewEntry(fmt.Sprint(i)))
		r.must(err)
	}
	close(gate)
	eventually(t, "all entries", sink.see(func() bool { return len(sink.ids) == n }))
	if len(sink.resets) > 0 {
		t.Errorf("resets %v", sink.resets)
	}
}

type slowSink struct {
	collector
	gate chan struct{}
}

func (s *slowSink) Apply(r purge.Record) error {
	<-s.gate
	return s.collector.Apply(r)
}

func TestEntrySubject(t *testing.T) {
	seen := map[string]string{}
	for _, id := range []string{"a", "A", "0-9_z", "a.b", "a b", "*", ">", "ü", "=", "=YQ", strings.Repeat("x", 64), strings.Repeat(">", 64)} {
		s := entrySubject(id)
		token, ok := strings.CutPrefix(s, logSubject)
		if !ok || token == "" || strings.ContainsAny(token, ".*> \t\r\n") {
			t.Errorf("%q: subject %q", id, s)
		}
		if other, twice := seen[s]; twice {
			t.Errorf("%q and %q share subject %q", id, other, s)
		}
		seen[s] = id
	}
}
