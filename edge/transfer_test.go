package edge

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"perigee/edge/cache/cachetest"
	"perigee/object"
)

// A client that takes a little now and then is served for as long as it takes.
func TestSlowClientIsServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPipes(t, time.Second)
		data := cachetest.Bytes(2*mib, 1)
		w.o.Publish("www", "/file", 1, data)
		c := w.dial()
		defer c.Close()
		began := time.Now()
		go io.WriteString(c, wire("GET", "/file", "Connection: close"))
		r := &slowReader{c: c, pause: w.s.writeIdle / 4}
		a, err := readAnswer(bufio.NewReaderSize(r, writePiece), "GET")
		if err != nil || !bytes.Equal(a.body, data) {
			t.Fatalf("%v", err)
		}
		if took := time.Since(began); took < 5*w.s.writeIdle {
			t.Errorf("took %v: the test is too quick to show anything", took)
		}
	})
}

// slowReader waits before each read.
type slowReader struct {
	c     net.Conn
	pause time.Duration
}

func (s *slowReader) Read(p []byte) (int, error) {
	time.Sleep(s.pause)
	return io.ReadFull(s.c, p[:min(len(p), 32<<10)])
}

// conns is how many connections the server has.
func (w *web) conns() int64 { return w.s.conns() }

func TestStalledClientIsCutOff(t *testing.T) {
	data := cachetest.Bytes(2*mib, 2)
	for name, send := range map[string]string{
		"in a body":      wire("GET", "/file"),
		"in a small one": wire("GET", "/small"),
		"in a 304":       wire("GET", "/small", "If-None-Match: *"),
		"in a 404":       wire("GET", "/absent"),
		"in a head":      wire("HEAD", "/file"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newPipes(t, time.Second)
				w.o.Publish("www", "/file", 1, data)
				w.o.Publish("www", "/small", 1, []byte("x"))
				c := w.dial()
				defer c.Close()
				began := time.Now()
				io.WriteString(c, send)
				synctest.Wait()
				if w.conns() != 1 {
					t.Fatalf("%d connections", w.conns())
				}
				time.Sleep(w.s.writeIdle - time.Second)
				if w.conns() != 1 {
					t.Errorf("cut off after %v", time.Since(began))
				}
				time.Sleep(2 * time.Second)
				synctest.Wait()
				if w.conns() != 0 {
					t.Error("still there")
				}
			})
		})
	}
}

// A client that stops reading in the middle of a body is cut off as well.
func TestClientStallsMidBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPipes(t, time.Second)
		data := cachetest.Bytes(3*mib, 3)
		w.o.Publish("www", "/file", 1, data)
		c := w.dial()
		defer c.Close()
		io.WriteString(c, wire("GET", "/file"))
		if _, err := io.ReadFull(c, make([]byte, 2*mib)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(w.s.writeIdle + time.Second)
		synctest.Wait()
		if w.conns() != 0 {
			t.Error("still there")
		}
		rest, err := io.ReadAll(c)
		if len(rest) >= mib {
			t.Errorf("got %d more bytes, %v", len(rest), err)
		}
	})
}

// The deadline of one answer must not hurt the next one on the same connection, however late that comes.
func TestDeadlinesEndWithTheirAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPipes(t, time.Second)
		data := cachetest.Bytes(2*mib, 4)
		p := w.o.Publish("www", "/file", 1, data)
		c := w.dial()
		defer c.Close()
		r := bufio.NewReader(c)
		for _, q := range []struct {
			method, target, field string
			status                int
		}{
			{"GET", "/file", "X: y", 200}, {"GET", "/file", "If-None-Match: *", 304}, {"HEAD", "/file", "X: y", 200}, {"GET", "/absent", "X: y", 404},
			{"GET", "/file", "Range: bytes=0-9", 206}, {"GET", "/file", "Range: bytes=99999999-", 416}, {"GET", "/file", "X: y", 200},
		} {
			a := w.askOn(c, r, q.method, q.target, q.field)
			if a.StatusCode != q.status {
				t.Fatalf("%s %s: %d", q.method, q.target, a.StatusCode)
			}
			time.Sleep(w.s.writeIdle + 30*time.Second) // less than IdleTimeout
		}
		// Nor must the time that the origin takes count against the client.
		release := make(chan struct{})
		slow := cachetest.Bytes(100, 5)
		sp := w.o.Publish("www", "/slow", 1, slow)
		w.o.Break(sp.Blob, cachetest.Fault{Hold: release})
		time.AfterFunc(2*w.s.writeIdle, func() { close(release) })
		if a := w.askOn(c, r, "GET", "/slow"); a.StatusCode != 200 || !bytes.Equal(a.body, slow) {
			t.Fatalf("%d", a.StatusCode)
		}
		w.o.Break(p.Blob, cachetest.Fault{Err: errUnplugged})
		gone := w.o.Publish("www", "/late-failure", 1, cachetest.Bytes(100, 6))
		late := make(chan struct{})
		w.o.Break(gone.Blob, cachetest.Fault{Hold: late, Err: errUnplugged})
		time.AfterFunc(2*w.s.writeIdle, func() { close(late) })
		if a := w.askOn(c, r, "GET", "/late-failure"); a.StatusCode != 502 {
			t.Fatalf("%d", a.StatusCode)
		}
	})
}

// A client that announces a body and sends none used to keep its connection for ever.
func TestBodyThatNeverComes(t *testing.T) {
	for _, method := range []string{"GET", "HEAD", "POST"} {
		for _, field := range []string{"Content-Length: 1000", "Content-Length: 1000000000", "Transfer-Encoding: chunked"} {
			synctest.Test(t, func(t *testing.T) {
				w := newPipes(t, time.Second)
				w.o.Publish("www", "/file", 1, []byte("hello"))
				c := w.dial()
				defer c.Close()
				go io.WriteString(c, wire(method, "/file", field))
				a, err := readAnswer(bufio.NewReader(c), method)
				if err != nil || (a.StatusCode == 200) != (method != "POST") {
					t.Fatalf("%s, %s: %v", method, field, err)
				}
				time.Sleep(bodyPatience + time.Second)
				synctest.Wait()
				if w.conns() != 0 {
					t.Errorf("%s, %s: the connection is still there", method, field)
				}
			})
		}
	}
	// A small body that does come is ignored, and the connection goes on, for as long as an answer takes.
	synctest.Test(t, func(t *testing.T) {
		w := newPipes(t, time.Second)
		data := cachetest.Bytes(mib, 7)
		p := w.o.Publish("www", "/file", 1, data)
		release := make(chan struct{})
		w.o.Break(p.Blob, cachetest.Fault{Hold: release})
		time.AfterFunc(5*bodyPatience, func() { close(release) })
		c := w.dial()
		defer c.Close()
		r := bufio.NewReader(c)
		go io.WriteString(c, wire("GET", "/file", "Content-Length: 5")+"hello"+wire("GET", "/file"))
		for range 2 {
			if a, err := readAnswer(r, "GET"); err != nil || !bytes.Equal(a.body, data) {
				t.Fatalf("%v", err)
			}
		}
	})
}

func TestLimits(t *testing.T) { overBoth(t, testLimits) }

func testLimits(t *testing.T, newWeb opener) {
	w := newWeb(t, nil)
	w.o.Publish("www", "/file", 1, []byte("hello"))
	for name, c := range map[string]struct {
		target string
		fields []string
		status int
	}{
		"a few fields":     {"/file", []string{"X: " + strings.Repeat("x", 8000)}, 200},
		"one large field":  {"/file", []string{"X: " + strings.Repeat("x", 100_000)}, 431},
		"many fields":      {"/file", strings.Split(strings.TrimSuffix(strings.Repeat("X: y\n", 20_000), "\n"), "\n"), 431},
		"long query":       {"/file?" + strings.Repeat("q", 20_000), nil, 200},
		"very long query":  {"/file?" + strings.Repeat("q", 100_000), nil, 431},
		"long etag list":   {"/file", []string{"If-None-Match: " + strings.Repeat(`"x",`, 5000)}, 200},
		"broken etag list": {"/file", []string{"If-None-Match: " + strings.Repeat(`W/`, 5000)}, 200},
	} {
		c1 := w.dial()
		go io.WriteString(c1, wire("GET", c.target, c.fields...)) // the server may answer before it has read all
		a, err := readAnswer(bufio.NewReader(c1), "GET")
		if a == nil || a.StatusCode != c.status {
			t.Errorf("%s: %v, %v, want %d", name, a, err, c.status)
		}
		c1.Close()
	}
	// A head that does not end is cut off by ReadHeaderTimeout, a connection without requests by IdleTimeout.
	synctest.Test(t, func(t *testing.T) {
		w := newPipes(t, time.Second)
		c := w.dial()
		defer c.Close()
		io.WriteString(c, "GET /file HTTP/1.1\r\nHost: www.example\r\n")
		synctest.Wait()
		if w.conns() != 1 {
			t.Fatal(w.conns())
		}
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if w.conns() != 0 {
			t.Error("a head that does not end keeps its connection")
		}
	})
}

// No stored value reaches the head of an answer as a line of its own.
func TestStoredValuesCannotSplitAnswers(t *testing.T) {
	overBoth(t, testStoredValuesCannotSplitAnswers)
}

func testStoredValuesCannotSplitAnswers(t *testing.T, newWeb opener) {
	w := newWeb(t, nil)
	for _, evil := range []string{"text/plain\r\nX-Evil: 1", "text/plain\nX-Evil: 1", "text/plain\r\n\r\n<script>", "a\x00b"} {
		for _, field := range []string{"content_type", "cache_control"} {
			p := cachetest.Pointer("www", "/file", 1, []byte("x"))
			p.ContentType = "placeholder"
			p.CacheControl = "placeholder"
			enc := string(object.MarshalPointer(p))
			enc = strings.Replace(enc, `"`+field+`":"placeholder"`, fmt.Sprintf(`"%s":%q`, field, evil), 1)
			w.o.PutBlob([]byte("x"))
			w.o.Put(object.HeadKey("www", "/file"), []byte(enc))
			a := w.ask("GET", "/file")
			if a.StatusCode != 502 || a.Header.Get("X-Evil") != "" {
				t.Errorf("%s=%q: %d %v", field, evil, a.StatusCode, a.Header)
			}
		}
	}
	a := w.ask("GET", "/%0d%0aX-Evil:%201")
	if a.StatusCode != 400 || a.Header.Get("X-Evil") != "" {
		t.Errorf("%d %v", a.StatusCode, a.Header)
	}
}

func TestManyClients(t *testing.T) { overBoth(t, testManyClients) }

func testManyClients(t *testing.T, newWeb opener) {
	w := newWeb(t, nil)
	data := cachetest.Bytes(mib+500_000, 8)
	p := w.o.Publish("www", "/file", 1, data)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 50}}
	defer client.CloseIdleConnections()
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			for n := range 3 {
				req, _ := http.NewRequest("GET", "http://"+w.addr+"/file", nil)
				req.Host = "www.example"
				want := data
				if (i+n)%3 == 0 {
					req.Header.Set("Range", "bytes=1048000-1050000")
					want = data[1048000:1050001]
				}
				res, err := client.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				if (i+n)%5 == 0 { // leaves in the middle
					io.CopyN(io.Discard, res.Body, 1000)
					res.Body.Close()
					continue
				}
				got, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
			}
		})
	}
	wg.Wait()
	if n := w.o.Reads(p.Blob); n != 1 {
		t.Errorf("%d origin reads", n)
	}
	client.CloseIdleConnections()
	if err := w.stop(); err != nil {
		t.Error(err)
	}
	if w.conns() != 0 {
		t.Errorf("%d connections after Serve has returned", w.conns())
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if name, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && (strings.Contains(name, "/blobs/") || strings.Contains(name, "/tmp/"+p.Hash.String()[:16])) {
			t.Errorf("left open: %s", name)
		}
	}
}

// Serve used to return while handlers were still at work on an engine that was closed next.
func TestServeWaitsForItsHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPipes(t, 5*time.Second)
		data := cachetest.Bytes(3*mib, 9)
		p := w.o.Publish("www", "/file", 1, data)
		w.o.Break(p.Blob, cachetest.Fault{Hold: make(chan struct{}), At: 2 * mib})
		c := w.dial()
		defer c.Close()
		io.WriteString(c, wire("GET", "/file"))
		if _, err := io.ReadFull(c, make([]byte, mib)); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := w.stop(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("grace lasted %v", took)
		}
		if w.conns() != 0 {
			t.Errorf("%d handlers left", w.conns())
		}
	})
}

func TestServeLetsRequestsFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPipes(t, time.Minute)
		data := cachetest.Bytes(3*mib, 10)
		p := w.o.Publish("www", "/file", 1, data)
		release := make(chan struct{})
		w.o.Break(p.Blob, cachetest.Fault{Hold: release, At: 2 * mib})
		c := w.dial()
		defer c.Close()
		got := make(chan error, 1)
		go func() {
			io.WriteString(c, wire("GET", "/file"))
			a, err := readAnswer(bufio.NewReader(c), "GET")
			if err == nil && !bytes.Equal(a.body, data) {
				err = errors.New("wrong bytes")
			}
			got <- err
		}()
		w.o.Await(t, p.Blob, 1)
		time.AfterFunc(10*time.Second, func() { close(release) })
		if err := w.stop(); err != nil {
			t.Error(err)
		}
		if err := <-got; err != nil {
			t.Error(err)
		}
	})
}

func TestServeWithABrokenListener(t *testing.T) {
	w := newPipes(t, time.Second)
	broken := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	broken.Close()
	if err := w.s.Serve(t.Context(), broken, time.Second); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v", err)
	}
}
