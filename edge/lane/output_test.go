//go:build linux

package lane

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// noise is n bytes that do not repeat.
func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(b)
	return b
}

type counter struct{ atomic.Int64 }

func (c *counter) Release() { c.Add(1) }

// Large answers, pinned and copied, pipelined with small ones, arrive byte for byte at a client that reads late and in small pieces.
func TestPartialWrites(t *testing.T) {
	body := noise(3 << 20)
	var pin counter
	var asked atomic.Int64
	h := handler{hot: func(r *Request, w *Reply) bool {
		asked.Add(1)
		switch string(r.Target) {
		case "/pinned":
			w.Send(head(r, len(body)), body, &pin)
		case "/copied":
			w.Append(head(r, len(body)), body)
		default:
			w.Send(head(r, 100), body[:100], &pin)
		}
		return true
	}}
	s := start(t, Config{Handler: h}, time.Minute)
	c := s.dial()
	c.SetReadBuffer(16 << 10)
	const rounds = 6
	for range rounds {
		c.send(get("/pinned"), get("/small"), get("/copied"), get("/small"), get("/pinned"))
	}
	// What the kernel does not take stops the lane: it does not go on to ask about the rest.
	eventually(t, "the first answers wait", func() bool { return asked.Load() > 0 })
	for i := range rounds {
		for j, want := range [][]byte{body, body[:100], body, body[:100], body} {
			if _, got := c.response("GET"); got != string(want) {
				t.Fatalf("round %d: answer %d differs", i, j)
			}
			if i == 0 && j == 0 && asked.Load() >= 4*rounds {
				t.Fatalf("asked about %d requests while one answer was on its way", asked.Load())
			}
		}
	}
	s.stop()
	if n := pin.Load(); n != 4*rounds {
		t.Fatalf("%d releases, want %d", n, 4*rounds)
	}
}

// A pin is released once, too, when the client goes.
func TestResetMidAnswer(t *testing.T) {
	body := noise(8 << 20)
	var pin counter
	h := handler{hot: func(r *Request, w *Reply) bool {
		w.Send(head(r, len(body)), body, &pin)
		return true
	}}
	s := start(t, Config{Handler: h}, time.Minute)
	for range 8 {
		c := s.dial()
		c.send(get("/"), get("/"))
		if _, err := io.ReadFull(c.r, make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		c.SetLinger(0)
		c.Close()
	}
	eventually(t, "no connection and no pin is left", func() bool { return s.lane.Conns() == 0 && pin.Load() == 8 })
}

func TestSendFile(t *testing.T) {
	data := noise(5<<20 + 77)
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	short := make(chan error, 1)
	h := handler{serve: func(_ context.Context, r *Request, w *Writer) {
		switch string(r.Target) {
		case "/short":
			w.Head(head(r, len(data)))
			n, err := w.SendFile(f, 100, int64(len(data)))
			if n != int64(len(data)-100) {
				err = errors.Join(err, errors.New("wrong count"))
			}
			short <- err
			// The file has failed, not the client. This used to fail for ever, and the answer with it.
			if _, err := w.Write(data[:100]); err != nil {
				t.Errorf("Write after a file that is too short: %v", err)
			}
		case "/copied":
			w.Head(head(r, len(data)-9))
			n, err := w.out.(*service).copyFile(f, 9, int64(len(data)-9))
			if n != int64(len(data)-9) || err != nil {
				t.Errorf("copyFile: %d, %v", n, err)
			}
		default:
			w.Head(head(r, 1000+len(data)-9))
			w.Write(data[:1000])
			if n, err := w.SendFile(f, 9, int64(len(data)-9)); n != int64(len(data)-9) || err != nil {
				t.Errorf("SendFile: %d, %v", n, err)
			}
		}
	}}
	s := start(t, Config{Handler: h}, time.Minute)
	c := s.dial()
	c.SetReadBuffer(16 << 10)
	for range 3 {
		c.send(get("/"))
	}
	for range 3 {
		c.want(string(data[:1000]) + string(data[9:]))
	}
	c.send(get("/short"))
	c.want(string(data[100:]) + string(data[:100]))
	if err := <-short; !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("a file that is too short: %v", err)
	}
}

// An answer that is given up never ends as a whole one does, not even without a length.
func TestAbort(t *testing.T) {
	for name, end := range map[string]func(*Writer){
		"abort":   func(w *Writer) { w.Abort() },
		"panic":   func(*Writer) { panic("as a test wants") },
		"nothing": nil,
	} {
		t.Run(name, func(t *testing.T) {
			h := handler{serve: func(_ context.Context, r *Request, w *Writer) {
				if end == nil {
					return
				}
				w.Head([]byte("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"))
				if _, err := w.Write([]byte("part")); err != nil {
					t.Error(err)
				}
				end(w)
			}}
			s := start(t, Config{Handler: h}, time.Minute)
			c := s.dial()
			c.send(get("/", "Connection: close\r\n"))
			if got, err := c.ended(); err == nil {
				t.Fatalf("%q ends like a whole answer", got)
			}
		})
	}
}

// A panic in Hot ends that connection and no other.
func TestHotPanics(t *testing.T) {
	h := echo
	h.hot = func(r *Request, w *Reply) bool {
		if bytes.HasPrefix(r.Target, []byte("/panic")) {
			w.Append([]byte("half an answer"))
			panic("as a test wants")
		}
		return echo.hot(r, w)
	}
	h.serve = func(_ context.Context, r *Request, w *Writer) { w.Abort() }
	s := start(t, Config{Handler: h}, time.Minute)
	c, other := s.dial(), s.dial()
	c.send(get("/panic"))
	if got, err := c.ended(); got != "" || err == nil {
		t.Fatalf("%q, %v", got, err)
	}
	other.send(get("/hot"))
	other.want("/hot")
}

// The last answer reaches a client that goes on sending, by more than the kernel would take without a reader.
func TestLinger(t *testing.T) {
	s := start(t, Config{Handler: echo}, time.Minute)
	for _, target := range []string{"/hot", "/served"} {
		for range 20 {
			c := s.dial()
			c.send(get(target, "Connection: close\r\n"), get("/hot/ignored"), string(noise(100<<10)))
			c.want(target)
			if rest, err := c.ended(); rest != "" || err != nil {
				t.Fatalf("%q, %v", rest, err)
			}
		}
	}
}
