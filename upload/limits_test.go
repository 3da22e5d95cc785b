package upload

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// TestExpectIsAnsweredEarly: who asks before sending is told no before a byte is sent.
func TestExpectIsAnsweredEarly(t *testing.T) {
	r := &rules{bench: newBench(t, Config{MaxSize: 1 << 20})}
	r.want(r.put("/there", "x"), 201)
	const files = "/api/v1/sites/www/files"
	r.early("PUT", files+"/new", 412, "If-Match: *")
	r.early("PUT", files+"/there", 412, "If-None-Match: *")
	r.early("PUT", files+"/bad//path", 400)
	r.early("PUT", "/api/v1/sites/none/files/a", 404)
	r.early("PUT", files+"/a", 400, "Content-Range: bytes 0-4/10")
	r.early("POST", "/api/v1/sites/none/files", 404, "Content-Type: multipart/form-data; boundary=x")
	r.early("POST", files, 415, "Content-Type: text/plain")
}

// teller notes what Config.Progress is told.
type teller struct {
	mu   sync.Mutex
	told []Progress
}

func (n *teller) note(p Progress) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.told = append(n.told, p)
}

// take returns what was noted, and forgets it.
func (n *teller) take() []Progress {
	n.mu.Lock()
	defer n.mu.Unlock()
	told := n.told
	n.told = nil
	return told
}

func (n *teller) any() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.told) > 0
}

// drip writes a little at a time, two seconds between, until the server has told how far it is.
func (b *bench) drip(w io.Writer, n *teller) (sent int) {
	for !n.any() && sent < 200_000 {
		k, err := w.Write(make([]byte, 10))
		if sent += k; err != nil {
			return sent
		}
		b.clock.step(2 * time.Second)
		time.Sleep(time.Millisecond)
	}
	return sent
}

// TestTotalTime: a request that never falls silent ends all the same; what it brought of a resumable upload is kept.
func TestTotalTime(t *testing.T) {
	n := &teller{}
	b := newBench(t, Config{Longest: 20 * time.Hour, Progress: n.note})
	url := b.create("/tus", 1<<20)
	for name, head := range map[string]string{
		"PUT": "PUT /api/v1/sites/www/files/put HTTP/1.1\r\nHost: x\r\nContent-Length: 1048576\r\n\r\n",
		"tus": fmt.Sprintf("PATCH %s HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nContent-Type: %s\r\nUpload-Offset: 0\r\nContent-Length: 1048576\r\n\r\n", url, chunkType),
	} {
		n.take()
		conn, err := net.Dial("tcp", b.server.Listener.Addr().String())
		b.must(err)
		_, err = io.WriteString(conn, head)
		b.must(err)
		b.drip(conn, n)
		b.clock.step(21 * time.Hour)
		_, err = conn.Write(make([]byte, 10))
		b.must(err)
		if a := readAnswer(t, conn, "PUT"); a.status != http.StatusRequestTimeout {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
		conn.Close()
		b.clock.step(-21 * time.Hour)
	}
	if !b.missing("/put") {
		t.Error("half a file was published")
	}
	if at := b.offset(url); at == 0 {
		t.Error("nothing of the resumable upload was kept")
	}
}

// TestProgress: of an upload that takes its time, how far it is is told, and when it is over.
func TestProgress(t *testing.T) {
	n := &teller{}
	b := newBench(t, Config{Progress: n.note})
	b.want(b.put("/quick", "x"), 201)
	if told := n.take(); len(told) != 0 {
		t.Errorf("of a quick one: %v", told)
	}
	const size = 300_000
	slowly := func() io.Reader {
		r, w := io.Pipe()
		go func() {
			_, _ = w.Write(make([]byte, size-b.drip(w, n)))
			w.Close()
		}()
		return sized{r, size}
	}
	url := b.create("/tus", size)
	for _, c := range []struct {
		path string
		send func() answer
		ok   int
	}{
		{"/put", func() answer { return b.call("PUT", "/api/v1/sites/www/files/put", slowly()) }, 201},
		{"/tus", func() answer {
			return b.call("PATCH", url, slowly(), "Tus-Resumable", "1.0.0", "Content-Type", chunkType, "Upload-Offset", "0")
		}, 204},
	} {
		n.take()
		b.want(c.send(), c.ok)
		told := n.take()
		if len(told) < 2 {
			t.Fatalf("%s: %v", c.path, told)
		}
		first, last := told[0], told[len(told)-1]
		if string(first.Path) != c.path || first.Site != "www" || first.Size != size || first.Received == 0 || first.Done || first.ID == "" {
			t.Errorf("%s: first %+v", c.path, first)
		}
		if !last.Done || last.Received != size || last.ID != first.ID {
			t.Errorf("%s: last %+v", c.path, last)
		}
	}
	b.consistent()
}
