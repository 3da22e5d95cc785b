package strict

import (
	"bytes"
	"errors"
	"strings"
)

// The limits of a head.
const (
	MaxHead   = 32 << 10 // bytes
	maxFields = 200
)

// Reasons to refuse a message.
var (
	errLine     = errors.New("a line does not end with CRLF")
	errRequest  = errors.New("the request line is malformed")
	errVersion  = errors.New("the version is not HTTP/1.0 or HTTP/1.1")
	errField    = errors.New("a field line is malformed")
	errFold     = errors.New("a field is folded")
	errHost     = errors.New("there is not exactly one Host")
	errHosts    = errors.New("the target names another host than Host")
	errLength   = errors.New("Content-Length is malformed or repeated")
	errEncoding = errors.New("Transfer-Encoding is not chunked")
	errBoth     = errors.New("Content-Length and Transfer-Encoding contradict each other")
	errMany     = errors.New("the head is too large")
	errChunk    = errors.New("a chunk is malformed")
)

// framing is how a message's body ends.
type framing struct {
	chunked bool
	length  int64
}

// head is what the checks need to know of the fields seen so far.
type head struct {
	minor     byte // of HTTP/1
	authority string
	hosts     int
	host      string
	lengths   int
	encodings int
	framing
}

// checkHead checks a whole head, from its first line to the empty one, and says how the body ends.
func checkHead(b []byte) (framing, error) {
	var h head
	n := 0
	for first := true; ; first = false {
		i := bytes.IndexByte(b, '\n')
		if i < 1 || b[i-1] != '\r' {
			return framing{}, errLine
		}
		line := string(b[:i-1])
		b = b[i+1:]
		if line == "" && !first {
			break
		}
		if strings.IndexByte(line, '\r') >= 0 {
			return framing{}, errLine
		}
		err := errMany
		if first {
			err = h.requestLine(line)
		} else if n++; n <= maxFields {
			err = h.field(line)
		}
		if err != nil {
			return framing{}, err
		}
	}
	return h.finish()
}

// requestLine: RFC 9112 §3.
func (h *head) requestLine(line string) error {
	method, rest, ok := strings.Cut(line, " ")
	target, version, ok2 := strings.Cut(rest, " ")
	if !ok || !ok2 || !isToken(method) || target == "" || !visible(target) {
		return errRequest
	}
	if version != "HTTP/1.1" && version != "HTTP/1.0" {
		return errVersion
	}
	h.minor = version[7]
	if target[0] != '/' {
		if _, after, ok := strings.Cut(target, "://"); ok {
			end := strings.IndexAny(after, "/?#")
			if end < 0 {
				end = len(after)
			}
			h.authority = after[:end]
		}
	}
	return nil
}

// field: RFC 9112 §5, RFC 9110 §5.5.
func (h *head) field(line string) error {
	if line[0] == ' ' || line[0] == '\t' {
		return errFold
	}
	name, value, ok := strings.Cut(line, ":")
	if !ok || !isToken(name) || !isFieldValue(value) {
		return errField
	}
	value = strings.Trim(value, " \t")
	switch {
	case strings.EqualFold(name, "Host"):
		h.hosts, h.host = h.hosts+1, value
	case strings.EqualFold(name, "Content-Length"):
		h.lengths++
		n, ok := decimal(value)
		if !ok {
			return errLength
		}
		h.length = n
	case strings.EqualFold(name, "Transfer-Encoding"):
		h.encodings++
		if !strings.EqualFold(value, "chunked") {
			return errEncoding
		}
		h.chunked = true
	}
	return nil
}

// finish checks what can be said only when all fields are known.
func (h *head) finish() (framing, error) {
	switch {
	case h.hosts > 1, h.hosts == 0 && h.minor == '1':
		return framing{}, errHost
	case h.authority != "" && !strings.EqualFold(h.authority, h.host):
		return framing{}, errHosts
	case h.lengths > 1:
		return framing{}, errLength
	case h.encodings > 1, h.chunked && h.minor == '0':
		return framing{}, errEncoding
	case h.chunked && h.lengths > 0:
		return framing{}, errBoth
	}
	return h.framing, nil
}

func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

func visible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

func isFieldValue(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' && s[i] != '\t' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// decimal reads digits, 18 at most.
func decimal(s string) (n int64, ok bool) {
	if s == "" || len(s) > 18 {
		return 0, false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = 10*n + int64(s[i]-'0')
	}
	return n, true
}
