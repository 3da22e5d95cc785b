package web

import (
	"encoding/json"
	"errors"
	"io/fs"
	"sync"
	"time"

	"perigee/object"
	"perigee/purge"
)

// The bounds of what listeners can cost.
const (
	maxListeners = 256
	// queueLen is how many events a listener may be behind before it loses them and is told to resync.
	queueLen = 64
	// maxPending is how many recent changes are watched for their proof; older ones are asked for by id.
	maxPending = 256
	// proofWindow is how long a change is watched for its proof.
	proofWindow = 30 * time.Second
)

// hub hands events to listeners. Nothing in it blocks: a full queue is a lost event, and the listener learns of it.
type hub struct {
	done chan struct{} // closed when no event will come any more
	// kick gets a value when a change was added, so that its proof is looked for.
	kick chan struct{}

	mu        sync.Mutex
	closed    bool
	listeners map[*listener]struct{}
	fleet     []byte         // the newest frame of event "fleet"
	head      purge.Position // of the newest change
	pending   []pendingProof // oldest first
	uploading uploading
}

// listener is the queue of one client. Its owner receives, the hub sends.
type listener struct {
	frames chan []byte
	fleet  chan struct{} // a newer fleet frame is there; several make one
	lost   chan struct{} // frames were dropped; several make one

	whole bool                                     // it may see the fleet
	sees  func(site object.Site, path string) bool // and changes that concern this; "" is the whole site
}

// pendingProof is a change that is not yet effective everywhere.
type pendingProof struct {
	id      string
	since   time.Time
	applied int // as last told to listeners

	site object.Site // what it concerns
	path string
}

func newHub() *hub {
	return &hub{done: make(chan struct{}), kick: make(chan struct{}, 1), listeners: map[*listener]struct{}{}, uploading: uploading{now: map[string]UploadProgress{}}}
}

// frame encodes one server-sent event. JSON has no raw line break, so one data line is enough.
func frame(event string, data any) []byte {
	b, err := json.Marshal(data)
	if err != nil {
		panic("web: an event always marshals: " + err.Error())
	}
	out := make([]byte, 0, len(event)+len(b)+18)
	out = append(append(out, "event: "...), event...)
	out = append(append(out, "\ndata: "...), b...)
	return append(out, "\n\n"...)
}

// join adds a listener that may see the fleet, or only changes; nil when there are too many or the hub is closed.
func (h *hub) join(whole bool, sees func(site object.Site, path string) bool) *listener {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || len(h.listeners) >= maxListeners {
		return nil
	}
	l := &listener{frames: make(chan []byte, queueLen), fleet: make(chan struct{}, 1), lost: make(chan struct{}, 1), whole: whole, sees: sees}
	h.listeners[l] = struct{}{}
	h.uploading.changed = h.uploading.changed || len(h.uploading.now) > 0 // the newcomer has not heard
	return l
}

func (h *hub) leave(l *listener) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.listeners, l)
}

// close ends the hub: listeners are told through done.
func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.closed = true
		close(h.done)
	}
}

func (h *hub) busy() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.listeners) > 0
}

// broadcast queues f, which concerns a path of a site, for every listener that may see it; h.mu is held.
func (h *hub) broadcast(f []byte, site object.Site, path string) {
	for l := range h.listeners {
		if l.sees(site, path) {
			l.queue(f)
		}
	}
}

// queue gives l a frame, or tells it that it has lost one. It does not block.
func (l *listener) queue(f []byte) {
	select {
	case l.frames <- f:
	default:
		signal(l.lost)
	}
}

// signal puts a value into a channel of capacity one that may already hold one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// setFleet replaces the fleet frame. A listener that has not sent the last one yet sends only this one.
func (h *hub) setFleet(f []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fleet = f
	for l := range h.listeners {
		if l.whole {
			signal(l.fleet)
		}
	}
}

func (h *hub) fleetFrame() []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.fleet
}

func (h *hub) headPosition() purge.Position {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.head
}

// change is the data of the events "publish", "delete", "purge" and "site".
type change struct {
	ID          string         `json:"id"`
	Kind        purge.Kind     `json:"kind"`
	Site        object.Site    `json:"site"`
	Path        object.Path    `json:"path,omitempty"`
	Prefix      object.Prefix  `json:"prefix,omitempty"`
	Tag         object.Tag     `json:"tag,omitempty"`
	Soft        bool           `json:"soft,omitempty"`
	Version     object.Version `json:"version,omitempty"`
	SHA256      object.Hash    `json:"sha256,omitzero"`
	Size        int64          `json:"size,omitempty"`
	ContentType string         `json:"content_type,omitempty"`
	Position    purge.Position `json:"position"`
	At          time.Time      `json:"at"`
}

func changeOf(r purge.Record) (event string, c change) {
	c = change{ID: r.ID, Kind: r.Kind, Site: r.Site, Path: r.Path, Prefix: r.Prefix, Tag: r.Tag, Soft: r.Soft, Position: r.Position, At: r.At}
	switch {
	case r.Kind == purge.KindRules:
		return "site", c
	case r.Kind != purge.KindPointer || r.Pointer == nil:
		return "purge", c
	}
	p := r.Pointer
	c.Path, c.Version = p.Path, p.Version
	if p.State == object.Gone {
		return "delete", c
	}
	c.SHA256, c.Size, c.ContentType = p.Hash, p.Size, p.ContentType
	return "publish", c
}

// changed tells listeners of a change and begins to watch for its proof.
func (h *hub) changed(r purge.Record, now time.Time) {
	event, c := changeOf(r)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.head = later(h.head, r.Position)
	if len(h.listeners) == 0 {
		return
	}
	path := string(c.Path) + string(c.Prefix) // it has one of the two, or neither
	h.broadcast(frame(event, c), c.Site, path)
	if len(h.pending) == maxPending {
		h.pending = h.pending[1:]
	}
	h.pending = append(h.pending, pendingProof{id: r.ID, since: now, site: c.Site, path: path})
	signal(h.kick)
}

// prove tells listeners which of the watched changes got further. ask is Purges.Proof.
func (h *hub) prove(ask func(id string) (Proof, error), now time.Time) {
	h.mu.Lock()
	watched := h.pending
	h.pending = nil // so that ask, which may take locks of its own, runs without ours
	h.mu.Unlock()

	var keep []pendingProof
	type told struct {
		pendingProof
		frame []byte
	}
	var frames []told
	for _, w := range watched {
		p, err := ask(w.id)
		if err == nil && p.Applied > w.applied {
			frames = append(frames, told{w, frame("proof", p)})
			w.applied = p.Applied
		}
		known := err == nil || errors.Is(err, fs.ErrNotExist) // not yet known is no reason to give up
		if known && !p.Effective && now.Sub(w.since) < proofWindow {
			keep = append(keep, w)
		}
	}

	h.mu.Lock()
	defer h.mu.Unlock()
	h.pending = append(keep, h.pending...)
	h.pending = h.pending[max(0, len(h.pending)-maxPending):]
	for _, f := range frames {
		h.broadcast(f.frame, f.site, f.path)
	}
}
