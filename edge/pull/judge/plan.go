package judge

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// Plan tells a test origin how to answer if it is asked.
type Plan struct {
	Status      int
	Header      http.Header
	Body        string
	Conditional bool // 304 if the validator of a request is that of Header
	Stray       bool // such a 304 carries an entity-tag that nothing has, so that it is about no stored response
	Ranges      bool // 206 or 416 to Range
	Lost        bool // the connection breaks instead of an answer
	Cut         bool // the connection breaks after half of the body
}

// Answer is what the origin of the plan sends to r at a time, numbered with id. Header has no Date if the plan leaves it out: a server that adds one
// must be told not to.
func (p Plan) Answer(r Request, id int, at time.Time) Response {
	out := Response{At: at, Status: p.Status, Header: p.Header.Clone(), Body: p.Body}
	switch {
	case p.Lost:
		return Response{At: at, Failed: true}
	case p.matches(r, at):
		p.notModified(&out)
	case p.Ranges && p.Status == http.StatusOK && r.Method == http.MethodGet && ranged(r.Header, p.Header, at):
		out.slice(r.Header)
	}
	out.Header.Set(ID, strconv.Itoa(id))
	if out.Status != http.StatusNotModified && out.Status != http.StatusNoContent {
		out.Header.Set("Content-Length", strconv.Itoa(len(out.Body)))
	}
	if r.Method == http.MethodHead {
		out.Body = ""
	}
	if p.Cut && len(out.Body) > 1 {
		out.Body, out.Failed = out.Body[:len(out.Body)/2], true
	}
	return out
}

// matches tells whether the origin answers r with 304. Unlike a cache it has no use for Date where Last-Modified is missing.
func (p Plan) matches(r Request, at time.Time) bool {
	if !p.Conditional || p.Status != http.StatusOK || !reads(r.Method) || !conditional(r.Header) {
		return false
	}
	_, dated := modified(p.Header, at)
	_, tagged := r.Header["If-None-Match"]
	return (tagged || dated) && unmodified(r.Header, p.Header, at)
}

// notModified leaves the fields that a 304 has (RFC 9110 §15.4.5).
func (p Plan) notModified(out *Response) {
	out.Status, out.Body = http.StatusNotModified, ""
	maps.DeleteFunc(out.Header, func(name string, _ []string) bool {
		return slices.Contains([]string{"Content-Type", "Set-Cookie"}, name)
	})
	if etag(out.Header) != "" {
		out.Header.Del("Last-Modified")
	}
	if p.Stray {
		out.Header.Set("Etag", `"stray"`)
		out.Header.Del("Last-Modified")
	}
}

// slice makes a 206 of a 200 if h asks for one range; 416 if it has none of it.
func (r *Response) slice(h http.Header) {
	ranges, _, valid := parseRange(h)
	if !valid || len(ranges) != 1 {
		return
	}
	size := len(r.Body)
	first, last, ok := ranges[0].resolve(size)
	if !ok {
		r.Status, r.Body = http.StatusRequestedRangeNotSatisfiable, ""
		maps.DeleteFunc(r.Header, func(name string, _ []string) bool { return name != "Date" })
		r.Header.Set("Content-Range", fmt.Sprintf("bytes */%d", size))
		return
	}
	r.Status, r.Body = http.StatusPartialContent, r.Body[first:last+1]
	r.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, size))
}
