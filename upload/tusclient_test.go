package upload

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"perigee/object"
	"perigee/origin/origintest"
)

// cutter is a line that breaks: it forwards connections and cuts each after some bytes.
type cutter struct {
	l     net.Listener
	to    atomic.Value // string: where to
	most  atomic.Int64 // bytes a connection lives for at most; 0 for ever
	cuts  atomic.Int64
	bytes atomic.Int64 // that clients have sent
	wg    sync.WaitGroup
}

func newCutter(t *testing.T) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{l: l}
	c.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c.wg.Go(func() { c.forward(conn) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		c.wg.Wait()
	})
	return c
}

func (c *cutter) forward(conn net.Conn) {
	defer conn.Close()
	server, err := net.Dial("tcp", c.to.Load().(string))
	if err != nil {
		return
	}
	defer server.Close()
	c.wg.Go(func() {
		_, _ = io.Copy(conn, server)
		conn.Close()
	})
	from := io.TeeReader(conn, counter{&c.bytes})
	if most := c.most.Load(); most > 0 {
		from = io.LimitReader(conn, rand.Int64N(most))
	}
	if _, err := io.Copy(server, from); err == nil && c.most.Load() > 0 {
		c.cuts.Add(1)
	}
}

// counter adds up what is written to it.
type counter struct{ n *atomic.Int64 }

func (c counter) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return len(p), nil
}

// TestRealTusClient uploads with tus-js-client, the one the console uses, over a line that breaks again and again and to
// a server that is started again meanwhile.
func TestRealTusClient(t *testing.T) {
	library, err := filepath.Abs("../web/node_modules/tus-js-client")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(library); err != nil {
		t.Skip("tus-js-client is not installed; npm ci in web/ does that")
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed")
	}
	b := newBench(t, Config{})
	line := newCutter(t)
	for _, c := range []struct {
		Path     string `json:"path"`
		Size     int    `json:"size"`
		Chunk    int    `json:"chunk"`
		Parallel int    `json:"parallel"`
		Stream   bool   `json:"stream"`
		most     int64  // bytes that a connection lives for
		restarts int
	}{
		{Path: "/empty"}, {Path: "/small", Size: 1 << 20}, {Path: "/small-cut", Size: 1 << 20, most: 2 << 20},
		{Path: "/one-request-cut", Size: 33 << 20, most: 12 << 20},
		{Path: "/chunks-of-7", Size: 33 << 20, Chunk: 7 << 20},
		{Path: "/chunks-of-1-cut", Size: 12<<20 + 5, Chunk: 1 << 20, most: 5 << 20},
		{Path: "/restarts", Size: 40 << 20, restarts: 3},
		{Path: "/parallel", Size: 33<<20 + 7, Parallel: 3},
		{Path: "/parallel-cut", Size: 33<<20 + 7, Parallel: 3, most: 8 << 20, restarts: 1},
		{Path: "/stream", Size: 20<<20 + 3, Chunk: 6 << 20, Stream: true},
		{Path: "/stream-small", Size: 3<<20 + 1, Chunk: 1 << 20, Stream: true}, // cut, this client tells another length
	} {
		line.to.Store(b.server.Listener.Addr().String())
		line.most.Store(c.most)
		line.cuts.Store(0)
		options, err := json.Marshal(c)
		b.must(err)
		var stdout, stderr bytes.Buffer
		cmd := exec.CommandContext(t.Context(), node, "testdata/tusclient.cjs", library, "http://"+line.l.Addr().String()+"/api/v1/uploads/", string(options))
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		b.must(cmd.Start())
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		for n := range c.restarts {
			mark := line.bytes.Load() + int64(c.Size)/int64(c.restarts+2)
			origintest.Eventually(t, fmt.Sprintf("%s: restart %d", c.Path, n), func() bool { return line.bytes.Load() > mark || len(ended) > 0 })
			b.server.CloseClientConnections()
			b.restart()
			line.to.Store(b.server.Listener.Addr().String())
		}
		if err := <-ended; err != nil {
			t.Errorf("%s: %v: %s", c.Path, err, &stderr)
			continue
		}
		var said struct {
			SHA256, URL, Version string
			Errors               int
		}
		if err := json.Unmarshal(stdout.Bytes(), &said); err != nil {
			t.Fatalf("%s: %s: %v", c.Path, &stdout, err)
		}
		t.Logf("%s: %d cuts, %d retries", c.Path, line.cuts.Load(), said.Errors)
		f, err := b.cat.File(t.Context(), "www", object.Path(c.Path))
		if err != nil || fmt.Sprint(f.Pointer.Hash) != said.SHA256 || f.Pointer.Size != int64(c.Size) {
			t.Errorf("%s: the client sent %s, published is %+v, %v", c.Path, said.SHA256, f.Pointer, err)
			continue
		}
		if said.URL != "http://www.test:8100"+c.Path || said.Version != string(f.Pointer.Version) {
			t.Errorf("%s: the client was told %q, %q", c.Path, said.URL, said.Version)
		}
	}
	b.sweepExpired() // creations whose answer was cut off: their client began anew
	b.consistent()
}
