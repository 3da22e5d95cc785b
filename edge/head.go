package edge

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"perigee/object"
)

const (
	serverName            = "Perigee"
	defaultCacheControl   = "public, max-age=0, must-revalidate"
	immutableCacheControl = "public, max-age=31536000, immutable"
	// sandbox keeps an uploaded document from running script in the site's origin.
	sandbox = "default-src 'none'; img-src 'self' data:; media-src 'self'; style-src 'unsafe-inline'; sandbox"
)

// fields are the field lines of a head in wire form, each with its CRLF, in order, without the empty line that ends a
// head. Both transports and the prepared answers are made of them, so that all three say the same.
type fields []byte

func (f fields) add(name, value string) fields {
	f = append(f, name...)
	f = append(f, ": "...)
	at := len(f)
	f = append(f, value...)
	for i := at; i < len(f); i++ {
		// No stored value may become a line of its own; those that could are refused where they are stored, too.
		if c := f[i]; c < ' ' && c != '\t' || c == 0x7f {
			f[i] = ' '
		}
	}
	return append(f, "\r\n"...)
}

func (f fields) addInt(name string, n int64) fields {
	f = append(f, name...)
	f = append(f, ": "...)
	f = strconv.AppendInt(f, n, 10)
	return append(f, "\r\n"...)
}

// each calls do with every name and value.
func (f fields) each(do func(name, value string)) {
	for rest := string(f); rest != ""; {
		line, more, _ := strings.Cut(rest, "\r\n")
		name, value, _ := strings.Cut(line, ": ")
		do(name, value)
		rest = more
	}
}

// fileFields are the lines that an answer about a file may have, all that does not depend on the request, in four runs
// one behind the other:
//
//	lines[:validators]       ETag first, Last-Modified, and what holds for every use of the file
//	lines[validators:policy] Cache-Control
//	lines[policy:content]    what 200 and 206 say of the bytes
//	lines[content:]          Content-Length of the whole file
type fileFields struct {
	lines                       fields
	validators, policy, content int
	modified                    int64 // Unix seconds
	bare                        bool  // an active type that the site allows, without a policy of any kind
}

// fileFieldsOf forms the lines of x's file.
func (x *exchange) fileFieldsOf() fileFields {
	p := x.pointer
	f := fileFields{lines: make(fields, 0, 640), modified: p.Modified.Unix()}
	f.lines = f.lines.add("ETag", p.EntityTag()).
		add("Last-Modified", p.Modified.UTC().Format(http.TimeFormat)).
		add("Accept-Ranges", "bytes")
	add, gone := x.ruledLines()
	f.lines = safely(append(f.lines.without(gone), add...), x.site, p.ContentType)
	f.bare = active(p.ContentType) && !bytes.Contains(bytes.ToLower(f.lines), []byte("\r\ncontent-security-policy:"))
	f.validators = len(f.lines)
	f.lines = f.lines.add("Cache-Control", x.cacheControl())
	f.policy = len(f.lines)
	f.lines = f.lines.add("Content-Type", cmp.Or(p.ContentType, "application/octet-stream"))
	if !p.Object() {
		f.lines = f.lines.add("Repr-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(p.Hash[:])+":")
	} else if p.ContentEncoding != "" {
		f.lines = f.lines.add("Content-Encoding", p.ContentEncoding)
	}
	f.content = len(f.lines)
	f.lines = f.lines.addInt("Content-Length", p.Size)
	return f
}

// appendTo appends the lines of an answer to b. 304 has what 200 has of the file but its content (RFC 9110 §15.4.5). 412
// and 416 answer one request only: a cache on the way that took the file's Cache-Control for theirs would give
// them to everybody.
func (f *fileFields) appendTo(b fields, v verdict, size int64) fields {
	switch v.status {
	case http.StatusOK:
		return append(b, f.lines...)
	case http.StatusPartialContent:
		b = append(b, f.lines[:f.content]...)
		b = append(b, "Content-Range: bytes "...)
		b = strconv.AppendInt(b, v.rng.Start, 10)
		b = append(b, '-')
		b = strconv.AppendInt(b, v.rng.Start+v.rng.Length-1, 10)
		b = append(b, '/')
		b = strconv.AppendInt(b, size, 10)
		b = append(b, "\r\n"...)
		return b.addInt("Content-Length", v.rng.Length)
	case http.StatusNotModified:
		b = append(b, f.lines[:f.policy]...)
		if f.bare {
			// A cache replaces what a 304 has and keeps the rest (RFC 9111 §3.2). A browser that stored the file while its site
			// did not allow the type would keep the sandbox for good; a policy without directives is none (CSP 3 §2.2.1).
			b = append(b, "Content-Security-Policy: \r\n"...)
		}
		return b
	case http.StatusRequestedRangeNotSatisfiable:
		b = append(b, "Content-Range: bytes */"...)
		b = strconv.AppendInt(b, size, 10)
		b = append(b, "\r\n"...)
	}
	b = append(b, f.lines[:f.validators]...)
	return append(b, "Cache-Control: no-store\r\nContent-Length: 0\r\n"...)
}

// etag returns the entity tag as a part of lines.
func (f *fileFields) etag() []byte {
	end := etagStart + etagLen // that of an object of a bucket site may have any length
	if end >= len(f.lines) || f.lines[end] != '\r' {
		end = bytes.IndexByte(f.lines, '\r')
	}
	return f.lines[etagStart:end]
}

const etagStart = len("ETag: ")

// etagLen is the length of the entity tag of a published file: a SHA-256 in base64, in quotes.
var etagLen = len(object.Hash{}.ETag())

// The form of a prepared head: a byte for the form, or for that of bare lines, the three ends, the time, the length of the site record's version, that version, the
// lines and the empty line that ends the head of a 200. The version is there because a change of a site's rules changes
// lines of every file without touching one name.
const (
	headForm  = 1
	headBare  = 2
	headFixed = 1 + 3*2 + 8 + 1
)

// encode returns f as Prepare keeps it, or nil if it is too long for that.
func (f *fileFields) encode(site *object.SiteRecord) []byte {
	if len(f.lines) > 0xffff || len(site.Version) > 0xff {
		return nil
	}
	b := make([]byte, 0, headFixed+len(site.Version)+len(f.lines)+2)
	form := byte(headForm)
	if f.bare {
		form = headBare
	}
	b = append(b, form)
	b = binary.LittleEndian.AppendUint16(b, uint16(f.validators))
	b = binary.LittleEndian.AppendUint16(b, uint16(f.policy))
	b = binary.LittleEndian.AppendUint16(b, uint16(f.content))
	b = binary.LittleEndian.AppendUint64(b, uint64(f.modified))
	b = append(b, byte(len(site.Version)))
	b = append(b, site.Version...)
	b = append(b, f.lines...)
	return append(b, "\r\n"...)
}

// decodeFileFields reads what encode made for the same record of a site; false if it was made for another. Its lines are part of b, and the
// empty line lies behind them.
func decodeFileFields(b []byte, site *object.SiteRecord) (f fileFields, ok bool) {
	if len(b) < headFixed || b[0] != headForm && b[0] != headBare {
		return f, false
	}
	f.bare = b[0] == headBare
	at := headFixed + int(b[headFixed-1])
	if len(b) < at+2 || string(b[headFixed:at]) != string(site.Version) {
		return f, false
	}
	f.validators = int(binary.LittleEndian.Uint16(b[1:]))
	f.policy = int(binary.LittleEndian.Uint16(b[3:]))
	f.content = int(binary.LittleEndian.Uint16(b[5:]))
	f.modified = int64(binary.LittleEndian.Uint64(b[7:]))
	f.lines = b[at : len(b)-2]
	ok = etagStart+len("\"x\"\r\n") <= f.validators && f.validators <= f.policy && f.policy <= f.content && f.content <= len(f.lines)
	return f, ok
}

func (x *exchange) cacheControl() string {
	switch {
	case x.version != "":
		return immutableCacheControl
	case x.rule != nil && x.rule.ClientTTL != nil:
		return clientControl(*x.rule.ClientTTL)
	case x.pointer.CacheControl != "":
		return x.pointer.CacheControl
	case x.site.Rules.CacheControl != "":
		return x.site.Rules.CacheControl
	}
	return defaultCacheControl
}

// noType are the fields that keep browsers from guessing types.
var noType = map[string]bool{"x-content-type-options": true}

// safely adds what keeps published content from doing harm: nobody guesses its type, and what a browser may run script in has no origin, unless
// the site's record allows it. It comes behind the rules of the site, which can add a policy of their own and take none of this away: of several
// policies a browser obeys each.
func safely(f fields, site *object.SiteRecord, contentType string) fields {
	f = f.without(noType).add("X-Content-Type-Options", "nosniff")
	if active(contentType) && !site.Rules.AllowActive.Allows(mediaType(contentType)) {
		f = f.add("Content-Security-Policy", sandbox)
	}
	return f
}

// active reports whether a browser may run script in content of that type.
func active(contentType string) bool {
	t := mediaType(contentType)
	return t == "" || object.ActiveType(t) // it may make anything of what has no type
}

// mediaType returns the type without its parameters, or "" for what is no media type.
func mediaType(contentType string) string {
	t, _, err := mime.ParseMediaType(contentType)
	if err != nil || !strings.Contains(t, "/") {
		return ""
	}
	return t
}

// cacheStatus appends what the cache did (RFC 9211) and, on a hit, how long ago the log or the bucket last vouched for
// the answer (Age, RFC 9111 §5.1).
func (x *exchange) cacheStatus(b fields) fields {
	o := x.outcome
	s := x.s.node
	if o.Hit() {
		ago, left := x.s.engine.Vouched(x.site, x.path, x.version)
		return b.hit(s, ago, left, string(o.Reason))
	}
	s += "; fwd=" + string(o.Fwd)
	if o.Stored {
		s += "; stored"
	}
	if o.Collapsed {
		s += "; collapsed"
	}
	return b.add("Cache-Status", s+"; detail="+string(o.Reason))
}

// hit appends the lines of a hit that was vouched for ago, and is for as long as left.
func (f fields) hit(node string, ago, left time.Duration, reason string) fields {
	f = f.addInt("Age", int64(ago/time.Second))
	f = append(f, "Cache-Status: "...)
	f = append(f, node...)
	f = append(f, "; hit; ttl="...)
	f = strconv.AppendInt(f, int64(left/time.Second), 10)
	f = append(f, "; detail="...)
	f = append(f, reason...)
	return append(f, "\r\n"...)
}

// failureStatus is cacheStatus of an answer that is not the file.
func (x *exchange) failureStatus(b fields) fields {
	o := x.outcome
	s := x.s.node
	if x.remembered() { // the absence itself
		s += "; hit"
		ago, _ := x.s.engine.Vouched(x.site, x.path, x.version)
		b = b.addInt("Age", int64(ago/time.Second))
	} else if !o.Hit() {
		s += "; fwd=" + string(o.Fwd)
	}
	return b.add("Cache-Status", s+"; detail="+string(o.Reason))
}
