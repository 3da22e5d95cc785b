package upload

import (
	"bufio"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"perigee/object"
)

// conformance is the protocol tus 1.0.0 as demands on a server: each MUST and SHOULD of its text that a server can be held to, by section
// and in our own words, with what shows that it is met. What it demands of clients is not here.
var conformance = []struct {
	section, demand string
	check           func(*rules)
}{
	{"Upload-Offset", "an offset is a number that is not negative", func(r *rules) {
		url := r.create("/f", 4)
		for _, bad := range []string{"", "-1", "x", "1.5", "+1", "99999999999999999999"} {
			r.want(r.tus("PATCH", url, []byte("a"), "Content-Type", chunkType, "Upload-Offset", bad), 400)
		}
		r.at(url, 0)
	}},
	{"Upload-Length", "a length is a number that is not negative", func(r *rules) {
		for _, bad := range []string{"-1", "x", "1.5", "+1", "99999999999999999999"} {
			r.want(r.tus("POST", "/api/v1/uploads/", nil, "Upload-Length", bad, "Upload-Metadata", r.meta), 400)
		}
	}},
	{"Tus-Version", "a list of versions, the preferred one first", func(r *rules) {
		r.field(r.options(), "Tus-Version", "1.0.0")
	}},
	{"Tus-Resumable", "every answer but to OPTIONS has it, errors too", func(r *rules) {
		url := r.create("/f", 4)
		for _, a := range []answer{
			r.tus("HEAD", url, nil), r.patch(url, 0, []byte("ab")), r.patch(url, 0, []byte("ab")), r.tus("HEAD", "/api/v1/uploads/none", nil),
			r.tus("POST", "/api/v1/uploads/", nil), r.tus("GET", url, nil), r.tus("DELETE", url, nil), r.call("HEAD", url, nil),
		} {
			r.field(a, "Tus-Resumable", "1.0.0")
		}
	}},
	{"Tus-Resumable", "another version is 412 with Tus-Version, and nothing is done", func(r *rules) {
		url := r.create("/f", 4)
		for _, v := range []string{"0.2.2", "2.0.0", "1.0", ""} {
			for _, a := range []answer{
				r.call("PATCH", url, strings.NewReader("abcd"), "Tus-Resumable", v, "Content-Type", chunkType, "Upload-Offset", "0"),
				r.call("DELETE", url, nil, "Tus-Resumable", v), r.call("HEAD", url, nil, "Tus-Resumable", v),
				r.call("POST", "/api/v1/uploads/", nil, "Tus-Resumable", v, "Upload-Length", "1", "Upload-Metadata", r.meta),
			} {
				r.field(r.want(a, 412), "Tus-Version", "1.0.0")
			}
		}
		r.at(url, 0)
	}},
	{"Tus-Extension", "a list of the extensions", func(r *rules) {
		all := strings.Split(r.options().header.Get("Tus-Extension"), ",")
		for _, e := range []string{"creation", "creation-with-upload", "creation-defer-length", "expiration", "checksum", "checksum-trailer", "termination", "concatenation"} {
			if !slices.Contains(all, e) {
				r.t.Errorf("Tus-Extension has no %s: %v", e, all)
			}
		}
		if slices.Contains(all, "concatenation-unfinished") {
			r.t.Error("partial uploads in progress are not concatenated, but it is announced")
		}
	}},
	{"Tus-Max-Size", "the hard limit, where it is known", func(r *rules) { r.field(r.options(), "Tus-Max-Size", strconv.Itoa(1<<30)) }},
	{"X-HTTP-Method-Override", "it is the method, whatever the request's own is", func(r *rules) {
		url := r.create("/f", 4)
		for i, own := range []string{"POST", "PUT", "DELETE", "PATCH"} {
			r.want(r.tus(own, url, []byte{'a' + byte(i)}, methodOverride, "PATCH", "Content-Type", chunkType, "Upload-Offset", strconv.Itoa(i)), 204)
		}
		r.published("/f", []byte("abcd"))
		r.field(r.want(r.tus("POST", url, nil, methodOverride, "HEAD"), 200), "Upload-Offset", "4")
		url = r.create("/f", 4)
		r.want(r.tus("POST", url, nil, methodOverride, "DELETE"), 204)
		r.want(r.tus("HEAD", url, nil), 410)
	}},
	{"HEAD", "it has the offset always: at 0 and when all is there", func(r *rules) {
		url := r.create("/f", 3)
		r.field(r.tus("HEAD", url, nil), "Upload-Offset", "0")
		r.want(r.patch(url, 0, []byte("abc")), 204)
		r.field(r.tus("HEAD", url, nil), "Upload-Offset", "3")
	}},
	{"HEAD", "it has the length, if that is known", func(r *rules) {
		r.field(r.tus("HEAD", r.create("/f", 3), nil), "Upload-Length", "3")
		r.field(r.tus("HEAD", r.deferred("/f"), nil), "Upload-Length", "")
	}},
	{"HEAD", "what is not there is 404, 410 or 403, without an offset", func(r *rules) {
		gone := r.create("/f", 3)
		r.want(r.tus("DELETE", gone, nil), 204)
		r.field(r.want(r.tus("HEAD", "/api/v1/uploads/"+strings.Repeat("0", 32), nil), 404), "Upload-Offset", "")
		r.field(r.want(r.tus("HEAD", gone, nil), 410), "Upload-Offset", "")
	}},
	{"HEAD", "it is never cached", func(r *rules) { r.field(r.tus("HEAD", r.create("/f", 3), nil), "Cache-Control", "no-store") }},
	{"PATCH", "bytes are applied at the offset", func(r *rules) {
		url := r.create("/f", 6)
		r.want(r.patch(url, 0, []byte("abc")), 204)
		r.want(r.patch(url, 3, []byte("def")), 204)
		r.published("/f", []byte("abcdef"))
	}},
	{"PATCH", "another Content-Type is 415", func(r *rules) {
		url := r.create("/f", 3)
		for _, ct := range []string{"", "application/octet-stream", "text/plain", "application/offset+octet-stream-2"} {
			r.want(r.tus("PATCH", url, []byte("abc"), "Content-Type", ct, "Upload-Offset", "0"), 415)
		}
		r.at(url, 0)
	}},
	{"PATCH", "another offset than the present one is 409, and nothing is changed", func(r *rules) {
		url := r.create("/f", 6)
		r.want(r.patch(url, 1, []byte("x")), 409)
		r.want(r.patch(url, 0, []byte("abc")), 204)
		for _, at := range []int{0, 2, 4, 6, 7} {
			r.want(r.patch(url, at, []byte("x")), 409)
		}
		r.at(url, 3)
		r.want(r.patch(url, 3, []byte("def")), 204)
		r.published("/f", []byte("abcdef"))
	}},
	{"PATCH", "success is 204 with the new offset: the old one and what came", func(r *rules) {
		url := r.create("/f", 6)
		r.field(r.want(r.patch(url, 0, []byte("ab")), 204), "Upload-Offset", "2")
		r.field(r.want(r.patch(url, 2, []byte{}), 204), "Upload-Offset", "2")
		r.field(r.want(r.patch(url, 2, []byte("cdef")), 204), "Upload-Offset", "6")
	}},
	{"PATCH", "more bytes than the upload has are not taken", func(r *rules) {
		url := r.create("/f", 3)
		r.want(r.patch(url, 0, []byte("abcd")), 413)
		r.at(url, 0)
	}},
	{"PATCH", "what is not there is 404", func(r *rules) {
		r.want(r.patch("/api/v1/uploads/"+strings.Repeat("0", 32), 0, []byte("a")), 404)
	}},
	{"PATCH", "as much as arrived is kept, though the line breaks", func(r *rules) {
		url := r.create("/f", 1000)
		conn := r.begin(url, 0, 1000, make([]byte, 400))
		r.must(conn.CloseWrite())
		if a := readAnswer(r.t, conn, "PATCH"); a.status != 400 {
			r.t.Errorf("%d %s", a.status, a.body)
		}
		conn.Close()
		r.at(url, 400)
	}},
	{"PATCH", "a client that sends nothing is cut off, and what it sent is kept", func(r *rules) {
		url := r.create("/f", 1000)
		conn := r.begin(url, 0, 1000, make([]byte, 300))
		defer conn.Close()
		if a := readAnswer(r.t, conn, "PATCH"); a.status != http.StatusRequestTimeout {
			r.t.Errorf("%d %s", a.status, a.body)
		}
		r.at(url, 300)
	}},
	{"OPTIONS", "success is 204 or 200 with Tus-Version, whatever version the request names", func(r *rules) {
		for _, where := range []string{"/api/v1/uploads", "/api/v1/uploads/", r.create("/f", 1)} {
			for _, v := range []string{"", "9.9.9"} {
				a := r.want(r.call("OPTIONS", where, nil, "Tus-Resumable", v), 204)
				r.field(a, "Tus-Version", "1.0.0")
			}
		}
	}},
	{"Creation", "success is 201 with the URL", func(r *rules) {
		a := r.want(r.tus("POST", "/api/v1/uploads/", nil, "Upload-Length", "3", "Upload-Metadata", r.meta), 201)
		r.at(a.header.Get("Location"), 0)
	}},
	{"Creation", "without a length, deferred or not, it is refused; with both too", func(r *rules) {
		r.want(r.tus("POST", "/api/v1/uploads/", nil, "Upload-Metadata", r.meta), 400)
		r.want(r.tus("POST", "/api/v1/uploads/", nil, "Upload-Length", "1", "Upload-Defer-Length", "1", "Upload-Metadata", r.meta), 400)
	}},
	{"Creation", "a length above Tus-Max-Size is 413", func(r *rules) {
		r.want(r.tus("POST", "/api/v1/uploads/", nil, "Upload-Length", strconv.Itoa(1<<30+1), "Upload-Metadata", r.meta), 413)
	}},
	{"Creation", "Upload-Defer-Length is 1 or 400", func(r *rules) {
		for _, bad := range []string{"0", "2", "true", "1 "} {
			a := r.tus("POST", "/api/v1/uploads/", nil, "Upload-Defer-Length", bad, "Upload-Metadata", r.meta)
			if bad != "1 " { // a blank at the end is no part of a field's value
				r.want(a, 400)
			}
		}
	}},
	{"Creation", "while the length is not known HEAD says Upload-Defer-Length: 1, and not after", func(r *rules) {
		url := r.deferred("/f")
		r.field(r.tus("HEAD", url, nil), "Upload-Defer-Length", "1")
		r.want(r.patch(url, 0, []byte("ab")), 204)
		r.field(r.tus("HEAD", url, nil), "Upload-Defer-Length", "1")
		r.want(r.patch(url, 2, []byte("c"), "Upload-Length", "4"), 204)
		h := r.tus("HEAD", url, nil)
		r.field(h, "Upload-Defer-Length", "")
		r.field(h, "Upload-Length", "4")
		r.want(r.patch(url, 3, []byte("d")), 204)
		r.published("/f", []byte("abcd"))
	}},
	{"Creation", "a length once set is not changed", func(r *rules) {
		url := r.deferred("/f")
		r.want(r.patch(url, 0, []byte("ab"), "Upload-Length", "4"), 204)
		r.want(r.patch(url, 2, []byte("c"), "Upload-Length", "3"), 400)
		r.want(r.patch(url, 2, []byte("c"), "Upload-Length", "5"), 400)
		r.at(url, 2)
		r.want(r.patch(url, 2, []byte("cd"), "Upload-Length", "4"), 204)
		r.published("/f", []byte("abcd"))
	}},
	{"Creation", "a length that comes later may come with no bytes, and is not below what has come", func(r *rules) {
		url := r.deferred("/f")
		r.want(r.patch(url, 0, []byte("abcd")), 204)
		r.want(r.patch(url, 4, []byte{}, "Upload-Length", "3"), 400)
		r.want(r.patch(url, 4, []byte{}, "Upload-Length", strconv.Itoa(2<<30)), 413)
		r.want(r.patch(url, 4, []byte{}, "Upload-Length", "4"), 204)
		r.published("/f", []byte("abcd"))
	}},
	{"Creation", "HEAD gives the metadata back as it was given", func(r *rules) {
		for _, m := range []string{r.meta, r.meta + ",is_confidential", r.meta + ",empty ,x eA=="} {
			a := r.want(r.tus("POST", "/api/v1/uploads/", nil, "Upload-Length", "3", "Upload-Metadata", m), 201)
			r.field(r.tus("HEAD", a.header.Get("Location"), nil), "Upload-Metadata", m)
		}
	}},
	{"Creation", "keys are unique and values base64, else it is refused", func(r *rules) {
		for _, m := range []string{r.meta + ",path L2E=", r.meta + ",x ***"} {
			r.want(r.tus("POST", "/api/v1/uploads/", nil, "Upload-Length", "3", "Upload-Metadata", m), 400)
		}
	}},
	{"Creation", "metadata is not trusted as header values", func(r *rules) {
		m := metadata("path", "/f", "cache_control", "a\r\nX-Evil: 1")
		r.want(r.tus("POST", "/api/v1/uploads/", nil, "Upload-Length", "3", "Upload-Metadata", m), 400)
	}},
	{"Creation With Upload", "the answer has the offset after the bytes that came", func(r *rules) {
		for n, body := range []string{"", "a", "abc"} {
			a := r.want(r.tus("POST", "/api/v1/uploads/", []byte(body), "Upload-Length", "3", "Upload-Metadata", r.meta, "Content-Type", chunkType), 201)
			want := strconv.Itoa(len(body))
			r.field(a, "Upload-Offset", want)
			r.at(a.header.Get("Location"), len(body))
			if n == 2 {
				r.published("/f", []byte("abc"))
			}
		}
		r.want(r.tus("POST", "/api/v1/uploads/", []byte("abcd"), "Upload-Length", "3", "Upload-Metadata", r.meta, "Content-Type", chunkType), 413)
	}},
	{"Creation With Upload", "a length may be deferred all the same", func(r *rules) {
		a := r.want(r.tus("POST", "/api/v1/uploads/", []byte("ab"), "Upload-Defer-Length", "1", "Upload-Metadata", r.meta, "Content-Type", chunkType), 201)
		r.field(a, "Upload-Offset", "2")
		r.want(r.patch(a.header.Get("Location"), 2, []byte("c"), "Upload-Length", "3"), 204)
		r.published("/f", []byte("abc"))
	}},
	{"Creation With Upload", "who expects 100-continue is refused before a byte is sent", func(r *rules) {
		r.early("POST", "/api/v1/uploads/", 413, "Upload-Length: 5000000000", "Content-Type: "+chunkType, "Upload-Metadata: "+r.meta)
		r.early("POST", "/api/v1/uploads/", 404, "Upload-Length: 5", "Content-Type: "+chunkType, "Upload-Metadata: "+metadata("site", "none", "path", "/a"))
		r.early("POST", "/api/v1/uploads/", 412, "Upload-Length: 5", "Content-Type: "+chunkType, "Upload-Metadata: "+r.meta, "If-Match: *")
		url := r.create("/f", 5)
		r.early("PATCH", url, 409, "Content-Type: "+chunkType, "Upload-Offset: 3")
		r.early("PATCH", url, 415, "Content-Type: text/plain", "Upload-Offset: 0")
	}},
	{"Expiration", "every answer to a PATCH, and the one to the creation, says when, as RFC 9110 writes it", func(r *rules) {
		a := r.want(r.tus("POST", "/api/v1/uploads/", nil, "Upload-Length", "3", "Upload-Metadata", r.meta), 201)
		for _, a := range []answer{a, r.patch(a.header.Get("Location"), 0, []byte("a"))} {
			when, err := time.Parse(http.TimeFormat, a.header.Get("Upload-Expires"))
			if err != nil || when.Before(r.clock.Now().Add(23*time.Hour)) {
				r.t.Errorf("Upload-Expires %q: %v", a.header.Get("Upload-Expires"), err)
			}
		}
	}},
	{"Expiration", "an upload that has expired is 404 or 410", func(r *rules) {
		url := r.create("/f", 3)
		r.clock.step(25 * time.Hour)
		r.want(r.patch(url, 0, []byte("abc")), 410)
		r.must(r.pub.Sweep(r.t.Context()))
		r.want(r.patch(url, 0, []byte("abc")), 410)
		r.want(r.tus("HEAD", url, nil), 410)
	}},
	{"Checksum", "at least sha1 is known, and the names are told", func(r *rules) {
		names := strings.Split(r.options().header.Get("Tus-Checksum-Algorithm"), ",")
		if !slices.Contains(names, "sha1") || len(names) < 3 {
			r.t.Errorf("Tus-Checksum-Algorithm %v", names)
		}
	}},
	{"Checksum", "a chunk that has its checksum is taken", func(r *rules) {
		url := r.create("/f", 9)
		r.want(r.patch(url, 0, []byte("abc"), "Upload-Checksum", sums("abc")["sha1"]), 204)
		r.want(r.patch(url, 3, []byte("def"), "Upload-Checksum", sums("def")["md5"]), 204)
		r.want(r.patch(url, 6, []byte("ghi"), "Upload-Checksum", sums("ghi")["sha256"]), 204)
		r.published("/f", []byte("abcdefghi"))
	}},
	{"Checksum", "a chunk that has not is 460, is discarded, and the offset stays", func(r *rules) {
		url := r.create("/f", 30<<20)
		body := noiseBytes(4, 30<<20)
		r.want(r.patch(url, 0, body[:9<<20]), 204)
		for _, alg := range []string{"sha1", "md5", "sha256"} {
			r.want(r.patch(url, 9<<20, noiseBytes(5, 20<<20), "Upload-Checksum", sums("else")[alg]), 460)
			r.at(url, 9<<20)
		}
		r.want(r.patch(url, 9<<20, noiseBytes(6, 21<<20), "Upload-Checksum", sums("else")["sha1"]), 460)
		r.at(url, 9<<20)
		r.want(r.patch(url, 9<<20, body[9<<20:], "Upload-Checksum", sums(string(body[9<<20:]))["sha256"]), 204)
		r.published("/f", body)
	}},
	{"Checksum", "an algorithm that is not known is 400, and nothing is kept", func(r *rules) {
		url := r.create("/f", 3)
		for _, bad := range []string{"crc7 YWJj", "SHA1 " + sums("abc")["sha1"][5:], "sha1", "sha1 ***", "sha1 YWJj"} {
			r.want(r.patch(url, 0, []byte("abc"), "Upload-Checksum", bad), 400)
		}
		r.at(url, 0)
	}},
	{"Checksum", "it may come as a trailer", func(r *rules) {
		url := r.create("/f", 6)
		r.field(r.trailer(url, 0, "abc", sums("abc")["sha1"], 204), "Upload-Offset", "3")
		r.trailer(url, 3, "def", sums("abc")["sha1"], 460)
		r.trailer(url, 3, "def", "", 400)
		r.at(url, 3)
		r.trailer(url, 3, "def", sums("def")["md5"], 204)
		r.published("/f", []byte("abcdef"))
	}},
	{"Checksum", "a chunk that breaks off is discarded, as it cannot be verified", func(r *rules) {
		url := r.create("/f", 100)
		conn, err := net.Dial("tcp", r.server.Listener.Addr().String())
		r.must(err)
		fmt.Fprintf(conn, "PATCH %s HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nContent-Type: %s\r\nUpload-Offset: 0\r\nUpload-Checksum: %s\r\nContent-Length: 100\r\n\r\nabc", url, chunkType, sums("abc")["sha1"])
		r.must(conn.(*net.TCPConn).CloseWrite())
		if a := readAnswer(r.t, conn, "PATCH"); a.status != 400 {
			r.t.Errorf("%d", a.status)
		}
		conn.Close()
		r.at(url, 0)
	}},
	{"Termination", "DELETE is 204, of an upload that is finished too, and then 404 or 410", func(r *rules) {
		for n, url := range []string{r.create("/f", 3), r.create("/f", 20<<20), r.create("/f", 3)} {
			switch n {
			case 1:
				r.want(r.patch(url, 0, noiseBytes(1, 17<<20)), 204)
			case 2:
				r.want(r.patch(url, 0, []byte("abc")), 204)
			}
			r.want(r.tus("DELETE", url, nil), 204)
			for _, a := range []answer{r.tus("HEAD", url, nil), r.patch(url, 0, []byte("a")), r.tus("DELETE", url, nil)} {
				r.want(a, 410)
			}
		}
		r.published("/f", []byte("abc")) // the file is another resource
	}},
	{"Concatenation", "a final upload is its partial uploads, in the order of the list", func(r *rules) {
		a, b := r.partial("hello"), r.partial(" world")
		r.final("/f", "hello world", a, b)
		r.final("/g", " worldhello", b, a)
		r.final("/h", "hellohello", "https://tus.example.org"+a, a)
	}},
	{"Concatenation", "its length is the sum, and equals its offset", func(r *rules) {
		url := r.final("/f", "hello world", r.partial("hello"), r.partial(" world"))
		h := r.want(r.tus("HEAD", url, nil), 200)
		r.field(h, "Upload-Length", "11")
		r.field(h, "Upload-Offset", "11")
	}},
	{"Concatenation", "large partial uploads, and empty ones", func(r *rules) {
		one, two := string(noiseBytes(1, 9<<20+1)), string(noiseBytes(2, 17<<20+5))
		r.final("/f", one+"x"+two, r.partial(one), r.partial(""), r.partial("x"), r.partial(two))
	}},
	{"Concatenation", "partial uploads are not published", func(r *rules) {
		before := len(r.events)
		r.partial("hello")
		if len(r.events) != before {
			r.t.Error("a partial upload was published")
		}
	}},
	{"Concatenation", "a final upload has no Upload-Length", func(r *rules) {
		a := r.partial("hello")
		r.want(r.tus("POST", "/api/v1/uploads/", nil, "Upload-Length", "5", "Upload-Concat", "final;"+a, "Upload-Metadata", r.meta), 400)
	}},
	{"Concatenation", "partial uploads in progress, or that are none, are refused", func(r *rules) {
		open := r.want(r.tus("POST", "/api/v1/uploads/", nil, "Upload-Length", "5", "Upload-Concat", "partial"), 201).header.Get("Location")
		for _, bad := range []string{open, r.create("/g", 3), "/api/v1/uploads/" + strings.Repeat("0", 32), "/elsewhere/x", ""} {
			r.want(r.tus("POST", "/api/v1/uploads/", nil, "Upload-Concat", "final;"+bad, "Upload-Metadata", r.meta), 400)
		}
		r.want(r.tus("POST", "/api/v1/uploads/", nil, "Upload-Length", "5", "Upload-Concat", "whole", "Upload-Metadata", r.meta), 400)
		if !r.missing("/f") {
			r.t.Error("something was published")
		}
	}},
	{"Concatenation", "the metadata of partial uploads is not that of the final one", func(r *rules) {
		a := r.want(r.tus("POST", "/api/v1/uploads/", []byte("x"), "Upload-Length", "1", "Upload-Concat", "partial", "Content-Type", chunkType, "Upload-Metadata", metadata("path", "/other", "tags", "t")), 201)
		r.final("/f", "x", a.header.Get("Location"))
		f, err := r.cat.File(r.t.Context(), "www", "/f")
		if err != nil || len(f.Pointer.Tags) != 0 || !r.missing("/other") {
			r.t.Errorf("%+v, %v", f, err)
		}
	}},
	{"Concatenation", "partial uploads may be used again", func(r *rules) {
		a := r.partial("hello")
		r.final("/f", "hello", a)
		r.final("/g", "hello", a)
	}},
	{"Concatenation", "PATCH of a final upload is 403, and neither it nor its parts change", func(r *rules) {
		a := r.partial("hello")
		url := r.final("/f", "hello", a)
		r.want(r.patch(url, 5, []byte("x")), 403)
		r.want(r.patch(url, 0, []byte("x")), 403)
		r.published("/f", []byte("hello"))
		r.at(a, 5)
	}},
	{"Concatenation", "HEAD of a partial upload has an offset", func(r *rules) { r.at(r.partial("hello"), 5) }},
	{"Concatenation", "HEAD gives Upload-Concat back as it was given", func(r *rules) {
		a := r.partial("hello")
		r.field(r.tus("HEAD", a, nil), "Upload-Concat", "partial")
		r.field(r.tus("HEAD", r.final("/f", "hello", a), nil), "Upload-Concat", "final;"+a)
		r.field(r.tus("HEAD", r.create("/g", 3), nil), "Upload-Concat", "")
	}},
	{"Concatenation", "who lost the answer and asks again gets the same one", func(r *rules) {
		a := r.partial("hello")
		url := r.final("/f", "hello", a)
		first, err := r.cat.File(r.t.Context(), "www", "/f")
		r.must(err)
		if again := r.final("/f", "hello", a); again != url {
			r.t.Errorf("%s, then %s", url, again)
		}
		if now, err := r.cat.File(r.t.Context(), "www", "/f"); err != nil || now.Pointer.Version != first.Pointer.Version {
			r.t.Errorf("it was published again: %v", err)
		}
	}},
}

// rules is a bench with short words for the table.
type rules struct {
	*bench
	meta string
}

func TestConformance(t *testing.T) {
	b := newBench(t, Config{MaxSize: 1 << 30, DefaultSite: "www", Idle: 500 * time.Millisecond})
	for i, c := range conformance {
		t.Run(fmt.Sprintf("%02d %s", i, c.section), func(t *testing.T) {
			t.Log(c.demand)
			r := &rules{bench: b, meta: metadata("site", "www", "path", "/f")}
			outer := b.t
			b.t = t
			defer func() { b.t = outer }()
			for _, path := range []string{"/f", "/g", "/h"} {
				b.call("DELETE", "/api/v1/sites/www/files"+path, nil)
			}
			c.check(r)
		})
	}
	b.sweepExpired()
	b.consistent()
}

func (r *rules) options() answer { return r.want(r.call("OPTIONS", "/api/v1/uploads/", nil), 204) }

// field fails the test unless a header field has the value; "" is that there is none.
func (r *rules) field(a answer, name, want string) {
	r.t.Helper()
	if got := strings.Join(a.header.Values(name), "\n"); got != want {
		r.t.Errorf("status %d, %s: %q, want %q", a.status, name, got, want)
	}
}

func (r *rules) at(url string, offset int) {
	r.t.Helper()
	r.field(r.want(r.tus("HEAD", url, nil), 200), "Upload-Offset", strconv.Itoa(offset))
}

func (r *rules) deferred(path string) string {
	r.t.Helper()
	a := r.want(r.tus("POST", "/api/v1/uploads/", nil, "Upload-Defer-Length", "1", "Upload-Metadata", metadata("path", path)), 201)
	return a.header.Get("Location")
}

// partial makes a partial upload in two requests.
func (r *rules) partial(body string) string {
	r.t.Helper()
	url := r.want(r.tus("POST", "/api/v1/uploads/", nil, "Upload-Length", strconv.Itoa(len(body)), "Upload-Concat", "partial"), 201).header.Get("Location")
	half := len(body) / 2
	if half > 0 {
		r.want(r.patch(url, 0, []byte(body[:half])), 204)
	}
	r.want(r.patch(url, half, []byte(body[half:])), 204)
	return url
}

// final concatenates and looks at what was published.
func (r *rules) final(path, want string, parts ...string) string {
	r.t.Helper()
	a := r.want(r.tus("POST", "/api/v1/uploads/", nil, "Upload-Concat", "final;"+strings.Join(parts, " "), "Upload-Metadata", metadata("path", path)), 201)
	r.field(a, "Perigee-SHA256", sum([]byte(want)))
	if got, _ := r.content("www", object.Path(path)); got != want {
		r.t.Errorf("%s: %d bytes, want %d", path, len(got), len(want))
	}
	return a.header.Get("Location")
}

// early sends the head of a request that expects 100-continue; the answer must come at once and be the final one.
func (r *rules) early(method, url string, status int, headers ...string) {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.server.Listener.Addr().String())
	r.must(err)
	defer conn.Close()
	fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n%s\r\n\r\n", method, url, strings.Join(headers, "\r\n"))
	r.must(conn.SetReadDeadline(time.Now().Add(time.Minute)))
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.Contains(line, fmt.Sprintf(" %d ", status)) {
		r.t.Errorf("%s %s: %q, %v, want %d", method, url, line, err, status)
	}
}

// trailer sends a chunk whose checksum comes after it.
func (r *rules) trailer(url string, offset int, body, checksum string, status int) answer {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.server.Listener.Addr().String())
	r.must(err)
	defer conn.Close()
	fmt.Fprintf(conn, "PATCH %s HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nContent-Type: %s\r\nUpload-Offset: %d\r\nTransfer-Encoding: chunked\r\nTrailer: Upload-Checksum\r\n\r\n", url, chunkType, offset)
	fmt.Fprintf(conn, "%x\r\n%s\r\n0\r\n", len(body), body)
	if checksum != "" {
		fmt.Fprintf(conn, "Upload-Checksum: %s\r\n", checksum)
	}
	fmt.Fprint(conn, "\r\n")
	return r.want(readAnswer(r.t, conn, "PATCH"), status)
}

// sums are the checksums of a body as Upload-Checksum has them.
func sums(body string) map[string]string {
	s1, m, s256 := sha1.Sum([]byte(body)), md5.Sum([]byte(body)), sha256.Sum256([]byte(body))
	enc := base64.StdEncoding.EncodeToString
	return map[string]string{"sha1": "sha1 " + enc(s1[:]), "md5": "md5 " + enc(m[:]), "sha256": "sha256 " + enc(s256[:])}
}
