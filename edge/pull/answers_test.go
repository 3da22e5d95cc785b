package pull

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// rawOrigin answers each connection with the same bytes after a request's head, and closes it.
func (w *wire) rawOrigin(answer string) {
	w.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(10 * time.Second))
				if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
					io.WriteString(c, answer)
				}
			}()
		}
	}()
	w.site.Origin, _ = url.Parse("http://" + ln.Addr().String())
}

// exchange sends one request on a connection of its own and returns all the bytes that come back.
func (w *wire) exchange(stream string) string {
	w.t.Helper()
	c, err := net.Dial("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, stream); err != nil {
		w.t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil {
		w.t.Fatalf("%v after %q", err, b)
	}
	return string(b)
}

// TestResponsesAreNotSplit: whatever an origin writes into a field, and whatever a client writes into a target that a rule sends back, the client gets one
// response, with no field that nobody meant.
func TestResponsesAreNotSplit(t *testing.T) {
	for name, value := range map[string]string{
		"CR":                "a\rInjected: yes",
		"NUL":               "a\x00Injected: yes",
		"LF alone":          "a\nInjected: yes", // this one is a field by the text that it follows, of the origin's own making
		"a whole response":  "a\r\r\nHTTP/1.1 200 OK\rContent-Length: 0\r\r",
		"a fold":            "a\r\n\tInjected: yes",
		"CR before a space": "a\r Injected: yes",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWire(t, nil)
			w.rawOrigin("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nCache-Control: max-age=60\r\nX-Field: " + value + "\r\n\r\nhello")
			for range 2 { // the second time from the store, if it is kept
				got := w.exchange("GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
				if n := strings.Count(got, "HTTP/1.1 "); n != 1 && !strings.Contains(got, " HTTP/1.1 200 OK") {
					t.Errorf("%d responses: %q", n, got)
				}
				head, _, _ := strings.Cut(got, "\r\n\r\n")
				for i, line := range strings.Split(head, "\r\n") {
					if strings.ContainsAny(line, "\r\n\x00") || name != "LF alone" && strings.HasPrefix(line, "Injected") || i > 0 && strings.HasPrefix(line, "HTTP/") {
						t.Errorf("line %q", line)
					}
				}
			}
		})
	}
}

// TestRedirectsAreTheClients: where an origin redirects to is not fetched, not even from a place that would be allowed.
func TestRedirectsAreTheClients(t *testing.T) {
	inside := newWire(t, func(rw http.ResponseWriter, _ *http.Request) { io.WriteString(rw, "secret") })
	for _, status := range []int{301, 302, 303, 307, 308} {
		w := newWire(t, func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Location", inside.site.Origin.String())
			rw.Header().Set("Refresh", "0; url="+inside.site.Origin.String())
			rw.WriteHeader(status)
		})
		got := w.exchange("GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
		if !strings.HasPrefix(got, fmt.Sprint("HTTP/1.1 ", status)) || !strings.Contains(got, "Location: "+inside.site.Origin.String()+"\r\n") || strings.Contains(got, "secret") {
			t.Errorf("%d: %q", status, got)
		}
	}
	if n := len(inside.seen()); n > 0 {
		t.Errorf("the edge went where it was sent, %d times", n)
	}
}
