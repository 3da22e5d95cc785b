package judge

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
)

// epoch is second 0 of all histories.
var epoch = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func at(sec int) time.Time { return epoch.Add(time.Duration(sec) * time.Second) }

// on is the IMF-fixdate of a second.
func on(sec int) string { return imf(at(sec)) }

// lines makes a header of "Name: value" strings.
func lines(fields []string) http.Header {
	h := http.Header{}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		h.Add(name, value)
	}
	return h
}

// ask is a request for /a.
func ask(sec int, method string, fields ...string) Request {
	return Request{At: at(sec), Method: method, Target: "/a", Header: lines(fields)}
}

func get(sec int, fields ...string) Request { return ask(sec, "GET", fields...) }

// to moves a request to another target.
func to(target string, q Request) Request {
	q.Target = target
	return q
}

// say is a response whose Date is second sec.
func say(sec, status int, id, body string, fields ...string) Response {
	r := Response{At: at(sec), Status: status, Header: lines(fields), Body: body}
	if r.Header.Get("Date") == "" {
		r.Header.Set("Date", on(sec))
	}
	r.Header.Set(ID, id)
	return r
}

// with is a response with some fields set anew; "-Name" deletes one.
func with(r Response, fields ...string) Response {
	r.Header = r.Header.Clone()
	for _, f := range fields {
		if name, gone := strings.CutPrefix(f, "-"); gone {
			r.Header.Del(name)
			continue
		}
		name, value, _ := strings.Cut(f, ": ")
		r.Header.Set(name, value)
	}
	return r
}

// aged is a stored response as a client gets it at a second.
func aged(r Response, sec, age int, fields ...string) Response {
	r = with(r, append([]string{fmt.Sprint("Age: ", age)}, fields...)...)
	r.At = at(sec)
	return r
}

// as gives a response another status and body.
func as(r Response, status int, body string) Response {
	r.Status, r.Body = status, body
	return r
}

// miss is an exchange in which the origin answers the client.
func miss(q Request, a Response) Exchange { return via(q, q, a, a) }

// hit is an exchange without the origin.
func hit(q Request, got Response) Exchange {
	got.At = q.At
	return Exchange{Client: q, Got: got}
}

// via is an exchange in which the origin sees seen and says said, and the client gets got.
func via(q, seen Request, said, got Response) Exchange {
	seen.At, said.At, got.At = q.At, q.At, q.At
	return Exchange{Client: q, Got: got, Origin: []Forwarded{{seen, said}}}
}

// background is a revalidation that nobody waits for.
func background(seen Request, said Response) Exchange {
	x := via(seen, seen, said, said)
	x.Client, x.Got = Request{}, Response{}
	return x
}

var lost = Response{Failed: true}

// own is an answer that the cache made up.
func own(status int) Response { return Response{Status: status, Header: http.Header{"Date": {on(0)}}} }

// history is a case: all exchanges but the last one must be faultless; the last one must have the one fault that want says.
type history struct {
	name string // of a wrong one: section and rule
	want error  // nil, or a Violation, Lapse or Missed
	xs   []Exchange
}

// run checks a history and describes what differs from what it wants.
func (h history) run(t *testing.T) {
	c := New()
	for i, x := range h.xs {
		errs := c.Check(x)
		if i < len(h.xs)-1 || h.want == nil {
			for _, err := range errs {
				t.Errorf("exchange %d: %T %v", i, err, err)
			}
			continue
		}
		if len(errs) != 1 || kind(errs[0]) != kind(h.want) {
			t.Fatalf("want one %s, got %d: %v", kind(h.want), len(errs), errs)
		}
		if !strings.HasPrefix(errs[0].Error(), strings.SplitN(h.name, ":", 2)[0]+":") {
			t.Errorf("want a breach of %s, got %v", h.name, errs[0])
		}
	}
}

// kind is Violation, Lapse or Missed.
func kind(err error) string { return reflect.TypeOf(err).Name() }

func runAll(t *testing.T, all []history) {
	seen := map[string]bool{}
	for _, h := range all {
		if seen[h.name] {
			t.Errorf("%q is there twice", h.name)
		}
		seen[h.name] = true
		t.Run(h.name, h.run)
	}
}

// page is a response that may be stored for a minute, with both validators.
var page = say(0, 200, "1", "hello world", "Cache-Control: max-age=60", `Etag: "a"`, "Last-Modified: "+on(-1000), "Content-Type: text/plain")

// ruled is page with other directives.
func ruled(directives string) Response { return with(page, "Cache-Control: "+directives) }

// renewed is what page becomes by the 304 with X-Id 2 at a second.
func renewed(sec int, fields ...string) (said, merged Response) {
	said = say(sec, 304, "2", "", append([]string{`Etag: "a"`}, fields...)...)
	merged = with(page, append([]string{"X-Id: 2", "Date: " + on(sec)}, fields...)...)
	return said, merged
}

func TestAcceptsWhatIsRight(t *testing.T) {
	said, merged := renewed(100)
	saidLonger, longer := renewed(100, "Cache-Control: max-age=1000")
	weak := with(page, `Etag: W/"a"`)
	part := with(as(page, 206, "hello"), "Content-Range: bytes 0-4/11")
	rest := with(as(say(5, 206, "2", " world", "Cache-Control: max-age=60", `Etag: "a"`), 206, " world"), "Content-Range: bytes 5-10/11")
	head := say(5, 200, "2", "", "Cache-Control: max-age=600", `Etag: "a"`, "Content-Length: 11")
	posted := with(page, "Content-Location: /a")
	long := ruled("max-age=600")
	forgiving := ruled("max-age=60, stale-if-error=600")
	weakLong := with(long, `Etag: W/"a"`)
	ended := say(2, 304, "3", "", `Etag: W/"a"`, "Cache-Control: max-age=0")
	tagged := say(100, 304, "2", "", `Etag: W/"n"`, "Last-Modified: "+on(-1000))
	runAll(t, []history{
		{"passed on and reused", nil, []Exchange{miss(get(0), page), hit(get(10), aged(page, 10, 10))}},
		{"reused to the last second", nil, []Exchange{miss(get(0), page), hit(get(59), aged(page, 59, 59))}},
		{"Age that is no number is ignored", nil, []Exchange{miss(get(0), with(page, "Age: x")), hit(get(5), aged(page, 5, 5))}},
		{"Age of the origin counts and goes on", nil, []Exchange{miss(get(0), with(page, "Age: 30")), hit(get(29), aged(page, 29, 59))}},
		{"a date that is not now makes it older", nil, []Exchange{miss(get(40), page), hit(get(50), aged(page, 50, 50))}},
		{"HEAD from a stored GET", nil, []Exchange{miss(get(0), page),
			hit(ask(5, "HEAD"), as(aged(page, 5, 5, "Content-Length: 11"), 200, ""))}},
		{"304 from store by entity-tag", nil, []Exchange{miss(get(0), page), hit(get(5, `If-None-Match: W/"a", "b"`),
			as(aged(page, 5, 5), 304, ""))}},
		{"304 from store without X-Id", nil, []Exchange{miss(get(0), page), hit(get(5, `If-None-Match: *`),
			as(aged(page, 5, 5, "-X-Id", "-Content-Type"), 304, ""))}},
		{"304 from store by date", nil, []Exchange{miss(get(0), page), hit(get(5, "If-Modified-Since: "+on(-1000)), as(aged(page, 5, 5), 304, ""))}},
		{"304 from store by a later date", nil, []Exchange{miss(get(0), page), hit(get(5, "If-Modified-Since: "+on(-500)), as(aged(page, 5, 5), 304, ""))}},
		{"304 by Date without Last-Modified", nil, []Exchange{miss(get(0), with(page, "-Last-Modified")),
			hit(get(5, "If-Modified-Since: "+on(0)), as(aged(with(page, "-Last-Modified"), 5, 5), 304, ""))}},
		{"304 of the origin to the client's own validator", nil, []Exchange{miss(get(0, `If-None-Match: "z"`), say(0, 304, "1", "", `Etag: "z"`))}},
		{"range from store", nil, []Exchange{miss(get(0), page), hit(get(5, "Range: bytes=-5", `If-Range: "a"`),
			as(aged(page, 5, 5, "Content-Range: bytes 6-10/11", "Content-Length: 5"), 206, "world"))}},
		{"range cut out of a fresh answer", nil, []Exchange{via(get(0, "Range: bytes=0-4"), get(0), page, part)}},
		{"several ranges", nil, []Exchange{miss(get(0), page), hit(get(5, "Range: bytes=0-1,9-10"),
			as(aged(page, 5, 5, "Content-Type: multipart/byteranges; boundary=B"), 206, "--B\r\nContent-Type: text/plain\r\n"+
				"Content-Range: bytes 0-1/11\r\n\r\nhe\r\n--B\r\nContent-Range: bytes 9-10/11\r\n\r\nld\r\n--B--\r\n"))}},
		{"range ignored", nil, []Exchange{miss(get(0), page), hit(get(5, "Range: bytes=0-4"), aged(page, 5, 5))}},
		{"range after the end", nil, []Exchange{miss(get(0), page), hit(get(5, "Range: bytes=11-"),
			as(Response{Header: lines([]string{"Content-Range: bytes */11"})}, 416, ""))}},
		{"parts with one validator make a whole", nil, []Exchange{miss(get(0, "Range: bytes=0-4"), part), miss(get(5, "Range: bytes=5-"), rest),
			hit(get(6), as(aged(rest, 6, 1), 200, "hello world"))}},
		{"validated", nil, []Exchange{miss(get(0), page), via(get(100), get(100, `If-None-Match: "a"`), said, merged)}},
		{"reused as updated", nil, []Exchange{miss(get(0), page), via(get(100), get(100, `If-None-Match: "a"`), saidLonger, longer),
			hit(get(1000), aged(longer, 1000, 900))}},
		{"no-cache after validation", nil, []Exchange{miss(get(0), ruled("no-cache")), via(get(100), get(100, `If-None-Match: "a"`), said,
			with(merged, "Cache-Control: no-cache"))}},
		{"validated in the background", nil, []Exchange{miss(get(0), ruled("max-age=60, stale-while-revalidate=60")),
			hit(get(100), aged(ruled("max-age=60, stale-while-revalidate=60"), 100, 100)), background(get(100, `If-None-Match: "a"`), saidLonger),
			hit(get(200), aged(longer, 200, 100))}},
		{"validated by a weak entity-tag", nil, []Exchange{miss(get(0), weak), via(get(100), get(100, `If-None-Match: W/"a"`),
			with(said, `Etag: W/"a"`), with(merged, `Etag: W/"a"`))}},
		{"validated by date", nil, []Exchange{miss(get(0), with(page, "-Etag")), via(get(100), get(100, "If-Modified-Since: "+on(-1000)),
			with(said, "-Etag", "Last-Modified: "+on(-1000)), with(merged, "-Etag"))}},
		{"an entity-tag that a 304 brings", nil, []Exchange{miss(get(0), with(page, "-Etag")),
			via(get(100), get(100, "If-Modified-Since: "+on(-1000)), tagged, with(merged, `Etag: W/"n"`))}},
		{"a weak entity-tag is about the latest", nil, []Exchange{miss(get(0), weakLong), miss(get(1, "Pragma: no-cache"), with(weakLong, "X-Id: 2")),
			via(get(2, "Pragma: no-cache"), get(2, `If-None-Match: W/"a"`), ended, with(weakLong, "X-Id: 3", "Date: "+on(2), "Cache-Control: max-age=0")),
			hit(get(3), aged(weakLong, 3, 3))}},
		{"the later answer has the older date", nil, []Exchange{miss(get(0), long), miss(get(5, "Pragma: no-cache"), with(long, "X-Id: 2", "Date: "+on(-10))),
			hit(get(6), aged(long, 6, 6))}},
		{"min-fresh is just met", nil, []Exchange{miss(get(0), page), hit(get(20, "Cache-Control: min-fresh=40"), aged(page, 20, 20))}},
		{"an error excuses from max-age", nil, []Exchange{miss(get(0), forgiving),
			via(get(500, "Cache-Control: max-age=10"), get(500, `If-None-Match: "a"`), lost, aged(forgiving, 500, 500))}},
		{"empty CDN-Cache-Control is ignored", nil, []Exchange{miss(get(0), with(page, "-Last-Modified", "Cdn-Cache-Control: ")),
			hit(get(10), aged(with(page, "-Last-Modified", "Cdn-Cache-Control: "), 10, 10))}},
		{"not updated by an answer to no-store", nil, []Exchange{miss(get(0), long), via(get(100, "Cache-Control: no-store"), get(100, `If-None-Match: "a"`),
			said, with(long, "X-Id: 2", "Date: "+on(100))), hit(get(101), aged(long, 101, 101))}},
		{"a part that the origin chose to send", nil, []Exchange{miss(get(0, "Range: bytes=0-4", "If-Range: "+on(0)), with(part, "Last-Modified: "+on(0)))}},
		{"parts that contradict each other stay apart", nil, []Exchange{miss(get(0, "Range: bytes=0-4"), part),
			miss(get(5, "Range: bytes=0-4"), with(as(part, 206, "HELLO"), "X-Id: 2")), hit(get(6, "Range: bytes=0-4"), aged(part, 6, 6))}},
		{"Content-Type from before a 304", nil, []Exchange{miss(get(0), page), via(get(100), get(100, `If-None-Match: "a"`),
			with(said, "Content-Type: text/html"), merged)}},
		{"Date from before a 304 without one", nil, []Exchange{miss(get(0), page), via(get(100), get(100, `If-None-Match: "a"`),
			with(said, "-Date"), with(merged, "Date: "+on(0)))}},
		{"Age from before a 304 without one", nil, []Exchange{miss(get(0), with(page, "Age: 30")), via(get(100), get(100, `If-None-Match: "a"`),
			said, merged), hit(get(110), aged(merged, 110, 40))}},
		{"updated by HEAD", nil, []Exchange{miss(get(0), page), miss(ask(5, "HEAD", "Pragma: no-cache"), head),
			hit(get(300), aged(with(page, "X-Id: 2", "Date: "+on(5), "Cache-Control: max-age=600"), 300, 295))}},
		{"answer to HEAD reused for HEAD", nil, []Exchange{miss(ask(5, "HEAD"), head), hit(ask(6, "HEAD"), aged(head, 6, 1))}},
		{"stale with max-stale", nil, []Exchange{miss(get(0), page), hit(get(80, "Cache-Control: max-stale=20"), aged(page, 80, 80))}},
		{"stale in a lost network", nil, []Exchange{miss(get(0), page), via(get(500), get(500, `If-None-Match: "a"`), lost, aged(page, 500, 500))}},
		{"stale on a server error", nil, []Exchange{miss(get(0), ruled("max-age=60, stale-if-error=600")),
			via(get(500), get(500), say(500, 503, "2", "no"), aged(ruled("max-age=60, stale-if-error=600"), 500, 500))}},
		{"stale when the validation met an error", nil, []Exchange{miss(get(0), page),
			via(get(500), get(500, `If-None-Match: "a"`), say(500, 503, "2", "no"), aged(page, 500, 500))}},
		{"504 in a lost network", nil, []Exchange{miss(get(0), ruled("max-age=1, must-revalidate")), via(get(500), get(500), lost, own(504))}},
		{"504 to only-if-cached", nil, []Exchange{hit(get(0, "Cache-Control: only-if-cached"), own(504))}},
		{"broken off like the origin", nil, []Exchange{via(get(0), get(0), lost, lost)}},
		{"heuristic", nil, []Exchange{miss(get(0), with(page, "-Cache-Control")), hit(get(99), aged(with(page, "-Cache-Control"), 99, 99))}},
		{"Expires", nil, []Exchange{miss(get(0), with(page, "-Cache-Control", "Expires: "+on(60))),
			hit(get(59), aged(with(page, "-Cache-Control", "Expires: "+on(60)), 59, 59))}},
		{"s-maxage before max-age", nil, []Exchange{miss(get(0), ruled("max-age=1, S-MAXAGE=\"60\"")), hit(get(59), aged(ruled("max-age=1, S-MAXAGE=\"60\""), 59, 59))}},
		{"CDN-Cache-Control in place of the rest", nil, []Exchange{miss(get(0), with(page, "Cache-Control: no-store", "Cdn-Cache-Control: max-age=600")),
			hit(get(599), aged(with(page, "Cache-Control: no-store"), 599, 599))}},
		{"broken CDN-Cache-Control is ignored", nil, []Exchange{miss(get(0), with(page, "Cdn-Cache-Control: No-Store")),
			hit(get(59), aged(with(page, "Cdn-Cache-Control: No-Store"), 59, 59))}},
		{"must-understand beside no-store", nil, []Exchange{miss(get(0), ruled("max-age=60, no-store, must-understand")),
			hit(get(5), aged(ruled("max-age=60, no-store, must-understand"), 5, 5))}},
		{"Authorization and public", nil, []Exchange{miss(get(0, "Authorization: x"), ruled("public, max-age=60")), hit(get(5), aged(ruled("public, max-age=60"), 5, 5))}},
		{"Vary with the same fields, written otherwise", nil, []Exchange{miss(get(0, "Accept: a,b"), with(page, "Vary: accept")),
			hit(get(5, "Accept: a", "Accept: b"), aged(with(page, "Vary: accept"), 5, 5))}},
		{"private fields left out", nil, []Exchange{miss(get(0), with(page, `Cache-Control: max-age=60, private="X-P"`, "X-P: me")),
			hit(get(5), aged(with(page, `Cache-Control: max-age=60, private="X-P"`), 5, 5))}},
		{"fields for one connection left out", nil, []Exchange{via(get(0), get(0), with(page, "Connection: X-H", "X-H: 1", "Keep-Alive: timeout=5"), page)}},
		{"missing Date filled in", nil, []Exchange{via(get(7), get(7), with(page, "-Date"), with(page, "Date: "+on(7))),
			hit(get(9), aged(with(page, "Date: "+on(7)), 9, 2))}},
		{"POST with its own Content-Location", nil, []Exchange{miss(ask(0, "POST"), posted), hit(get(5), aged(posted, 5, 5))}},
		{"new answer after an unsafe request", nil, []Exchange{miss(get(0), page), miss(ask(1, "PUT"), say(1, 204, "2", "")),
			miss(get(2), with(page, "X-Id: 3", "Date: "+on(2))), hit(get(5), aged(with(page, "X-Id: 3", "Date: "+on(2)), 5, 3))}},
		{"an unsafe request that fails changes nothing", nil, []Exchange{miss(get(0), page), miss(ask(1, "PUT"), say(1, 500, "2", "")),
			hit(get(5), aged(page, 5, 5))}},
		{"forgotten when in doubt", nil, []Exchange{miss(get(0), page), miss(get(1, "Cache-Control: no-cache"), with(page, "X-Id: 2")),
			miss(get(2, "Cache-Control: no-cache"), with(page, "X-Id: 3"))}},
	})
}
