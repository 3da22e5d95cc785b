package pull

import (
	"bufio"
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"perigee/clock"
	"perigee/edge/strict"
)

// FuzzForwardedRequest: whatever a client sends, of what is let through, the origin sees one request, with the target that is in the key and the Host that it has, and no field that
// nobody keyed.
func FuzzForwardedRequest(f *testing.F) {
	for _, s := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET //b/../c%2f?d=e&f HTTP/1.1\r\nHost: A:80\r\nX-Forwarded-Host: evil\r\nConnection: x, keep-alive\r\nX: y\r\n\r\n",
		"GET http://a/b?c HTTP/1.1\r\nHost: a\r\nCookie: d\r\nX_Forwarded_Host: evil\r\n\r\n",
		"M-SEARCH /?? HTTP/1.0\r\nHost: [::1]:8080\r\nVia: 1.1 x\r\nRange: bytes=0-1\r\n\r\n",
		"GET /%zz;a=b HTTP/1.1\r\nHost: a\r\n\r\n", "GET /\x80\xff HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	origin, err := url.Parse("http://origin.example/base")
	if err != nil {
		f.Fatal(err)
	}
	site := &Site{Origin: origin}
	c := New(Config{Name: "edge", Clock: clock.System, Log: slog.New(slog.DiscardHandler)})
	f.Fuzz(func(t *testing.T, stream []byte) {
		clean, _ := io.ReadAll(strict.Wrap(&bytesConn{r: bytes.NewReader(stream)}))
		q, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(clean)))
		if err != nil {
			return
		}
		a, err := addressOf(q, site)
		if err != nil {
			return
		}
		if a.key != "http://"+a.uri.Host+a.target || strings.ToLower(a.uri.Host) != a.uri.Host {
			t.Fatalf("key %q of target %q", a.key, a.target)
		}
		q.RemoteAddr = "192.0.2.1:5"
		out := c.outgoing(q, site, a, forwardable(q.Header))
		var wire bytes.Buffer
		if err := out.Write(&wire); err != nil {
			return // net/http refuses it: nothing is sent
		}
		seen, err := http.ReadRequest(bufio.NewReader(io.MultiReader(bytes.NewReader(wire.Bytes()), strings.NewReader("GET /next HTTP/1.1\r\nHost: next\r\n\r\n"))))
		if err != nil {
			t.Fatalf("the origin cannot read %q: %v", wire.Bytes(), err)
		}
		if seen.RequestURI != "/base"+a.target || seen.Host != "origin.example" || seen.Method != q.Method {
			t.Fatalf("the origin sees %s %q of %q, the key has %q", seen.Method, seen.RequestURI, seen.Host, a.target)
		}
		for _, name := range unkeyed {
			if v := seen.Header.Get(name); v != "" && v != "192.0.2.1" && v != "http" && v != a.uri.Host {
				t.Fatalf("%s: %q reached the origin", name, v)
			}
		}
		if _, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(wire.Bytes()[:len(wire.Bytes())-1]))); err == nil {
			t.Fatalf("more than one request: %q", wire.Bytes())
		}
	})
}

// bytesConn is a connection from which bytes come.
type bytesConn struct {
	net.Conn
	r io.Reader
}

func (c *bytesConn) Read(p []byte) (int, error) { return c.r.Read(p) }
