package pull

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// pipes is a listener for pipes: in a bubble their deadlines pass without waiting.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipes) Close() error { l.once.Do(func() { close(l.closed) }); return nil }

func (l *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// overPipes runs a test with a way to connect.
func overPipes(t *testing.T, f func(t *testing.T, r *rig, dial func() net.Conn)) {
	t.Helper()
	inBubble(t, func(t *testing.T, r *rig) {
		ln := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- Serve(ctx, ln, r.h, time.Second, slog.New(slog.DiscardHandler)) }()
		f(t, r, func() net.Conn {
			here, there := net.Pipe()
			ln.conns <- there
			return here
		})
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// cutAfter returns how long it takes until the other side is gone.
func cutAfter(c net.Conn) time.Duration {
	began := time.Now()
	_, _ = io.Copy(io.Discard, c)
	return time.Since(began)
}

func TestAHeadThatDribblesIsCut(t *testing.T) {
	overPipes(t, func(t *testing.T, _ *rig, dial func() net.Conn) {
		c := dial()
		var dribbling sync.WaitGroup
		defer dribbling.Wait()
		defer c.Close()
		dribbling.Go(func() {
			for _, b := range []byte("GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("y", 1000)) {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		})
		if d := cutAfter(c); d > headTimeout+time.Second {
			t.Errorf("cut after %v", d)
		}
	})
}

// A client may be as slow as it likes with what it sends, as long as it sends.
func TestABodyThatStallsIsCut(t *testing.T) {
	overPipes(t, func(t *testing.T, r *rig, dial func() net.Conn) {
		got := make(chan string, 1)
		r.o.says(func(q *http.Request) (*http.Response, error) {
			b, err := io.ReadAll(q.Body)
			if err != nil {
				return nil, err
			}
			got <- string(b)
			return reply(200, "thanks"), nil
		})
		c := dial()
		go func() {
			io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n")
			for range 10 {
				time.Sleep(50 * time.Second)
				io.WriteString(c, "x")
			}
		}()
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || resp.StatusCode != 200 || <-got != "xxxxxxxxxx" {
			t.Fatalf("a slow body: %v, %v", resp, err)
		}
		c.Close()
		c = dial()
		go io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nxx")
		if d := cutAfter(c); d > 2*bodyIdle {
			t.Errorf("a body that stalls is cut after %v", d)
		}
		c.Close()
	})
}

// And so with what it reads.
func TestAReaderWhoStopsIsCut(t *testing.T) {
	overPipes(t, func(t *testing.T, r *rig, dial func() net.Conn) {
		data := string(content(1 << 20))
		r.o.repeats(200, data, "Cache-Control: max-age=100000")
		c := dial()
		go io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReaderSize(c, 4096), nil)
		if err != nil {
			t.Fatal(err)
		}
		var all strings.Builder
		for all.Len() < len(data) {
			time.Sleep(40 * time.Second)
			if _, err := io.CopyN(&all, resp.Body, min(pieceSize, int64(len(data)-all.Len()))); err != nil {
				t.Fatalf("a slow reader was cut off at %d: %v", all.Len(), err)
			}
		}
		if all.String() != data {
			t.Error("other bytes")
		}
		c.Close()
		c = dial()
		go io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		var one [1]byte
		c.Read(one[:])
		time.Sleep(3 * writeIdle)
		if d := cutAfter(c); d > time.Second {
			t.Errorf("a reader who stopped is cut after %v more", d)
		}
		c.Close()
	})
}
