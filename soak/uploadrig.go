package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"perigee/object"
	"perigee/origin"
)

// rigKey is the API key of the rig.
const rigKey = "soak-key-0123456789-0123456789-0123456789"

// uploadRig is storage, bus and API as processes of their own, with a line before the API that can be cut.
type uploadRig struct {
	dir, perigee, config, storage, api string
	full                               string // a file that fills the storage's file system; "" if it has none of its own
	line                               *line
	roles                              map[string]*exec.Cmd
	addrs                              map[string]string
	reader                             *origin.Reader
	writer                             *origin.Writer
}

func newUploadRig(perigee string) (*uploadRig, error) {
	dir, err := os.MkdirTemp("", "soak-uploads-")
	if err != nil {
		return nil, err
	}
	if perigee, err = filepath.Abs(perigee); err != nil {
		return nil, err
	}
	bus := freeAddr()
	r := &uploadRig{dir: dir, perigee: perigee, config: filepath.Join(dir, "perigee.yaml"), storage: freeAddr(), api: freeAddr(), roles: map[string]*exec.Cmd{}}
	r.addrs = map[string]string{"storage": r.storage, "bus": bus, "upload": r.api}
	root := filepath.Join(dir, "storage")
	if err := os.Mkdir(root, 0o700); err != nil {
		return nil, err
	}
	// Only root may mount; without, the disk is never full.
	if syscall.Mount("tmpfs", root, "tmpfs", 0, "size=6g") == nil {
		r.full = filepath.Join(root, "full")
	}
	yaml := fmt.Sprintf(`
data: %s
api: {listen: "%s", key: %s}
storage: {endpoint: "http://%s", access_key: soak-writer, secret_key: soak-writer-secret-0123456789, edge_access_key: soak-reader, edge_secret_key: soak-reader-secret-0123456789, embedded: {listen: "%s", root: "%s"}}
bus: {url: "nats://%s", listen: "%s"}
`, dir, r.api, rigKey, r.storage, r.storage, filepath.Join(root, "s3"), bus, bus)
	if err := os.WriteFile(r.config, []byte(yaml), 0o600); err != nil {
		return nil, errors.Join(err, r.close())
	}
	for _, role := range []string{"storage", "bus", "upload"} {
		if err := r.startRole(role); err != nil {
			return nil, errors.Join(err, r.close())
		}
	}
	if r.line, err = newLine(r.api); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, r.connect()
}

// bucket is the storage as the API sees it.
func (r *uploadRig) bucket() origin.Config {
	return origin.Config{
		Endpoint: "http://" + r.storage, Bucket: "perigee", AccessKey: "soak-writer", SecretKey: "soak-writer-secret-0123456789", PathStyle: true,
		Log: slog.New(slog.DiscardHandler),
	}
}

func (r *uploadRig) connect() (err error) {
	if r.reader, err = origin.NewReader(r.bucket()); err == nil {
		r.writer, err = origin.NewWriter(context.Background(), r.bucket())
	}
	return err
}

// startRole starts a process and waits until it serves.
func (r *uploadRig) startRole(role string) error {
	out, err := os.OpenFile(filepath.Join(r.dir, role+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.Command(r.perigee, role, "--config", r.config)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	r.roles[role] = cmd
	if err := await(r.addrs[role]); err != nil {
		log, _ := os.ReadFile(out.Name())
		return fmt.Errorf("%s: %w:\n%s", role, err, log[max(0, len(log)-2000):])
	}
	return nil
}

// killRole is kill -9.
func (r *uploadRig) killRole(role string) {
	if c := r.roles[role]; c != nil {
		c.Process.Kill()
		c.Wait()
		delete(r.roles, role)
	}
}

func (r *uploadRig) close() error {
	if r.line != nil {
		r.line.close()
	}
	for role := range r.addrs {
		r.killRole(role)
	}
	var err error
	if r.full != "" {
		err = syscall.Unmount(filepath.Dir(r.full), syscall.MNT_DETACH)
	}
	return errors.Join(err, os.RemoveAll(r.dir))
}

// fill leaves no room where the storage is, empty makes room again.
func (r *uploadRig) fill() error {
	f, err := os.Create(r.full)
	if err != nil {
		return err
	}
	defer f.Close()
	for block := make([]byte, 1<<20); ; {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func (r *uploadRig) empty() error { return os.Remove(r.full) }

// ask sends a request to the API, trying again for a while if it does not answer or says that it cannot now.
func (r *uploadRig) ask(method, path string, body []byte, headers ...string) (*http.Response, error) {
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		req, err := http.NewRequest(method, "http://"+r.api+path, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", "Bearer "+rigKey)
		req.Header.Set("Tus-Resumable", "1.0.0")
		for i := 0; i < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		res, err := http.DefaultClient.Do(req)
		if err == nil && res.StatusCode != http.StatusLocked && res.StatusCode < 500 || time.Now().After(deadline) {
			return res, err
		}
		if err == nil {
			res.Body.Close()
		}
	}
}

// stored makes sure that the head pointer of a path leads to bytes with this hash.
func (r *uploadRig) stored(ctx context.Context, path object.Path, want object.Hash) error {
	b, err := r.read(ctx, object.HeadKey("www", path))
	if err != nil {
		return err
	}
	ptr, err := object.UnmarshalPointer(b)
	if err != nil || ptr.Hash != want {
		return fmt.Errorf("the bucket's pointer names %v, sent was %s (%v)", ptr, want, err)
	}
	if b, err = r.read(ctx, ptr.Blob); err != nil {
		return err
	}
	if got := object.HashOf(b); got != want {
		return fmt.Errorf("the blob has SHA-256 %s, its pointer says %s", got, want)
	}
	return nil
}

func (r *uploadRig) read(ctx context.Context, key object.Key) ([]byte, error) {
	body, _, err := r.reader.Get(ctx, key, origin.GetOptions{})
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(body)
}

// line forwards connections to the API, and can break them all.
type line struct {
	l  net.Listener
	to string
	wg sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool
}

func newLine(to string) (*line, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	n := &line{l: l, to: to, conns: map[net.Conn]bool{}}
	n.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n.wg.Go(func() { n.forward(c) })
		}
	})
	return n, nil
}

func (n *line) addr() string { return n.l.Addr().String() }

func (n *line) forward(c net.Conn) {
	defer c.Close()
	s, err := net.Dial("tcp", n.to)
	if err != nil {
		return
	}
	defer s.Close()
	n.mu.Lock()
	n.conns[c], n.conns[s] = true, true
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.conns, c)
		delete(n.conns, s)
	}()
	n.wg.Go(func() {
		_, _ = io.Copy(c, s)
		c.Close()
	})
	_, _ = io.Copy(s, c)
}

// cut breaks every connection.
func (n *line) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		if t, ok := c.(*net.TCPConn); ok {
			t.SetLinger(0)
		}
		c.Close()
	}
}

func (n *line) close() {
	n.l.Close()
	n.cut()
	n.wg.Wait()
}
