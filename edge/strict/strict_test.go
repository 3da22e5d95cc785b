package strict

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// pieces is a connection from which bytes come in pieces.
type pieces struct {
	net.Conn
	left []byte
	size int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.left) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.left[:min(len(p.left), p.size)])
	p.left = p.left[n:]
	return n, nil
}

// through returns what a server could read of a stream.
func through(stream string, size int) (string, error) {
	c := Wrap(&pieces{left: []byte(stream), size: size})
	b, err := io.ReadAll(c)
	return string(b), errors.Join(err, c.Refused())
}

const host = "Host: a\r\n"

func TestRightMessagesPassUnchanged(t *testing.T) {
	for name, stream := range map[string]string{
		"get":            "GET / HTTP/1.1\r\n" + host + "\r\n",
		"HTTP/1.0":       "GET / HTTP/1.0\r\n\r\n",
		"pipelined":      strings.Repeat("GET /x HTTP/1.1\r\n"+host+"\r\n", 5),
		"body":           "POST / HTTP/1.1\r\n" + host + "Content-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\n" + host + "\r\n",
		"chunked":        "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: Chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\n" + host + "\r\n",
		"trailer":        "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n00A\r\n0123456789\r\n0\r\nX: y\r\nZ: \r\n\r\nGET / HTTP/1.1\r\n" + host + "\r\n",
		"absolute":       "GET http://A/x HTTP/1.1\r\n" + host + "\r\n",
		"unknown method": "M-SEARCH * HTTP/1.1\r\n" + host + "\r\n",
		"obs-text":       "GET / HTTP/1.1\r\n" + host + "X: \xff\xe4\r\n\r\n",
	} {
		for _, size := range []int{1, 2, 7, 10000} {
			if got, err := through(stream, size); err != nil || got != stream {
				t.Errorf("%s in pieces of %d: %q, %v", name, size, got, err)
			}
		}
	}
	if got, err := through("\r\nGET / HTTP/1.1\r\n"+host+"\r\n", 1); err != nil || !strings.HasPrefix(got, "GET") {
		t.Errorf("an empty line before a request: %q, %v", got, err)
	}
}

// Each of these is read in two ways by some pair of programs.
func TestAmbiguousMessagesAreRefused(t *testing.T) {
	const post = "POST / HTTP/1.1\r\n" + host
	const chunked = post + "Transfer-Encoding: chunked\r\n\r\n"
	for name, c := range map[string]struct {
		stream string
		want   error
	}{
		"bare LF after the request line": {"GET / HTTP/1.1\n" + host + "\r\n", errLine},
		"bare LF after a field":          {"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", errLine},
		"bare LF at the end":             {"GET / HTTP/1.1\r\n" + host + "\n", errLine},
		"bare CR":                        {"GET / HTTP/1.1\r\n" + host + "X: a\rY: b\r\n\r\n", errLine},
		"obs-fold":                       {"GET / HTTP/1.1\r\n" + host + "X: a\r\n b\r\n\r\n", errFold},
		"space before the colon":         {"GET / HTTP/1.1\r\n" + host + "Content-Length : 5\r\n\r\n", errField},
		"NUL":                            {"GET / HTTP/1.1\r\n" + host + "X: \x00\r\n\r\n", errField},
		"no colon":                       {"GET / HTTP/1.1\r\n" + host + "X\r\n\r\n", errField},
		"two spaces":                     {"GET  / HTTP/1.1\r\n" + host + "\r\n", errRequest},
		"space in the target":            {"GET /a b HTTP/1.1\r\n" + host + "\r\n", errVersion},
		"tab in the target":              {"GET /a\tb HTTP/1.1\r\n" + host + "\r\n", errRequest},
		"HTTP/0.9":                       {"GET /\r\n\r\n", errRequest},
		"HTTP/2 preface":                 {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", errVersion},
		"HTTP/1.2":                       {"GET / HTTP/1.2\r\n" + host + "\r\n", errVersion},
		"no Host":                        {"GET / HTTP/1.1\r\n\r\n", errHost},
		"two Hosts":                      {"GET / HTTP/1.1\r\n" + host + host + "\r\n", errHost},
		"another host in the target":     {"GET http://b/ HTTP/1.1\r\n" + host + "\r\n", errHosts},
		"CL.TE":                          {post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", errBoth},
		"TE.CL":                          {post + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", errBoth},
		"two lengths":                    {post + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", errLength},
		"list of lengths":                {post + "Content-Length: 5, 5\r\n\r\nhello", errLength},
		"signed length":                  {post + "Content-Length: +5\r\n\r\nhello", errLength},
		"length in hex":                  {post + "Content-Length: 0x5\r\n\r\nhello", errLength},
		"huge length":                    {post + "Content-Length: 9999999999999999999\r\n\r\n", errLength},
		"no length":                      {post + "Content-Length:\r\n\r\n", errLength},
		"TE twice":                       {post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", errEncoding},
		"TE identity":                    {post + "Transfer-Encoding: identity\r\n\r\n", errEncoding},
		"TE gzip, chunked":               {post + "Transfer-Encoding: gzip, chunked\r\n\r\n", errEncoding},
		"TE with a vertical tab":         {post + "Transfer-Encoding: \x0bchunked\r\n\r\n", errField},
		"TE quoted":                      {post + "Transfer-Encoding: \"chunked\"\r\n\r\n", errEncoding},
		"TE in HTTP/1.0":                 {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", errEncoding},
		"many fields":                    {"GET / HTTP/1.1\r\n" + host + strings.Repeat("X: y\r\n", 300) + "\r\n", errMany},
		"long head":                      {"GET / HTTP/1.1\r\n" + host + "X: " + strings.Repeat("y", MaxHead) + "\r\n\r\n", errMany},
		"two empty lines":                {"\r\n\r\nGET / HTTP/1.1\r\n" + host + "\r\n", errRequest},
		"chunk size with 0x":             {chunked + "0x5\r\nhello\r\n0\r\n\r\n", errChunk},
		"chunk size with a space":        {chunked + "5 \r\nhello\r\n0\r\n\r\n", errChunk},
		"chunk size with LF":             {chunked + "5\nhello\r\n0\r\n\r\n", errChunk},
		"chunk size that is huge":        {chunked + "10000000000000005\r\nhello\r\n0\r\n\r\n", errChunk},
		"chunk extension with CR":        {chunked + "5;a\rb\r\nhello\r\n0\r\n\r\n", errChunk},
		"chunk extension that is long":   {chunked + "5;" + strings.Repeat("a", 600) + "\r\nhello\r\n0\r\n\r\n", errMany},
		"chunk that is longer":           {chunked + "5\r\nhelloX\r\n0\r\n\r\n", errChunk},
		"chunk that ends with LF":        {chunked + "5\r\nhello\n0\r\n\r\n", errChunk},
		"trailer that is folded":         {chunked + "0\r\nX: y\r\n z\r\n\r\n", errFold},
		"trailer with LF":                {chunked + "0\r\nX: y\nZ: \r\n\r\n", errLine},
		"request behind a body":          {post + "Content-Length: 5\r\n\r\nhelloGET / HTTP/1.1\nHost: a\n\n", errLine},
	} {
		for _, size := range []int{1, 3, 10000} {
			if got, err := through(c.stream, size); !errors.Is(err, c.want) {
				t.Errorf("%s in pieces of %d: %q, %v, want %v", name, size, got, err, c.want)
			}
		}
	}
}

// A message that ends early is not made whole.
func TestBrokenOffMessages(t *testing.T) {
	for _, stream := range []string{
		"POST / HTTP/1.1\r\n" + host + "Content-Length: 5\r\n\r\nhel",
		"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
		"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
	} {
		got, _ := through(stream, 100)
		req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(got)))
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(req.Body); err == nil {
			t.Errorf("%q was read as a whole body %q", stream, b)
		}
	}
}

// FuzzAgainstNetHTTP: what is let through is what came, up to where it was refused, and net/http reads every head and body of it without an error and to
// the same end.
func FuzzAgainstNetHTTP(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\n" + host + "\r\nGET / HTTP/1.0\r\n\r\n"))
	f.Add([]byte("POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.1\r\n" + host + "\r\n"))
	f.Add([]byte("POST / HTTP/1.1\r\n" + host + "Content-Length: 3\r\n\r\nabcGET / HTTP/1.1\n"))
	seeds, _ := filepath.Glob("testdata/*.http")
	for _, name := range seeds {
		if b, err := os.ReadFile(name); err == nil {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		c := Wrap(&pieces{left: stream, size: 1 + len(stream)/3})
		got, err := io.ReadAll(c)
		clean := bytes.TrimSuffix(got, refused)
		if c.Refused() == nil {
			clean = got
		}
		if !bytes.Contains(stream, clean) && !bytes.Contains(bytes.ReplaceAll(stream, []byte("\r\n"), nil), bytes.ReplaceAll(clean, []byte("\r\n"), nil)) {
			t.Fatalf("%q was made of %q", clean, stream)
		}
		if err != nil {
			return // broken off in the middle of a message
		}
		for r := bufio.NewReader(bytes.NewReader(clean)); ; {
			if _, err := r.Peek(1); err == io.EOF {
				return
			}
			req, err := http.ReadRequest(r)
			if err != nil {
				if uncommon(err) {
					return
				}
				t.Fatalf("%v in %q", err, clean)
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				t.Fatalf("body: %v in %q", err, clean)
			}
		}
	})
}

// uncommon reports errors of net/http about what has one meaning only: it is refused there, with 400.
func uncommon(err error) bool {
	for _, s := range []string{"invalid URI", "invalid URL", "parse \"", "malformed Host", "bad trailer key", "invalid header", "malformed MIME header", "invalid method", "unexpected EOF"} {
		if strings.Contains(err.Error(), s) {
			return true
		}
	}
	return false
}

// timed fails its first reads with a deadline, as net/http makes them when a handler ends.
type timed struct {
	pieces
	fails int
}

func (c *timed) Read(b []byte) (int, error) {
	if c.fails > 0 {
		c.fails--
		return 0, os.ErrDeadlineExceeded
	}
	return c.pieces.Read(b)
}

// The first deadline used to end a connection for good.
func TestADeadlineIsNotTheEnd(t *testing.T) {
	c := Wrap(&timed{pieces: pieces{left: []byte("GET / HTTP/1.1\r\n" + host + "\r\n"), size: 100}, fails: 2})
	var b [100]byte
	for range 2 {
		if n, err := c.Read(b[:]); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("%d, %v", n, err)
		}
	}
	if n, err := c.Read(b[:]); err != nil || n == 0 {
		t.Fatalf("%d, %v", n, err)
	}
}
