package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	slowReaders = 20        // of a thousand
	slowRate    = 50 << 10  // bytes a second
	originRate  = 100 << 20 // bytes a second, so that there is a half-way
)

// herd sends many clients to one cold object of a pull site at once. Some read slowly for a while, and the one who came first goes away half-way. The origin must be read
// once, everybody must get the same bytes, and the edge must not keep them in memory.
func herd(o options) (string, error) {
	h := &herding{data: make([]byte, o.megabytes<<20), slowFor: o.slow}
	rng := rand.NewChaCha8([32]byte{byte(o.seed)})
	_, _ = rng.Read(h.data)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	origin := &http.Server{Handler: h, ReadHeaderTimeout: patience}
	go func() { _ = origin.Serve(ln) }()
	defer origin.Close()
	dir, err := os.MkdirTemp("", "soak-herd-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	h.addr = freeAddr()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return "", err
	}
	defer log.Close()
	edge := exec.Command(o.perigee, "edge", "--listen", h.addr, "--origin", "http://"+ln.Addr().String(), "--cache", filepath.Join(dir, "cache"))
	edge.Stdout, edge.Stderr, edge.SysProcAttr = log, log, &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := edge.Start(); err != nil {
		return "", err
	}
	defer func() { edge.Process.Kill(); edge.Wait() }()
	if err := await(h.addr); err != nil {
		return "", err
	}
	idle := anonymous(edge.Process.Pid)
	stop := h.watch(edge.Process.Pid)
	began := time.Now()
	err = h.run(o.clients)
	took, peak := time.Since(began), stop()
	if err != nil {
		return "", err
	}
	if n := h.reads.Load(); n != 1 {
		return "", fmt.Errorf("the origin was read %d times", n)
	}
	return fmt.Sprintf("%d clients, %d of them slow for %v, on one cold object of %d MiB, the first one gone half-way: all got the same bytes in %v; the origin was read once; memory rose by %.1f MiB above idle",
		o.clients, h.slow, o.slow, o.megabytes, took.Round(time.Second), float64(peak-idle)/(1<<20)), nil
}

// herding is the origin and the clients.
type herding struct {
	data    []byte
	addr    string
	slowFor time.Duration
	slow    int
	reads   atomic.Int64
}

// ServeHTTP is the origin.
func (h *herding) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	h.reads.Add(1)
	w.Header().Set("Cache-Control", "max-age=3600")
	w.Header().Set("ETag", `"1"`)
	w.Header().Set("Content-Length", strconv.Itoa(len(h.data)))
	const piece = originRate / 100
	for b := h.data; len(b) > 0; b = b[min(len(b), piece):] {
		if _, err := w.Write(b[:min(len(b), piece)]); err != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// run sends the first client, then all others, and takes the first one away half-way.
func (h *herding) run(clients int) error {
	first, err := h.ask()
	if err != nil {
		return err
	}
	in := bufio.NewReader(first)
	if _, err := http.ReadResponse(in, nil); err != nil {
		return fmt.Errorf("the first client: %w", err)
	}
	h.slow = (clients*slowReaders + 999) / 1000
	failed := make(chan error, clients)
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			if err := h.read(i < h.slow); err != nil {
				failed <- err
			}
		})
	}
	_, err = io.CopyN(io.Discard, in, int64(len(h.data)/2))
	first.Close()
	all.Wait()
	close(failed)
	return errors.Join(err, <-failed)
}

// ask sends a request.
func (h *herding) ask() (net.Conn, error) {
	c, err := net.DialTimeout("tcp", h.addr, patience)
	if err != nil {
		return nil, err
	}
	_, err = io.WriteString(c, "GET /big HTTP/1.1\r\nHost: www.example\r\n\r\n")
	return c, err
}

// read gets the whole object and checks it.
func (h *herding) read(slowly bool) error {
	c, err := h.ask()
	if err != nil {
		return err
	}
	defer c.Close()
	if t, ok := c.(*net.TCPConn); ok && slowly {
		t.SetReadBuffer(64 << 10)
	}
	in := bufio.NewReaderSize(c, 64<<10)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return err
	}
	if resp.StatusCode != 200 || resp.ContentLength != int64(len(h.data)) {
		return fmt.Errorf("status %d, %d bytes", resp.StatusCode, resp.ContentLength)
	}
	began, buf := time.Now(), make([]byte, 64<<10)
	for at := 0; at < len(h.data); {
		p := buf
		if slowly && time.Since(began) < h.slowFor {
			time.Sleep(100 * time.Millisecond)
			p = buf[:slowRate/10]
		}
		n, err := resp.Body.Read(p)
		if !bytes.Equal(p[:n], h.data[at:at+n]) {
			return fmt.Errorf("other bytes at %d", at)
		}
		if at += n; err != nil && at < len(h.data) {
			return fmt.Errorf("broken off at %d: %w", at, err)
		}
	}
	return nil
}

// watch samples the memory of a process; the function it returns ends that and returns the most that was seen.
func (h *herding) watch(pid int) func() int64 {
	end, done := make(chan struct{}), make(chan int64)
	go func() {
		most := int64(0)
		for {
			select {
			case <-end:
				done <- most
				return
			case <-time.After(50 * time.Millisecond):
				most = max(most, anonymous(pid))
			}
		}
	}()
	return func() int64 { close(end); return <-done }
}

// anonymous returns the bytes of a process's own pages in memory.
func anonymous(pid int) int64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return n << 10
		}
	}
	return 0
}
