package web

import (
	"context"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"perigee/fleet"
	"perigee/keys"
	"perigee/purge"
)

// The pace of live events.
const (
	// fleetEvery is how often changes of load alone are sent; what steering reads is sent at once.
	fleetEvery = time.Second
	// proofRest is the least time between two looks at the proofs. The times in a proof are the tracker's, not ours.
	proofRest = 50 * time.Millisecond
	// heartbeat keeps proxies from closing a silent stream, and finds clients that are gone.
	heartbeat = 15 * time.Second
	// streamFor is how long a stream lasts at most: then the browser comes again, and its session is looked at again.
	streamFor = 10 * time.Minute
	// keyEvery is how often a stream looks whether its key is still good.
	keyEvery = time.Second
	// writeTimeout is how long a client may take to accept one event.
	writeTimeout = 10 * time.Second
)

// Changed tells the listeners of GET /api/v1/events about an entry that is in the log, whoever appended it. It does not
// block. Call it in the order of the log.
func (s *Server) Changed(r purge.Record) { s.hub.changed(r, s.cfg.Clock.Now()) }

// Run feeds the live events until ctx ends, then ends the streams of all listeners. It returns nil. Call it once.
func (s *Server) Run(ctx context.Context) error {
	defer s.hub.close()
	tick := s.cfg.Clock.NewTicker(fleetEvery)
	defer tick.Stop()
	rest := s.cfg.Clock.NewTimer(proofRest)
	defer rest.Stop()
	var proofs <-chan struct{} // nil while resting
	var sent *fleet.Snapshot
	for {
		nodes := s.cfg.Fleet.Changed()
		sent = s.sendFleet(sent, false)
		select {
		case <-ctx.Done():
			return nil
		case <-nodes:
		case <-tick.C():
			sent = s.sendFleet(sent, true)
			s.hub.sendUploads()
		case <-rest.C():
			proofs = s.cfg.Purges.Changed() // before looking, so that no change falls between
			s.hub.prove(s.cfg.Purges.Proof, s.cfg.Clock.Now())
		case <-proofs:
			proofs = nil
			rest.Reset(proofRest)
		case <-s.hub.kick:
			proofs = nil
			rest.Reset(proofRest)
		}
	}
}

// sendFleet sends the snapshot if listeners lack it and it is urgent, or due says that it is time. It returns the
// last snapshot that was sent.
func (s *Server) sendFleet(sent *fleet.Snapshot, due bool) *fleet.Snapshot {
	snap := s.cfg.Fleet.Snapshot()
	urgent := sent == nil || snap.Gen != sent.Gen
	if snap == sent || !urgent && !due || !s.hub.busy() {
		return sent
	}
	s.hub.setFleet(frame("fleet", s.fleetView(snap)))
	return snap
}

// events streams server-sent events: first "hello" and "fleet", then what happens, as far as it is the sender's: a key with
// limits gets no "fleet". After "resync" the client must
// fetch what it shows anew, because it was too slow and events were lost.
func (s *Server) events(c *gin.Context) {
	ctx := c.Request.Context()
	id, _ := keys.FromContext(ctx)
	l := s.hub.join(id.Whole(), id.Under)
	if l == nil {
		c.Header("Retry-After", "10")
		fail(c, http.StatusServiceUnavailable, "busy", "Too many pages listen for live events, or the server is stopping. Try again later, or poll.")
		return
	}
	defer s.hub.leave(l)
	h := c.Writer.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // a proxy in between must not collect events
	out := newEventWriter(c, s)
	out.write([]byte("retry: 2000\n\n"))
	out.write(frame("hello", gin.H{"version": s.cfg.Version}))
	s.writeFleet(l, out)
	s.pump(c.Request.Context(), l, out)
	out.release()
}

// writeFleet writes the fleet as it is now, to who may see it.
func (s *Server) writeFleet(l *listener, out *eventWriter) {
	if l.whole {
		out.write(frame("fleet", s.fleetView(s.cfg.Fleet.Snapshot())))
	}
}

// pump writes what is queued for l until the client is gone or its key is no longer good, the hub is closed or streamFor is over.
func (s *Server) pump(ctx context.Context, l *listener, out *eventWriter) {
	beat := s.cfg.Clock.NewTicker(heartbeat)
	defer beat.Stop()
	end := s.cfg.Clock.NewTimer(streamFor)
	defer end.Stop()
	look := s.cfg.Clock.NewTicker(keyEvery)
	defer look.Stop()
	for out.err == nil && keys.Holds(ctx) == nil {
		select {
		case <-look.C():
		case <-ctx.Done():
			return
		case <-s.hub.done:
			return
		case <-end.C():
			return
		case <-l.lost:
			dropQueued(l)
			out.write(frame("resync", gin.H{}))
			s.writeFleet(l, out)
		case f := <-l.frames:
			out.write(f)
		case <-l.fleet:
			out.write(s.hub.fleetFrame())
		case <-beat.C():
			out.write([]byte(":\n\n"))
		}
	}
}

// dropQueued empties the queue: everything in it is older than the resync that follows.
func dropQueued(l *listener) {
	for {
		select {
		case <-l.frames:
		default:
			return
		}
	}
}

// eventWriter writes and flushes events, each within writeTimeout. After the first error it does nothing.
type eventWriter struct {
	w   http.ResponseWriter
	ctl *http.ResponseController
	s   *Server
	err error
}

func newEventWriter(c *gin.Context, s *Server) *eventWriter {
	return &eventWriter{w: c.Writer, ctl: http.NewResponseController(c.Writer), s: s}
}

func (o *eventWriter) write(b []byte) {
	if o.err != nil {
		return
	}
	// A server without deadlines (a test's recorder) still streams; the error is of no use to anyone.
	_ = o.ctl.SetWriteDeadline(o.s.cfg.Clock.Now().Add(writeTimeout))
	if _, o.err = o.w.Write(b); o.err == nil {
		o.err = o.ctl.Flush()
	}
}

// release takes the deadline off the connection, which may serve further requests.
func (o *eventWriter) release() { _ = o.ctl.SetWriteDeadline(time.Time{}) }
