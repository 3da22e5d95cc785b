package lane

import "bytes"

// verdict is what parse makes of the bytes of a connection.
type verdict byte

const (
	accepted verdict = iota
	partial          // may become a head that is accepted
	refused          // not canonical: net/http's
)

// parse reads one head from the front of b into r, whose parts then alias b, and returns its length. Of what it accepts it
// must be true that net/http accepts it, finds the same parts in it, and as many bytes:
//
//	(GET|HEAD) SP origin-form SP HTTP/1.(0|1) CRLF *( token ":" OWS value OWS CRLF ) CRLF
//
// There is exactly one Host. No body is announced, nothing is expected, upgraded or folded. No line ends in a bare LF and none has a CR
// within. A head that is longer than limit is refused; so is one that has not ended by then.
func parse(r *Request, b []byte, limit int) (int, verdict) {
	*r = Request{}
	var f fieldState
	for at := 0; ; {
		end := bytes.IndexByte(b[at:], '\n')
		if end < 0 {
			if len(b) >= limit || !plausible(b[at:], at == 0) {
				return 0, refused
			}
			return 0, partial
		}
		next := at + end + 1
		if next > limit || end == 0 || b[next-2] != '\r' {
			return 0, refused
		}
		line := b[at : next-2]
		switch {
		case at == 0:
			if !r.parseLine(line) {
				return 0, refused
			}
		case len(line) == 0:
			if !f.conclude(r) {
				return 0, refused
			}
			return next, accepted
		case !f.parseField(r, line):
			return 0, refused
		}
		at = next
	}
}

// plausible reports whether a line that has not ended may be accepted one day. What cannot goes to net/http at once, which may know
// an end where the lane sees none, such as that of a client that waits for the answer to bare line feeds.
func plausible(b []byte, first bool) bool {
	if first && !begins(b, "GET /") && !begins(b, "HEAD /") {
		return false
	}
	for i, c := range b {
		if class[c]&inValue == 0 && (c != '\r' || i != len(b)-1) {
			return false
		}
	}
	return true
}

// begins reports whether one of b and s is the beginning of the other.
func begins(b []byte, s string) bool {
	n := min(len(b), len(s))
	return string(b[:n]) == s[:n]
}

// parseLine reads the request line.
func (r *Request) parseLine(b []byte) bool {
	switch {
	case len(b) > 5 && string(b[:5]) == "GET /":
		b = b[4:]
	case len(b) > 6 && string(b[:6]) == "HEAD /":
		r.Method = HEAD
		b = b[5:]
	default:
		return false
	}
	n := len(b) - len(" HTTP/1.1")
	if n < 1 || string(b[n:n+8]) != " HTTP/1." {
		return false
	}
	switch b[len(b)-1] {
	case '0':
		r.Close = true
	case '1':
		r.Minor = 1
	default:
		return false
	}
	r.Target = b[:n:n]
	for i, c := range r.Target {
		if class[c]&inTarget != 0 {
			continue
		}
		if c != '%' || n-i < 3 || class[b[i+1]]&hexadecimal == 0 || class[b[i+2]]&hexadecimal == 0 {
			return false
		}
	}
	return true
}

// fieldState is what must be remembered between the fields of a head.
type fieldState struct {
	connection bool // was there
}

// parseField reads one field.
func (f *fieldState) parseField(r *Request, b []byte) bool {
	n := 0
	for n < len(b) && class[b[n]]&inToken != 0 {
		n++
	}
	if n == 0 || n == len(b) || b[n] != ':' {
		return false
	}
	name, v := b[:n], b[n+1:]
	for _, c := range v {
		if class[c]&inValue == 0 {
			return false
		}
	}
	for len(v) > 0 && (v[0] == ' ' || v[0] == '\t') {
		v = v[1:]
	}
	for len(v) > 0 && (v[len(v)-1] == ' ' || v[len(v)-1] == '\t') {
		v = v[:len(v)-1]
	}
	return f.take(r, name, v[:len(v):len(v)])
}

// take keeps the value of a field that is used, and reports whether the head can still be accepted.
func (f *fieldState) take(r *Request, name, v []byte) bool {
	switch len(name) {
	case 4:
		if equalFold(name, "host") {
			return validHost(v) && once(&r.Host, v)
		}
	case 5:
		if equalFold(name, "range") {
			return once(&r.Range, v)
		}
	case 6:
		return !equalFold(name, "expect")
	case 7:
		if equalFold(name, "referer") {
			return once(&r.Referer, v)
		}
		return !equalFold(name, "upgrade") && !equalFold(name, "trailer")
	case 8:
		if equalFold(name, "if-match") {
			return once(&r.IfMatch, v)
		}
		if equalFold(name, "if-range") {
			return once(&r.IfRange, v)
		}
	case 10:
		if equalFold(name, "user-agent") {
			return once(&r.UserAgent, v)
		}
		if equalFold(name, "connection") {
			return f.takeConnection(r, v)
		}
	case 13:
		if equalFold(name, "if-none-match") {
			return once(&r.IfNoneMatch, v)
		}
	case 14:
		return !equalFold(name, "content-length") && !equalFold(name, "http2-settings")
	case 17:
		if equalFold(name, "if-modified-since") {
			return once(&r.IfModifiedSince, v)
		}
		return !equalFold(name, "transfer-encoding")
	case 19:
		if equalFold(name, "if-unmodified-since") {
			return once(&r.IfUnmodifiedSince, v)
		}
	}
	return true
}

// takeConnection accepts a single option, once. HTTP/1.0 with keep-alive is net/http's: its answer would have to repeat the option.
func (f *fieldState) takeConnection(r *Request, v []byte) bool {
	if f.connection {
		return false
	}
	f.connection = true
	if equalFold(v, "close") {
		r.Close = true
		return true
	}
	return equalFold(v, "keep-alive") && r.Minor == 1
}

// conclude checks what only the whole head can tell.
func (f *fieldState) conclude(r *Request) bool { return r.Host != nil }

func once(field *[]byte, v []byte) bool {
	if *field != nil {
		return false
	}
	*field = v
	return true
}

// equalFold compares b with s, which is in lower case; b may have ASCII letters in any case.
func equalFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i := range b {
		c := b[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != s[i] {
			return false
		}
	}
	return true
}

func validHost(b []byte) bool {
	for _, c := range b {
		if class[c]&inHost == 0 {
			return false
		}
	}
	return len(b) > 0
}

// Classes of bytes.
const (
	inToken     = 1 << iota // of a field name (RFC 9110 §5.6.2)
	inTarget                // of a target, '%' aside
	inValue                 // of a field value
	inHost                  // of a host that needs no interpretation
	hexadecimal             // digit
)

// class is a table and not a condition because it decides about every byte of every head.
var class = classes()

func classes() (t [256]byte) {
	const alnum = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	mark := func(set string, bit byte) {
		for i := range len(set) {
			t[set[i]] |= bit
		}
	}
	mark(alnum+"!#$%&'*+-.^_`|~", inToken)
	mark(alnum+"!$&'()*+,-./:;=?@[]_~", inTarget)
	mark(alnum+".-_:[]", inHost)
	mark("0123456789abcdefABCDEF", hexadecimal)
	for c := range 256 {
		if c >= ' ' && c != 0x7f || c == '\t' {
			t[c] |= inValue
		}
	}
	return t
}
