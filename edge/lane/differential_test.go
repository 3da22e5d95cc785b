package lane

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// smuggling are heads over which servers have disagreed, and their neighbours that are in order.
var smuggling = []string{
	get("/"),
	get("/a/b?c=d&e=%20", "Range: bytes=0-1\r\n", "If-Range: \"x\"\r\n", "If-Match: *\r\n", "If-None-Match: \"a\", W/\"b\"\r\n"),
	get("/", "If-Modified-Since: x\r\n", "If-Unmodified-Since: y\r\n", "Referer: http://a/\r\n", "User-Agent:\r\n"),
	get("/") + get("/2"),
	"HEAD / HTTP/1.1\r\nHost: A.example:80\r\nConnection: CLOSE\r\n\r\n",
	get("/", "Connection: keep-alive\r\n"),
	get("/", "Connection: keep-alive, close\r\n"),
	get("/", "Connection: close\r\nConnection: keep-alive\r\n"),
	get("/", "Connection: \r\n"),
	"GET / HTTP/1.0\r\nHost: a\r\n\r\n",
	"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
	"GET / HTTP/1.0\r\n\r\n",
	"GET / HTTP/1.1\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n",
	"GET / HTTP/1.1\r\nHost:\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
	"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
	"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n\tb\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: \t a \t\r\n\r\n",
	"GET / HTTP/1.1\nHost: a\n\n",
	"GET / HTTP/1.1\r\nHost: a\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\n\n",
	"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nX: b\x00c\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nX: b\x7fc\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nX: \xff\xfe\r\n\r\n",
	get("/", "Content-Length: 0\r\n"),
	get("/", "Content-Length: 5\r\n") + "12345",
	get("/", "Content-Length: 5\r\nContent-Length: 6\r\n") + "123456",
	get("/", "Transfer-Encoding: chunked\r\n") + "0\r\n\r\n",
	get("/", "Transfer-Encoding : chunked\r\n") + "0\r\n\r\n",
	get("/", "transfer-encoding: identity\r\n"),
	get("/", "Transfer_Encoding: chunked\r\n"),
	get("/", "X: y\r\nContent-Length: 3\r\n") + get("/smuggled"),
	get("/", "Expect: 100-continue\r\n"),
	get("/", "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: \r\n"),
	get("/", "Trailer: X\r\n"),
	get("/", "TE: trailers\r\n"),
	get("/", "Range: bytes=0-1\r\nRange: bytes=2-3\r\n"),
	get("/", "Pragma: no-cache\r\n"),
	"POST / HTTP/1.1\r\nHost: a\r\n\r\n",
	"get / HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
	"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
	"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
	"GET / http/1.1\r\nHost: a\r\n\r\n",
	"GET /\r\n\r\n",
	"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET //b/c HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /%2 HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /%2f%2E%00 HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /a?b?c#d HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /\x80 HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /../a/./;b=c HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
	"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
	"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nX-" + strings.Repeat("y", 300) + ": z\r\n\r\n",
}

// seen is what matters of a request.
type seen struct {
	method, target, host string
	minor                int
	close                bool
	fields               [8]string
	used                 int
}

var usedFields = [8]string{"Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "Referer", "User-Agent"}

// byLane returns the requests at the front of b that the lane accepts.
func byLane(b []byte) (all []seen) {
	for at := 0; at < len(b); {
		var r Request
		n, v := parse(&r, b[at:], 8<<10)
		if v != accepted {
			return all
		}
		at += n
		s := seen{method: r.Method.String(), target: string(r.Target), host: string(r.Host), minor: int(r.Minor), close: r.Close, used: at}
		for i, f := range [8][]byte{r.Range, r.IfRange, r.IfMatch, r.IfNoneMatch, r.IfModifiedSince, r.IfUnmodifiedSince, r.Referer, r.UserAgent} {
			s.fields[i] = string(f)
		}
		if all = append(all, s); r.Close {
			return all
		}
	}
	return all
}

func seenBy(r *http.Request) (seen, error) {
	s := seen{method: r.Method, target: r.RequestURI, host: r.Host, minor: r.ProtoMinor, close: r.Close}
	for i, f := range usedFields {
		if len(r.Header[f]) > 1 {
			return s, fmt.Errorf("net/http has %s more than once", f)
		}
		s.fields[i] = r.Header.Get(f)
	}
	if n, err := io.Copy(io.Discard, r.Body); n != 0 || err != nil || r.ContentLength != 0 || len(r.TransferEncoding) != 0 || len(r.Trailer) != 0 {
		return s, fmt.Errorf("net/http sees a body: %d bytes, %v, length %d, %q", n, err, r.ContentLength, r.TransferEncoding)
	}
	return s, nil
}

// byReader returns what http.ReadRequest makes of the first n requests of b.
func byReader(t *testing.T, b []byte, n int) (all []seen) {
	under := bytes.NewReader(b)
	br := bufio.NewReader(under)
	for range n {
		r, err := http.ReadRequest(br)
		if err != nil {
			t.Fatalf("net/http refuses request %d: %v", len(all), err)
		}
		s, err := seenBy(r)
		if err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		s.used = len(b) - under.Len() - br.Buffered()
		all = append(all, s)
	}
	return all
}

// oneConn is a net.Conn that yields b and then its end.
type oneConn struct {
	net.Conn
	in  *bytes.Reader
	out bytes.Buffer
}

func (c *oneConn) Read(p []byte) (int, error)       { return c.in.Read(p) }
func (c *oneConn) Write(p []byte) (int, error)      { return c.out.Write(p) }
func (c *oneConn) Close() error                     { return nil }
func (c *oneConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *oneConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *oneConn) SetDeadline(time.Time) error      { return nil }
func (c *oneConn) SetReadDeadline(time.Time) error  { return nil }
func (c *oneConn) SetWriteDeadline(time.Time) error { return nil }

// byServer returns what the handler of a real http.Server is given for b.
func byServer(b []byte) (all []seen, failed error) {
	closed := make(chan struct{})
	ln := &chanListener{conns: make(chan net.Conn, 1), done: make(chan struct{}), addr: &net.TCPAddr{}}
	hs := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s, err := seenBy(r)
			all, failed = append(all, s), errors.Join(failed, err)
			w.Header().Set("Content-Length", "0")
		}),
		ConnState: func(_ net.Conn, s http.ConnState) {
			if s == http.StateClosed {
				close(closed)
			}
		},
	}
	served := make(chan struct{})
	go func() {
		hs.Serve(ln)
		close(served)
	}()
	ln.conns <- &oneConn{in: bytes.NewReader(b)}
	<-closed
	hs.Close()
	<-served
	return all, failed
}

// compare fails if the lane accepts what means something else to net/http.
func compare(t *testing.T, b []byte) {
	lane := byLane(b)
	if len(lane) == 0 {
		return
	}
	reader := byReader(t, b, len(lane))
	for i := range lane {
		// ReadRequest tells of close for 1.0 too, as the server does.
		if lane[i] != reader[i] {
			t.Fatalf("%q:\nlane     %+v\nnet/http %+v", b, lane[i], reader[i])
		}
	}
	server, err := byServer(b[:lane[len(lane)-1].used])
	if err != nil || len(server) != len(lane) {
		t.Fatalf("%q: the lane sees %d requests, http.Server %d, %v", b, len(lane), len(server), err)
	}
	for i := range lane {
		server[i].used = lane[i].used
		if lane[i] != server[i] {
			t.Fatalf("%q:\nlane        %+v\nhttp.Server %+v", b, lane[i], server[i])
		}
	}
}

// FuzzLaneAgainstNetHTTP: what the lane accepts means the same to net/http.
func FuzzLaneAgainstNetHTTP(f *testing.F) {
	for _, s := range smuggling {
		f.Add([]byte(s))
		f.Add([]byte(get("/first") + s))
	}
	f.Fuzz(compare)
}
