package edge

import (
	"bytes"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"perigee/edge/accesslog"
	"perigee/edge/cache"
	"perigee/edge/lane"
	"perigee/object"
)

// copyBelow is the size up to which a body is copied into the loop's output, where the answers of several pipelined requests
// leave in one write; a larger one is sent from where it lies in memory. In bytes.
const copyBelow = 16 << 10

// onLane is a Server as the lane's handler.
type onLane struct{ *Server }

// Hot implements lane.Handler: the steps in one, for what memory has. It runs on a loop, does not block and, for an answer with 200 or 304,
// does not allocate. It says the same as the steps would, by the same evaluate and the same fields; what it
// has no answer for goes through them.
func (s onLane) Hot(r *lane.Request, w *lane.Reply) bool {
	if s.memory == nil || r.Minor == 0 { // HTTP/1.0 wants another status line
		return false
	}
	host, err := object.ParseHost(view(r.Host))
	if err != nil {
		return false
	}
	site, err := s.engine.Site(host)
	if err != nil || site.Kind == object.Pull || s.rules.of(site).PerOrigin() {
		return false
	}
	path := r.Target
	if i := bytes.IndexByte(path, '?'); i >= 0 {
		path = path[:i] // published sites and bucket sites ignore the query
	}
	p, ok := s.memory.Prepared(site, path)
	if !ok {
		return s.near(r, w, site, path)
	}
	f, ok := decodeFileFields(p.Head(), site)
	st := s.moments.at(s.Server, r.Received)
	if !ok || st == nil {
		p.Release()
		return false
	}
	body := p.Body()
	c := conditionsOf(r)
	v := evaluate(&c, representation{view(f.etag()), f.modified, int64(len(body)), site.Kind == object.Bucket}, r.Method == lane.GET)
	sent := int64(0)
	switch {
	case v.status != http.StatusOK && v.status != http.StatusPartialContent:
		body = nil
	case r.Method == lane.GET:
		body = body[v.rng.Start : v.rng.Start+v.rng.Length]
		sent = v.rng.Length
	default:
		body = nil
	}
	s.reply(r, w, st, &f, v, int64(len(p.Body())), body, p)
	s.tally.quick(r.Loop, v.status, sent)
	if s.access != nil {
		s.logQuick(r, v.status, sent)
	}
	return true
}

// view is b as a string, without copying. It must not be kept longer than b stays as it is.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func conditionsOf(r *lane.Request) conditions {
	return conditions{
		ifMatch: view(r.IfMatch), ifNoneMatch: view(r.IfNoneMatch), ifModifiedSince: view(r.IfModifiedSince),
		ifUnmodifiedSince: view(r.IfUnmodifiedSince), ifRange: view(r.IfRange), rng: view(r.Range),
	}
}

// reply writes the answer. p is released when its bytes have been copied or sent.
func (s *Server) reply(r *lane.Request, w *lane.Reply, st *moment, f *fileFields, v verdict, size int64, body []byte, p preparedAnswer) {
	begin := st.begins[quickIndex(v.status)]
	end := emptyLine
	if r.Close {
		end = closingLine
	}
	if v.status == http.StatusOK && len(body) <= copyBelow {
		w.Append(begin, f.lines, end, body)
		p.Release()
		return
	}
	var room [1024]byte
	head := append(fields(room[:0]), begin...)
	head = append(f.appendTo(head, v, size), end...)
	if len(body) <= copyBelow {
		w.Append(head, body)
		p.Release()
		return
	}
	k := pins.Get().(*pin)
	k.answer = p
	w.Send(head, body, k)
}

// pin is a preparedAnswer as the lane holds it while it sends.
type pin struct{ answer preparedAnswer }

var pins = sync.Pool{New: func() any { return new(pin) }}

// Release implements lane.Pin.
func (k *pin) Release() {
	k.answer.Release()
	k.answer = preparedAnswer{}
	pins.Put(k)
}

var (
	emptyLine   = []byte("\r\n")
	closingLine = []byte("Connection: close\r\n\r\n")
)

// moment is what heads say of the time, for answers from memory: the same for all of one second and one lease.
type moment struct {
	second    int64                    // Unix
	ago, left int64                    // seconds
	begins    [len(quickStatus)]fields // status line, Date, Server, Age, Cache-Status, by quickIndex
}

// moments keeps the latest moment. Loops may make one at once; each is right.
type moments struct{ latest atomic.Pointer[moment] }

// at returns the moment that now belongs to, or nil if there is no lease to answer under.
func (m *moments) at(s *Server, now time.Time) *moment {
	ago, left := s.memory.Lease()
	if left <= 0 {
		return nil
	}
	second, agoSec, leftSec := now.Unix(), int64(ago/time.Second), int64(left/time.Second)
	if l := m.latest.Load(); l != nil && l.second == second && l.ago == agoSec && l.left == leftSec {
		return l
	}
	l := &moment{second: second, ago: agoSec, left: leftSec}
	for i, status := range quickStatus {
		b := statusLine(make(fields, 0, 256), 1, status, now).add("Server", serverName)
		l.begins[i] = b.hit(s.node, ago, left, string(cache.ReasonRAM))
	}
	m.latest.Store(l)
	return l
}

// statusLine appends the status line (RFC 9112 §4) and Date.
func statusLine(b fields, minor, status int, now time.Time) fields {
	b = append(b, "HTTP/1."...)
	b = append(b, byte('0'+minor), ' ')
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	b = append(b, http.StatusText(status)...)
	b = append(b, "\r\nDate: "...)
	b = now.UTC().AppendFormat(b, http.TimeFormat)
	return append(b, "\r\n"...)
}

// logQuick writes the line of an answer from memory.
func (s *Server) logQuick(r *lane.Request, status int, sent int64) {
	var room [64]byte
	client := r.Remote.AppendTo(room[:0])
	e := accesslog.Entry{
		Time: r.Received, Duration: s.clock.Now().Sub(r.Received), Client: view(client), Method: r.Method.String(), Host: view(r.Host), Target: view(r.Target),
		Minor: int(r.Minor), Status: status, Bytes: sent, Reason: string(cache.ReasonRAM), Referer: view(r.Referer), Agent: view(r.UserAgent),
	}
	s.access.Add(r.Loop, &e)
}
