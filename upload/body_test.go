package upload

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"perigee/object"
)

func TestDigestIsVerified(t *testing.T) {
	b := newBench(t, Config{})
	field := func(body []byte) string {
		h := object.HashOf(body)
		return "sha-256=:" + base64.StdEncoding.EncodeToString(h[:]) + ":"
	}
	b.want(b.put("/small", "abc", "Repr-Digest", field([]byte("abc"))), 201)
	b.want(b.put("/wrong", "abd", "Content-Digest", field([]byte("abc"))), 400)
	large := noiseBytes(1, 9<<20)
	b.want(b.call("PUT", "/api/v1/sites/www/files/large", bytes.NewReader(large), "Repr-Digest", field(large)), 201)
	large[0]++
	b.want(b.call("PUT", "/api/v1/sites/www/files/wrong", bytes.NewReader(large), "Repr-Digest", field([]byte("abc"))), 400)
	if !b.missing("/wrong") {
		t.Error("a body with the wrong hash was published")
	}
	b.consistent()
}

func TestBrokenBody(t *testing.T) {
	b := newBench(t, Config{Idle: 300 * time.Millisecond})
	b.want(b.put("/old", "old"), 201)
	for _, c := range []struct {
		name           string
		declared, sent int64
		silent         bool // keeps the connection open and says nothing more
	}{
		{"small, cut", 1000, 10, false},
		{"large, cut", 64 << 20, 33 << 20, false},
		{"large, cut at once", 64 << 20, 1, false},
		{"small, silent", 1000, 10, true},
		{"large, silent", 64 << 20, 17 << 20, true},
	} {
		for _, path := range []string{"/old", "/new", "/bad//path"} {
			if path == "/bad//path" && c.declared > 1000 {
				continue // refused before it is read: it cannot be written to the end
			}
			conn, err := net.Dial("tcp", b.server.Listener.Addr().String())
			b.must(err)
			fmt.Fprintf(conn, "PUT /api/v1/sites/www/files%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", path, c.declared)
			_, err = io.Copy(conn, noise(1, c.sent))
			b.must(err)
			if !c.silent {
				b.must(conn.(*net.TCPConn).CloseWrite())
			}
			if a := readAnswer(t, conn, "PUT"); a.status < 400 || a.status >= 500 || c.silent && path != "/bad//path" && a.status != http.StatusRequestTimeout {
				t.Errorf("%s: %d %s", c.name, a.status, a.body)
			}
			conn.Close()
		}
	}
	for _, f := range []File{
		{Body: strings.NewReader("abc"), Size: 2}, {Body: strings.NewReader("abc"), Size: 4},
		{Body: noise(1, 9<<20), Size: 9<<20 - 1}, {Body: noise(1, 9<<20), Size: 9<<20 + 1},
	} {
		f.Site, f.Path = "www", "/new"
		if _, err := b.pub.Publish(t.Context(), f); err == nil || answerTo(err) < 0 || answers[answerTo(err)].err != ErrIncomplete {
			t.Errorf("size %d: %v", f.Size, err)
		}
	}
	if s, _ := b.content("www", "/old"); s != "old" || !b.missing("/new") {
		t.Errorf("a broken body was published: %q", s)
	}
	b.consistent()
}

func TestLargeAndUnknownLength(t *testing.T) {
	b := newBench(t, Config{})
	for _, size := range []int64{smallBody - 1, smallBody, smallBody + 1, unknownPart, unknownPart + 1, 25<<20 + 17} {
		body, err := io.ReadAll(noise(byte(size), size))
		b.must(err)
		for _, known := range []bool{true, false} {
			path := fmt.Sprintf("/f-%d-%v", size, known)
			var r io.Reader = bytes.NewReader(body)
			if !known {
				r = io.MultiReader(r)
			}
			got := b.want(b.call("PUT", "/api/v1/sites/www/files"+path, r), 201).result(t)
			if got.Size != size || got.SHA256 != object.HashOf(body) {
				t.Errorf("%s: %+v", path, got)
			}
		}
	}
	b.consistent()
}

func TestSameBytesAreStoredOnce(t *testing.T) {
	b := newBench(t, Config{})
	b.want(b.put("/a", "same"), 201)
	b.want(b.put("/b", "same"), 201)
	n := 0
	for _, err := range b.reader.List(t.Context(), "b/") {
		b.must(err)
		n++
	}
	if n != 1 {
		t.Errorf("%d blobs", n)
	}
	b.consistent()
}

func TestConcurrentPuts(t *testing.T) {
	b := newBench(t, Config{Memory: minMemory})
	const writers = 24
	done := make(chan answer, writers)
	for i := range writers {
		go func() {
			path := "/same"
			if i%3 == 0 {
				path = fmt.Sprintf("/own-%d", i)
			}
			var body io.Reader = strings.NewReader(fmt.Sprint(i))
			if i%8 == 0 {
				body = noise(byte(i), 10<<20)
			}
			done <- b.call("PUT", "/api/v1/sites/www/files"+path, body)
		}()
	}
	created := 0
	for range writers {
		if a := <-done; a.status == 201 {
			created++
		} else if a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if created != 1+writers/3 {
		t.Errorf("%d answers said that the file is new", created)
	}
	b.consistent()
}
