package web

import (
	"bufio"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"strings"
	"testing"
	"time"

	"perigee/fleet"
	"perigee/object"
	"perigee/purge"
)

// stream is a listener of GET /api/v1/events.
type stream struct {
	t    *testing.T
	r    *bufio.Scanner
	body interface{ Close() error }
}

func (w *world) listen() *stream {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), "GET", w.url+"/api/v1/events", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	if ct := res.Header.Get("Content-Type"); res.StatusCode != 200 || ct != "text/event-stream" {
		w.t.Fatalf("events = %d %s", res.StatusCode, ct)
	}
	s := &stream{w.t, bufio.NewScanner(res.Body), res.Body}
	s.r.Buffer(nil, 1<<20)
	w.t.Cleanup(func() { res.Body.Close() })
	return s
}

// next returns the next event of one of the names, skipping others.
func (s *stream) next(names ...string) (name, data string) {
	s.t.Helper()
	for s.r.Scan() {
		line := s.r.Text()
		if n, ok := strings.CutPrefix(line, "event: "); ok {
			name = n
		}
		if d, ok := strings.CutPrefix(line, "data: "); ok {
			for _, n := range names {
				if n == name {
					return name, d
				}
			}
		}
	}
	s.t.Fatalf("the stream ended before any of %v: %v", names, s.r.Err())
	return "", ""
}

func TestEventsTellWhatHappens(t *testing.T) {
	w, _ := newWorld(t, false)
	w.report("fra", nil)
	w.report("sin", nil)
	s := w.listen()
	if _, data := s.next("hello"); !strings.Contains(data, `"version":"1.2.3"`) {
		t.Errorf("hello %s", data)
	}
	if _, data := s.next("fleet"); !strings.Contains(data, `"node":"fra"`) {
		t.Errorf("fleet %s", data)
	}

	w.slowEdge = "sin"
	f := w.publish("/a.txt", []byte("hello"), "text/plain", "")
	_, data := s.next("publish")
	var c change
	if err := json.Unmarshal([]byte(data), &c); err != nil || c.Path != "/a.txt" || c.Version != f.version || c.SHA256 != f.hash || c.Size != 5 || c.Position.IsZero() {
		t.Errorf("publish %s, %v", data, err)
	}
	var p Proof
	if _, data := s.next("proof"); json.Unmarshal([]byte(data), &p) != nil || p.ID != c.ID || p.Effective || p.Applied != 1 {
		t.Errorf("first proof %s", data)
	}
	w.report("sin", func(r *fleet.Report) { r.Position = c.Position })
	if _, data := s.next("proof"); json.Unmarshal([]byte(data), &p) != nil || p.ID != c.ID || !p.Effective || p.Applied != 2 {
		t.Errorf("second proof %s", data)
	}

	w.report("fra", func(r *fleet.Report) { r.State = fleet.Draining })
	for {
		if _, data := s.next("fleet"); strings.Contains(data, `"state":"draining"`) {
			break
		}
	}
	w.do("DELETE", "/api/v1/sites/www/files/a.txt", "")
	if _, data := s.next("delete"); !strings.Contains(data, `"path":"/a.txt"`) || strings.Contains(data, "sha256") {
		t.Errorf("delete %s", data)
	}
	w.entry(purge.Entry{Kind: purge.KindTag, Site: testSite, Tag: "news", Soft: true})
	if _, data := s.next("purge"); !strings.Contains(data, `"tag":"news","soft":true`) {
		t.Errorf("purge %s", data)
	}
	w.entry(purge.Entry{Kind: purge.KindRules, Site: testSite, Record: &object.SiteRecord{Site: testSite}})
	s.next("site")
}

// TestLoadAloneIsSentWithinTwoSeconds: figures move without a change of what steering reads.
func TestLoadAloneIsSent(t *testing.T) {
	w, _ := newWorld(t, false)
	w.report("fra", nil)
	s := w.listen()
	s.next("fleet")
	w.report("fra", func(r *fleet.Report) { r.Load.Requests = 77 })
	for {
		if _, data := s.next("fleet"); strings.Contains(data, `"rps":77`) {
			return
		}
	}
}

func TestSlowListenerLosesEventsAndLearnsOfIt(t *testing.T) {
	h := newHub()
	l, quick := h.join(true, everything), h.join(true, everything)
	for i := range 3 * queueLen {
		h.changed(purge.Record{Entry: purge.Entry{ID: "x", Kind: purge.KindSite, Site: testSite}}, time.Time{})
		if i < queueLen {
			<-quick.frames
		}
		h.setFleet([]byte("fleet"))
	}
	if len(l.frames) != queueLen || len(l.lost) != 1 || len(l.fleet) != 1 {
		t.Errorf("slow listener: %d frames, %d lost, %d fleet", len(l.frames), len(l.lost), len(l.fleet))
	}
	dropQueued(l)
	if len(l.frames) != 0 {
		t.Error("frames older than the resync are left")
	}
}

// TestResync: a client that does not read gets, when it reads again, a resync and the fleet, not a gap.
func TestResync(t *testing.T) {
	w, _ := newWorld(t, false)
	w.report("fra", nil)
	s := w.listen()
	s.next("fleet")
	long := object.Path("/" + strings.Repeat("x", 200))
	done := make(chan struct{})
	go func() { // until the kernel's buffers and the queue are full
		defer close(done)
		for range 60_000 {
			w.server.Changed(purge.Record{Entry: purge.Entry{ID: "none", Kind: purge.KindURL, Site: testSite, Path: long}})
		}
	}()
	<-done
	if name, _ := s.next("resync"); name != "resync" {
		t.Error("no resync")
	}
	s.next("fleet")
}

func TestListenersAreBounded(t *testing.T) {
	w, _ := newWorld(t, false)
	var all []*listener
	for l := w.server.hub.join(true, everything); l != nil; l = w.server.hub.join(true, everything) {
		all = append(all, l)
	}
	if len(all) != maxListeners {
		t.Errorf("%d listeners", len(all))
	}
	status, h, body := w.do("GET", "/api/v1/events", "")
	if status != 503 || h.Get("Retry-After") == "" {
		t.Errorf("one listener too many = %d %v", status, h)
	}
	checkProblem(t, "too many", status, h, body)
	w.server.hub.leave(all[0])
	w.listen().next("hello")
}

// TestRunEndsStreams: after Run no listener is left waiting, and none can come.
func TestRunEndsStreams(t *testing.T) {
	w, _ := newWorld(t, false)
	s := w.listen()
	s.next("hello")
	w.server.hub.close()
	for s.r.Scan() {
	}
	if err := s.r.Err(); err != nil {
		t.Errorf("the stream broke instead of ending: %v", err)
	}
	if status, _, _ := w.do("GET", "/api/v1/events", ""); status != 503 {
		t.Errorf("a listener after the end = %d", status)
	}
}

func TestProve(t *testing.T) {
	start := time.Unix(1000, 0)
	entry := func(id string) purge.Record {
		return purge.Record{Entry: purge.Entry{ID: id, Kind: purge.KindSite, Site: testSite}}
	}
	proof := func(applied, total int) func(string) (Proof, error) {
		return func(id string) (Proof, error) {
			return Proof{ID: id, Applied: applied, Total: total, Effective: applied == total}, nil
		}
	}
	unknown := func(string) (Proof, error) { return Proof{}, fs.ErrNotExist }
	failing := func(string) (Proof, error) { return Proof{}, errors.New("no") }
	type step struct {
		ask   func(string) (Proof, error)
		after time.Duration
		sent  int // events "proof"
		left  int // watched afterwards
	}
	for name, steps := range map[string][]step{
		"at once":             {{proof(2, 2), 0, 1, 0}},
		"one by one":          {{proof(0, 2), 0, 0, 1}, {proof(1, 2), 1, 1, 1}, {proof(1, 2), 2, 0, 1}, {proof(2, 2), 3, 1, 0}},
		"not yet known":       {{unknown, 0, 0, 1}, {proof(2, 2), 1, 1, 0}},
		"failing":             {{failing, 0, 0, 0}},
		"given up":            {{proof(1, 2), 0, 1, 1}, {proof(1, 2), proofWindow, 0, 0}},
		"late but in the end": {{proof(1, 2), 0, 1, 1}, {proof(2, 2), proofWindow, 1, 0}},
	} {
		h := newHub()
		l := h.join(true, everything)
		h.changed(entry("a"), start)
		<-l.frames // the change itself
		for i, s := range steps {
			h.prove(s.ask, start.Add(s.after))
			if len(l.frames) != s.sent || len(h.pending) != s.left {
				t.Errorf("%s, step %d: %d proofs sent and %d changes watched, want %d and %d", name, i, len(l.frames), len(h.pending), s.sent, s.left)
			}
			dropQueued(l)
		}
	}
	h := newHub()
	h.join(true, everything)
	for range 3 * maxPending {
		h.changed(entry("a"), start)
	}
	if len(h.pending) != maxPending {
		t.Errorf("%d changes are watched", len(h.pending))
	}
}

// everything is what a listener without limits sees.
func everything(object.Site, string) bool { return true }
