package pull

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestAFreshResponseIsUsedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.o.repeats(200, "hello", "Cache-Control: max-age=60", "Content-Type: text/plain")
		r.expect(r.get("/a?b=c"), 200, "hello", "fwd=uri-miss; stored; detail=not-held")
		time.Sleep(10 * time.Second)
		g := r.get("/a?b=c")
		r.expect(g, 200, "hello", "hit; ttl=50; detail=fresh")
		if g.Header().Get("Age") != "10" || g.Header().Get("Content-Length") != "5" || g.Header().Get("Content-Type") != "text/plain" {
			t.Errorf("fields: %v", g.Header())
		}
		r.expect(r.get("/a?b=d"), 200, "hello", "fwd=uri-miss")
		time.Sleep(51 * time.Second)
		r.expect(r.get("/a?b=c"), 200, "hello", "fwd=stale")
		r.reads(3)
	})
}

func TestAnExpiredResponseIsConfirmed(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.o.repeats(200, "hello", "Cache-Control: max-age=5", `ETag: "1"`, "X-A: old", "X-B: kept")
		r.get("/")
		time.Sleep(6 * time.Second)
		r.o.repeats(304, "", "Cache-Control: max-age=60", `ETag: "1"`, "X-A: new")
		g := r.get("/")
		r.expect(g, 200, "hello", "fwd=stale; fwd-status=304; ttl=60; detail=validated")
		if g.Header().Get("X-A") != "new" || g.Header().Get("X-B") != "kept" {
			t.Errorf("fields: %v", g.Header())
		}
		if q := r.o.requests()[1]; q.Header.Get("If-None-Match") != `"1"` {
			t.Errorf("asked with %v", q.Header)
		}
		time.Sleep(6 * time.Second)
		r.expect(r.get("/"), 200, "hello", "hit")
		r.reads(2)
	})
}

// slowBody gives bytes as a test lets it.
type slowBody struct {
	gate chan []byte
	left []byte
	end  error
	ctx  context.Context
}

func (b *slowBody) Read(p []byte) (int, error) {
	if len(b.left) == 0 {
		select {
		case more, ok := <-b.gate:
			if !ok {
				return 0, b.end
			}
			b.left = more
		case <-b.ctx.Done():
			return 0, b.ctx.Err()
		}
	}
	n := copy(p, b.left)
	b.left = b.left[n:]
	return n, nil
}

func (b *slowBody) Close() error { return nil }

// streams makes the origin send what comes through the gate, declared as n bytes.
func (r *rig) streams(n int64, end error, lines ...string) chan []byte {
	gate := make(chan []byte)
	r.o.says(func(q *http.Request) (*http.Response, error) {
		resp := reply(200, "", lines...)
		resp.ContentLength, resp.Body = n, &slowBody{gate: gate, end: end, ctx: q.Context()}
		return resp, nil
	})
	return gate
}

// Everybody who comes while a body is on its way gets it, from its first byte, and the origin is asked once; that who asked first leaves changes nothing.
func TestFollowersGetBytesAsTheyCome(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		data := content(3 << 20)
		gate := r.streams(int64(len(data)), io.EOF, "Cache-Control: max-age=60")
		ctx, leave := context.WithCancel(t.Context())
		first := request(http.MethodGet, "/big", "").WithContext(ctx)
		done := make(chan *got, 20)
		go r.send(first)
		synctest.Wait()
		gate <- data[:1000]
		for range 10 {
			go func() { done <- r.send(request(http.MethodGet, "/big", "")) }()
		}
		synctest.Wait()
		gate <- data[1000 : 2<<20]
		synctest.Wait()
		leave()
		synctest.Wait()
		for range 10 {
			go func() { done <- r.send(request(http.MethodGet, "/big", "")) }()
		}
		synctest.Wait()
		gate <- data[2<<20:]
		close(gate)
		for range 20 {
			if g := <-done; g.broken || !bytes.Equal(g.Body.Bytes(), data) {
				t.Fatalf("broken %v, %d bytes", g.broken, g.Body.Len())
			} else if !strings.Contains(g.cacheStatus(), "collapsed") {
				t.Errorf("Cache-Status %q", g.cacheStatus())
			}
		}
		r.idle()
		r.reads(1)
		r.expect(r.get("/big"), 200, string(data), "hit")
	})
}

func TestABodyOfAnotherLengthIsNeverKept(t *testing.T) {
	for what, end := range map[string]error{"short": io.EOF, "cut": io.ErrUnexpectedEOF} {
		t.Run(what, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				gate := r.streams(10, end, "Cache-Control: max-age=60", `ETag: "1"`)
				go func() {
					gate <- []byte("12345")
					close(gate)
				}()
				// If the end comes before the head was sent, there is time to say so.
				if g := r.get("/"); !g.broken && g.Code != 502 {
					t.Errorf("got %d %q as a whole answer", g.Code, g.body())
				}
				r.o.repeats(200, "1234567890", "Cache-Control: max-age=60")
				r.expect(r.get("/"), 200, "1234567890", "fwd=uri-miss")
			})
		})
	}
}

func TestNobodyReadsAnyMore(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		gate := r.streams(100<<20, io.EOF, "Cache-Control: max-age=60")
		ctx, leave := context.WithCancel(t.Context())
		go r.send(request(http.MethodGet, "/big", "").WithContext(ctx))
		synctest.Wait()
		gate <- content(1000)
		synctest.Wait()
		leave()
		synctest.Wait()
		if s := r.c.Stats(); s.Fills != 0 {
			t.Errorf("%d fills go on without a reader", s.Fills)
		}
	})
}

func TestAStoredResponseOutlivesARestart(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		data := content(5<<20 + 17)
		r.o.repeats(200, string(data), "Cache-Control: max-age=60")
		r.get("/a")
		r.close()
		r.open()
		r.expect(r.get("/a"), 200, string(data), "hit")
		r.reads(1)
	})
}

// Chunks that have gone are fetched, and no others.
func TestOnlyWhatIsMissingIsFetched(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		data := content(6 << 20)
		r.o.says(ranged(data, `ETag: "1"`, "Cache-Control: max-age=60"))
		r.expect(r.get("/a"), 200, string(data), "stored")
		h, _ := r.c.selectHead("http://www.example/a", http.Header{})
		for _, i := range []int64{2, 3} {
			k := h.id.chunk(i)
			ref, _ := r.st.Find(k)
			r.st.Drop(k, ref)
		}
		r.expect(r.get("/a"), 200, string(data), "fwd=partial")
		if q := r.o.requests()[1]; q.Header.Get("Range") != "bytes=2097152-4194303" || q.Header.Get("If-Range") != `"1"` {
			t.Errorf("asked for %v", q.Header)
		}
		r.expect(r.get("/a"), 200, string(data), "hit")
		r.reads(2)
	})
}

func TestPartsAreCombined(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		data := content(3<<20 + 5)
		r.o.says(ranged(data, `ETag: "1"`, "Cache-Control: max-age=60"))
		r.expect(r.get("/a", "Range: bytes=100-199"), 206, string(data[100:200]), "stored")
		r.expect(r.get("/a", "Range: bytes=200-2999999"), 206, string(data[200:3000000]), "fwd=partial")
		g := r.get("/a", "Range: bytes=150-2500000")
		r.expect(g, 206, string(data[150:2500001]), "hit")
		if g.Header().Get("Content-Range") != "bytes 150-2500000/3145733" {
			t.Errorf("Content-Range %q", g.Header().Get("Content-Range"))
		}
		r.expect(r.get("/a"), 200, string(data), "fwd=partial")
		r.expect(r.get("/a"), 200, string(data), "hit")
		r.expect(r.get("/a", "Range: bytes=-7"), 206, string(data[len(data)-7:]), "hit")
		r.expect(r.get("/a", "Range: bytes=9999999-"), 416, "", "hit")
	})
}

// A part of another version is never joined to what is stored.
func TestPartsOfTwoVersionsAreNotCombined(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		old, now := bytes.Repeat([]byte("old "), 1000), bytes.Repeat([]byte("new "), 1000)
		r.o.says(ranged(old, `ETag: "1"`, "Cache-Control: max-age=60"))
		r.get("/a", "Range: bytes=0-1999")
		r.o.says(ranged(now, `ETag: "2"`, "Cache-Control: max-age=60"))
		r.expect(r.get("/a"), 200, string(now), "stored")
		r.expect(r.get("/a"), 200, string(now), "hit")
	})
}

func TestSeveralRanges(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		data := content(100)
		r.o.repeats(200, string(data), "Cache-Control: max-age=60", "Content-Type: text/x")
		r.get("/a")
		g := r.get("/a", "Range: bytes=0-9, 50-59,-5")
		kind, p, err := mime.ParseMediaType(g.Header().Get("Content-Type"))
		if err != nil || kind != "multipart/byteranges" || g.Code != 206 {
			t.Fatalf("%d %q", g.Code, g.Header().Get("Content-Type"))
		}
		m := multipart.NewReader(g.Body, p["boundary"])
		for _, want := range []span{{0, 10}, {50, 60}, {95, 100}} {
			part, err := m.NextPart()
			if err != nil {
				t.Fatal(err)
			}
			b, _ := io.ReadAll(part)
			if string(b) != string(data[want.from:want.to]) || part.Header.Get("Content-Range") != want.contentRange(100) || part.Header.Get("Content-Type") != "text/x" {
				t.Errorf("%v: %q %v", want, b, part.Header)
			}
		}
		r.expect(r.get("/a", "Range: bytes="+strings.Repeat("0-1,", 20)+"0-1"), 200, string(data), "hit")
	})
}

func TestUnsafeMethodsInvalidate(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.o.repeats(200, "x", "Cache-Control: max-age=60", "Vary: Foo")
		paths := []string{"/a", "/a/loc", "/a/cl"}
		for _, p := range paths {
			r.get(p, "Foo: 1")
			r.get(p, "Foo: 2")
		}
		r.o.repeats(500, "no", "Location: /a/loc")
		r.send(request("PUT", "/a", "new"))
		r.expect(r.get("/a", "Foo: 1"), 200, "x", "hit")
		r.o.repeats(204, "", "Location: /a/loc", "Content-Location: cl/../a/cl")
		r.send(request("M-SEARCH", "/a", "new"))
		r.o.repeats(200, "y", "Cache-Control: max-age=60", "Vary: Foo")
		for _, p := range paths {
			r.expect(r.get(p, "Foo: 1"), 200, "y", "invalidated")
			r.expect(r.get(p, "Foo: 2"), 200, "y", "invalidated")
		}
	})
}

func TestGroupsInvalidate(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.o.repeats(200, "x", "Cache-Control: max-age=60", `Cache-Groups: "shoes", "red"`)
		r.get("/a")
		r.o.repeats(200, "done", `Cache-Group-Invalidation: "red"`)
		r.send(request("POST", "/b", "buy"))
		r.o.repeats(200, "y", "Cache-Control: max-age=60")
		r.expect(r.get("/a"), 200, "y", "invalidated")
	})
}

// A response that was asked for before an invalidation, and comes after it, is not kept.
func TestAResponseFromBeforeAnInvalidationIsNotKept(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		gate := r.streams(3, io.EOF, "Cache-Control: max-age=60")
		go r.send(request(http.MethodGet, "/a", ""))
		synctest.Wait()
		r.o.repeats(204, "")
		r.send(request(http.MethodDelete, "/a", ""))
		gate <- []byte("old")
		close(gate)
		synctest.Wait()
		r.o.repeats(200, "new", "Cache-Control: max-age=60")
		r.expect(r.get("/a"), 200, "new", "fwd=uri-miss")
	})
}

func TestStaleWhileRevalidate(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.o.repeats(200, "old", "Cache-Control: max-age=1, stale-while-revalidate=100")
		r.get("/")
		time.Sleep(5 * time.Second)
		r.o.repeats(200, "new", "Cache-Control: max-age=100")
		r.expect(r.get("/"), 200, "old", "hit; ttl=-4; detail=stale-while-revalidate")
		r.expect(r.get("/"), 200, "new", "hit")
		r.reads(2)
	})
}

func TestStaleIfTheOriginFails(t *testing.T) {
	down := errors.New("connection refused")
	for _, c := range []struct {
		control, request string
		fail             func(o *origin)
		want             int
	}{
		{"max-age=1", "", func(o *origin) { o.says(func(*http.Request) (*http.Response, error) { return nil, down }) }, 200},
		{"max-age=1", "no-cache", func(o *origin) { o.says(func(*http.Request) (*http.Response, error) { return nil, down }) }, 502},
		{"max-age=1, must-revalidate", "", func(o *origin) { o.says(func(*http.Request) (*http.Response, error) { return nil, down }) }, 502},
		{"max-age=1", "", func(o *origin) { o.repeats(503, "busy") }, 503},
		{"max-age=1, stale-if-error=60", "", func(o *origin) { o.repeats(503, "busy") }, 200},
		{"max-age=1", "stale-if-error=60", func(o *origin) { o.repeats(503, "busy") }, 200},
		{"s-maxage=1, stale-if-error=60", "", func(o *origin) { o.repeats(503, "busy") }, 503},
		{"max-age=1, stale-if-error=60", "", func(o *origin) { o.repeats(404, "gone") }, 404},
	} {
		t.Run(c.control+"/"+c.request, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.o.repeats(200, "old", "Cache-Control: "+c.control)
				r.get("/")
				time.Sleep(10 * time.Second)
				c.fail(r.o)
				if g := r.get("/", "Cache-Control: "+c.request); g.Code != c.want {
					t.Errorf("got %d, want %d", g.Code, c.want)
				}
			})
		})
	}
}

func TestHeadBringsWhatIsStoredUpToDate(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.o.repeats(200, "hello", "Cache-Control: max-age=1", `ETag: "1"`, "X-A: old")
		r.get("/")
		time.Sleep(5 * time.Second)
		head := reply(200, "", "Cache-Control: max-age=60", `ETag: "1"`, "X-A: new", "Content-Length: 5")
		r.o.says(func(*http.Request) (*http.Response, error) { return head, nil })
		r.send(request(http.MethodHead, "/", ""))
		g := r.get("/")
		r.expect(g, 200, "hello", "hit")
		if g.Header().Get("X-A") != "new" {
			t.Errorf("fields: %v", g.Header())
		}
		r.expect(r.send(request(http.MethodHead, "/", "")), 200, "", "hit")
		time.Sleep(time.Hour)
		r.o.repeats(200, "", "Cache-Control: max-age=60", `ETag: "2"`)
		r.send(request(http.MethodHead, "/", ""))
		r.o.repeats(200, "other", "Cache-Control: max-age=60", `ETag: "2"`)
		r.expect(r.get("/"), 200, "other", "invalidated")
	})
}

func TestOnlyIfCached(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		if g := r.get("/", "Cache-Control: only-if-cached"); g.Code != 504 {
			t.Errorf("got %d", g.Code)
		}
		r.reads(0)
	})
}

// A disk that takes nothing makes a pass-through, with bounded memory and the pace of the fastest reader.
func TestAStoreThatFailsPassesThrough(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		data := content(20 << 20)
		r.st.Close()
		r.o.repeats(200, string(data), "Cache-Control: max-age=60")
		for range 2 {
			if g := r.get("/a"); g.broken || !bytes.Equal(g.Body.Bytes(), data) {
				t.Fatalf("broken %v, %d bytes", g.broken, g.Body.Len())
			}
		}
		r.reads(2)
	})
}
