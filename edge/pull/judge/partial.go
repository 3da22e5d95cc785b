package judge

import (
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
)

// partial checks a 206. A range may have been cut from a 200 by the cache; a 206 of the origin was its own decision as far as If-Range goes.
func (v *version) partial(w *verdict, x Exchange) {
	ranges, _, valid := parseRange(x.Client.Header)
	switch {
	case x.Client.Method != http.MethodGet || !valid:
		w.must("RFC 9110 §14.2", "a 206 answers GET with a valid Range", "%s, Range: %s", x.Client.Method, x.Client.Header.Values("Range"))
		return
	case v.status != http.StatusOK && v.status != http.StatusPartialContent:
		w.must("RFC 9110 §14.2", "Range applies to what would be a 200", "%s has %d", v.id, v.status)
		return
	case !(v.from == fromOrigin && v.status == http.StatusPartialContent) && !ranged(x.Client.Header, v.header, v.got):
		w.must("RFC 9110 §13.1.5", "If-Range compares strongly, or Range is ignored", "If-Range: %s", x.Client.Header.Values("If-Range"))
	}
	if v.content == nil {
		v.raw(w, x)
		return
	}
	boundary, several := multipartOf(x.Got.Header)
	if !several {
		v.part(w, ranges, x.Got.Header.Get("Content-Range"), x.Got.Body)
		if n, ok := digits(x.Got.Header.Get("Content-Length")); ok && int(n) != len(x.Got.Body) {
			w.must("RFC 9110 §8.6", "Content-Length is the length of the content", "%d instead of %d", n, len(x.Got.Body))
		}
		return
	}
	if len(ranges) == 1 {
		w.must("RFC 9110 §15.3.7.2", "one range is not answered with multipart", "it was")
	}
	v.parts(w, ranges, x.Got.Body, boundary)
}

// raw compares a 206 with the bytes of the origin where the model cannot tell which ones they are.
func (v *version) raw(w *verdict, x Exchange) {
	if x.Got.Body != v.body || v.from != fromOrigin {
		w.must("RFC 9110 §15.3.7", "a partial answer of unknown bytes is only passed on", "%s", v.id)
	}
}

// multipartOf is the boundary of multipart/byteranges.
func multipartOf(h http.Header) (boundary string, ok bool) {
	kind, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	return params["boundary"], err == nil && kind == "multipart/byteranges"
}

// parts checks each part of a multipart answer.
func (v *version) parts(w *verdict, ranges []byteRange, body, boundary string) {
	r := multipart.NewReader(strings.NewReader(body), boundary)
	for n := 0; ; n++ {
		p, err := r.NextRawPart()
		if err == io.EOF && n > 0 {
			return
		}
		if err != nil {
			w.must("RFC 9110 §14.6", "multipart/byteranges parses", "part %d: %v", n, err)
			return
		}
		data, err := io.ReadAll(p)
		if err != nil {
			w.must("RFC 9110 §14.6", "multipart/byteranges parses", "part %d: %v", n, err)
			return
		}
		v.part(w, ranges, p.Header.Get("Content-Range"), string(data))
	}
}

// part checks that field and body are bytes of the representation, and those that were asked for. Of several ranges a cache may join some
// (RFC 9110 §15.3.7.2), so a part may begin with one and end with another.
func (v *version) part(w *verdict, ranges []byteRange, field, body string) {
	first, last, total, ok := parseContentRange(field)
	if !ok || first < 0 || last-first+1 != len(body) {
		w.must("RFC 9110 §14.4", "Content-Range says which bytes there are", "%q with %d bytes", field, len(body))
		return
	}
	if total != v.content.total && total >= 0 && v.content.total >= 0 {
		w.must("RFC 9110 §14.4", "Content-Range has the length of the whole", "%d instead of %d", total, v.content.total)
	}
	if err := v.content.check(first, body); err != nil {
		w.must("RFC 9110 §15.3.7", "a part has the bytes of its range", "%s: %v", field, err)
	}
	size := max(total, v.content.total)
	begins := slices.ContainsFunc(ranges, func(r byteRange) bool { a, _, ok := r.resolve(size); return ok && a == first })
	ends := slices.ContainsFunc(ranges, func(r byteRange) bool { _, b, ok := r.resolve(size); return ok && b == last })
	if size >= 0 && (!begins || !ends) {
		w.must("RFC 9110 §14.2", "a part is what was asked for", "%s was not", field)
	}
}

// unsatisfied checks a 416 of the cache's own. A Range that does not parse may be refused so, too (RFC 9110 §14.2).
func (v *version) unsatisfied(w *verdict, x Exchange) {
	const section = "RFC 9110 §15.5.17"
	ranges, known, _ := parseRange(x.Client.Header)
	if x.Client.Method != http.MethodGet || !known || v.status != http.StatusOK && v.status != http.StatusPartialContent {
		w.must(section, "a 416 answers GET with a Range of a 200", "%s has %d", v.id, v.status)
		return
	}
	if !ranged(x.Client.Header, v.header, v.got) {
		w.must("RFC 9110 §13.1.5", "If-Range compares strongly, or Range is ignored", "If-Range: %s", x.Client.Header.Values("If-Range"))
	}
	size, sized := v.length()
	for _, r := range ranges {
		if first, last, ok := r.resolve(int(size)); ok && sized {
			w.must(section, "a 416 means that no range can be had", "bytes %d-%d of %d could", first, last, size)
			return
		}
	}
	if field := x.Got.Header.Get("Content-Range"); field != "" && sized {
		if first, _, total, ok := parseContentRange(field); !ok || first >= 0 || total != int(size) {
			w.must("RFC 9110 §14.4", "Content-Range of a 416 has the length", "%q instead of %d", field, size)
		}
	}
}
