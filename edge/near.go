package edge

import (
	"context"
	"net/http"
	"sync"

	"perigee/edge/cache"
	"perigee/edge/lane"
	"perigee/object"
)

// near answers with a small file that memory has not prepared, if nothing has to be waited for: the steps on the loop itself. What it does not answer goes through
// them on a goroutine.
func (s onLane) near(r *lane.Request, w *lane.Reply, site *object.SiteRecord, raw []byte) bool {
	path, err := object.ParseRequestPath(string(raw))
	if err != nil {
		return false
	}
	n, ok := s.memory.Near(site, path)
	if !ok {
		return false
	}
	out := &replyResponder{s: s.Server, r: r, w: w}
	x := &exchange{s: s.Server, out: out, ctx: context.Background(), began: r.Received, slot: r.Loop, site: site, path: path, pointer: n.Pointer}
	x.req = request{
		method: r.Method.String(), host: view(r.Host), target: view(r.Target), path: string(raw), minor: int(r.Minor), client: r.Remote.String(),
		referer: view(r.Referer), agent: view(r.UserAgent), conditions: conditionsOf(r),
	}
	if x.ruled() {
		n.Release()
		w.Append(out.head)
		s.account(x)
		return true
	}
	x.outcome = cache.Outcome{Reason: cache.ReasonDisk}
	get := r.Method == lane.GET
	x.verdict = evaluate(&x.req.conditions, representationOf(n.Pointer), get)
	f := x.fileFieldsOf()
	body := n.Body
	if x.status == http.StatusOK && get {
		x.keepPrepared(body, &f)
	}
	if x.status == http.StatusOK || x.status == http.StatusPartialContent {
		body = body[x.rng.Start : x.rng.Start+x.rng.Length]
	}
	if !get || x.status != http.StatusOK && x.status != http.StatusPartialContent {
		body = nil
	}
	x.begin(&f)
	out.send(body, n)
	x.sent = int64(len(body))
	s.account(x)
	return true
}

// replyResponder answers through a Reply of the lane. Nothing is written to it: it has the whole body at the end.
type replyResponder struct {
	s    *Server
	r    *lane.Request
	w    *lane.Reply
	head fields
}

func (o *replyResponder) begin(status int, f fields) {
	b := statusLine(make(fields, 0, len(f)+128), int(o.r.Minor), status, o.r.Received)
	b = append(b, f...)
	if o.r.Close {
		o.head = append(b, closingLine...)
		return
	}
	o.head = append(b, emptyLine...)
}

// send sends head and body; n is released when its bytes have been copied or sent.
func (o *replyResponder) send(body []byte, n cache.Near) {
	if len(body) <= copyBelow {
		o.w.Append(o.head, body)
		n.Release()
		return
	}
	k := nearPins.Get().(*nearPin)
	k.near = n
	o.w.Send(o.head, body, k)
}

// Write implements responder; nobody calls it.
func (o *replyResponder) Write(b []byte) (int, error) { return len(b), nil }

func (o *replyResponder) end() {}

func (o *replyResponder) abort() {}

// nearPin is a cache.Near as the lane holds it while it sends.
type nearPin struct{ near cache.Near }

var nearPins = sync.Pool{New: func() any { return new(nearPin) }}

// Release implements lane.Pin.
func (k *nearPin) Release() {
	k.near.Release()
	k.near = cache.Near{}
	nearPins.Put(k)
}
