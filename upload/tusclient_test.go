package upload

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"perigee/object"
)

// cutter is a line that breaks: it forwards connections and cuts each after some bytes.
type cutter struct {
	l    net.Listener
	to   atomic.Value // string: where to
	most atomic.Int64 // bytes a connection lives for at most; 0 for ever
	cuts atomic.Int64
	wg   sync.WaitGroup
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
	var from io.Reader = conn
	if most := c.most.Load(); most > 0 {
		from = io.LimitReader(conn, rand.Int64N(most))
	}
	if _, err := io.Copy(server, from); err == nil && c.most.Load() > 0 {
		c.cuts.Add(1)
	}
}

// TestRealTusClient uploads with tus-js-client, the one the console uses, over a line that breaks again and again.
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
		name        string
		size, chunk int
		most        int64
	}{
		{"empty", 0, 0, 0}, {"small", 1 << 20, 0, 0}, {"small-cut", 1 << 20, 0, 2 << 20}, {"one-request-cut", 33 << 20, 0, 12 << 20},
		{"chunks-of-7", 33 << 20, 7 << 20, 0}, {"chunks-of-1-cut", 12<<20 + 5, 1 << 20, 5 << 20},
	} {
		line.to.Store(b.server.Listener.Addr().String())
		line.most.Store(c.most)
		line.cuts.Store(0)
		path := "/" + c.name
		out, err := exec.CommandContext(t.Context(), node, "testdata/tusclient.cjs", library,
			"http://"+line.l.Addr().String()+"/api/v1/uploads/", path, strconv.Itoa(c.size), strconv.Itoa(c.chunk)).Output()
		if err != nil {
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				out = exit.Stderr
			}
			t.Errorf("%s: %v: %s", c.name, err, out)
			continue
		}
		var said struct {
			SHA256, URL, Version string
			Errors               int
		}
		if err := json.Unmarshal(out, &said); err != nil {
			t.Fatalf("%s: %s: %v", c.name, out, err)
		}
		t.Logf("%s: %d cuts, %d retries", c.name, line.cuts.Load(), said.Errors)
		f, err := b.cat.File(t.Context(), "www", object.Path(path))
		if err != nil || fmt.Sprint(f.Pointer.Hash) != said.SHA256 || f.Pointer.Size != int64(c.size) {
			t.Errorf("%s: the client sent %s, published is %+v, %v", c.name, said.SHA256, f.Pointer, err)
			continue
		}
		if said.URL != "http://www.test:8100"+path || said.Version != string(f.Pointer.Version) {
			t.Errorf("%s: the client was told %q, %q", c.name, said.URL, said.Version)
		}
	}
	b.sweepExpired() // creations whose answer was cut off: their client began anew
	b.consistent()
}
