package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"perigee/client"
	"perigee/object"
	"perigee/origin/miniotest"
	"perigee/problem"
)

// noise returns n bytes that nothing compresses and no other seed gives.
func noise(seed byte, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed, 'd'}).Read(b)
	return b
}

// parts counts the parts that a client sends to the storage, and breaks some: they are told from calls of the API by their signature.
type parts struct {
	sent  atomic.Int64
	fault func(n int64, req *http.Request) // may be nil
}

func (p *parts) see(req *http.Request) error {
	if req.URL.Query().Has("X-Amz-Signature") {
		if req.Header.Get("Authorization") != "" {
			return errors.New("the API key was sent to the storage")
		}
		n := p.sent.Add(1)
		if p.fault != nil {
			p.fault(n, req)
		}
	}
	return nil
}

// cutAfter breaks a request's body off.
func cutAfter(req *http.Request, n int64) {
	req.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(io.LimitReader(req.Body, n), cutHere{}), req.Body}
}

func (s *seen) faults(f func(*http.Request) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// clientDirect sends files straight to the storage.
func clientDirect(t *testing.T, ctx context.Context, c *client.Client, log *seen) {
	defer log.faults(nil)
	body := noise(1, 20<<20)
	var progress atomic.Int64
	o := client.DirectOptions{SHA256: sha256.Sum256(body), Tags: []object.Tag{"x"}, Parallel: 2, Sent: func(n int64) { progress.Add(n) }}
	// The first part breaks off, the URL of the second is no longer good.
	p := &parts{fault: func(n int64, req *http.Request) {
		switch n {
		case 1:
			cutAfter(req, 1<<20)
		case 2:
			q := req.URL.Query()
			q.Set("X-Amz-Signature", strings.Repeat("0", 64))
			req.URL.RawQuery = q.Encode()
		}
	}}
	log.faults(p.see)
	f, err := c.UploadDirect(ctx, "www", "/direct.bin", bytes.NewReader(body), int64(len(body)), o)
	if err != nil || f.SHA256 != o.SHA256 || f.Size != int64(len(body)) || p.sent.Load() != 3+2 || progress.Load() != f.Size {
		t.Errorf("%+v, %d parts were sent, %d bytes told of, %v", f, p.sent.Load(), progress.Load(), err)
	}
	directResumed(t, ctx, c, log)
	directRefused(t, ctx, c)

	// Nothing of what the site has is sent again, whichever way.
	p = &parts{}
	patches := 0
	log.faults(func(req *http.Request) error {
		if req.Method == http.MethodPatch {
			patches++
		}
		return p.see(req)
	})
	again, err := c.UploadDirect(ctx, "www", "/direct-again.bin", bytes.NewReader(body), int64(len(body)), o)
	if err != nil || again.SHA256 != o.SHA256 || p.sent.Load() != 0 {
		t.Errorf("what the site has: %+v, %d parts were sent, %v", again, p.sent.Load(), err)
	}
	again, err = c.Upload(ctx, "www", "/tus-again.bin", bytes.NewReader(body), int64(len(body)), client.UploadOptions{SHA256: o.SHA256})
	if err != nil || again.SHA256 != o.SHA256 || patches != 0 {
		t.Errorf("what the site has: %+v, %d pieces were sent, %v", again, patches, err)
	}
	if _, claimed, err := c.Claim(ctx, "www", "/x", client.PutOptions{Size: 5, SHA256: object.HashOf([]byte("never"))}); claimed || err != nil {
		t.Errorf("claimed what nobody has published: %v, %v", claimed, err)
	}
	if _, claimed, err := c.Claim(ctx, "www", "/x", client.PutOptions{Size: 5, SHA256: o.SHA256}); claimed || err != nil {
		t.Errorf("claimed a content with another length: %v, %v", claimed, err)
	}
	if there, err := c.Exists(ctx, "www", "/x"); there || err != nil {
		t.Errorf("something was published: %v, %v", there, err)
	}
}

// directResumed goes on with an upload that another process began: what has arrived is not sent again.
func directResumed(t *testing.T, ctx context.Context, c *client.Client, log *seen) {
	body := noise(2, 33<<20)
	stop, cancel := context.WithCancel(ctx)
	p := &parts{fault: func(n int64, req *http.Request) {
		if n == 3 {
			cancel()
		}
	}}
	log.faults(p.see)
	var id object.UploadID
	o := client.DirectOptions{SHA256: sha256.Sum256(body), Parallel: 1, Begun: func(begun object.UploadID) { id = begun }}
	if _, err := c.UploadDirect(stop, "www", "/resumed.bin", bytes.NewReader(body), int64(len(body)), o); !errors.Is(err, context.Canceled) || id == "" {
		t.Fatalf("an upload that was stopped: %s, %v", id, err)
	}
	u, err := c.DirectStatus(ctx, id, 1, 1)
	if err != nil || len(u.Uploaded) != 2 || u.Parts != 5 || len(u.URLs) != 1 || u.Next != 2 {
		t.Fatalf("%+v %v", u, err)
	}
	if _, err := c.CommitDirect(ctx, id, 0); !errors.Is(err, problem.Kind("incomplete")) {
		t.Errorf("a commit of less than all: %v", err)
	}
	p = &parts{}
	log.faults(p.see)
	var progress atomic.Int64
	o.Resume, o.Parallel, o.Sent = id, 4, func(n int64) { progress.Add(n) }
	if _, err := c.UploadDirect(ctx, "www", "/resumed.bin", bytes.NewReader(body[1:]), int64(len(body)-1), o); err == nil {
		t.Error("went on with an upload of another length")
	}
	f, err := c.UploadDirect(ctx, "www", "/resumed.bin", bytes.NewReader(body), int64(len(body)), o)
	if err != nil || f.SHA256 != o.SHA256 || p.sent.Load() != 3 || progress.Load() != int64(len(body)) {
		t.Errorf("%+v, %d parts were sent, %d bytes told of, %v", f, p.sent.Load(), progress.Load(), err)
	}
	// Of a finished one it is told what it was published as.
	if u, err := c.DirectStatus(ctx, id, 1, 1); err != nil || u.File == nil || u.File.Version != f.Version {
		t.Errorf("%+v %v", u, err)
	}
	if again, err := c.CommitDirect(ctx, id, 0); err != nil || again.Version != f.Version {
		t.Errorf("%+v %v", again, err)
	}
	// One that is gone is begun anew.
	gone, err := c.BeginDirect(ctx, "www", "/gone.bin", 5, client.DirectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.EndDirect(ctx, gone.ID); err != nil {
		t.Error(err)
	}
	if _, err := c.DirectStatus(ctx, gone.ID, 1, 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an upload that was given up: %v", err)
	}
	if f, err := c.UploadDirect(ctx, "www", "/gone.bin", strings.NewReader("hello"), 5, client.DirectOptions{Resume: gone.ID}); err != nil || f.Size != 5 {
		t.Errorf("%+v %v", f, err)
	}
}

// shrinking is a file whose end is gone.
type shrinking struct{ *bytes.Reader }

// directRefused: other bytes than were declared, a file that cannot be read, a condition that does not hold.
func directRefused(t *testing.T, ctx context.Context, c *client.Client) {
	put := func(body io.ReaderAt, size int64, o client.DirectOptions) error {
		_, err := c.UploadDirect(ctx, "www", "/refused.bin", body, size, o)
		return err
	}
	if err := put(strings.NewReader("jello"), 5, client.DirectOptions{SHA256: object.HashOf([]byte("other"))}); !errors.Is(err, problem.Kind("digest-mismatch")) {
		t.Errorf("other bytes: %v", err)
	}
	if err := put(shrinking{bytes.NewReader([]byte("hel"))}, 5, client.DirectOptions{}); err == nil || !strings.Contains(err.Error(), "shorter") {
		t.Errorf("a file that has become shorter: %v", err)
	}
	if err := put(strings.NewReader("hello"), 5, client.DirectOptions{IfMatch: "001j0sftorgu8000"}); !errors.Is(err, client.ErrPrecondition) {
		t.Errorf("another version: %v", err)
	}
	if there, err := c.Exists(ctx, "www", "/refused.bin"); there || err != nil {
		t.Errorf("something was published: %v, %v", there, err)
	}
}

// TestPutDirect: perigee put --direct with MinIO as the storage, and what it says where direct uploads are off.
func TestPutDirect(t *testing.T) {
	store := miniotest.Start(t, miniotest.Options{})
	s := up(t, "storage.preset=minio", "storage.endpoint="+store.Endpoint(), "storage.public_endpoint="+store.Endpoint(), "storage.bucket="+miniotest.Bucket,
		"storage.access_key="+miniotest.RootAccess, "storage.secret_key="+miniotest.RootSecret,
		"storage.edge_access_key="+miniotest.RootAccess, "storage.edge_secret_key="+miniotest.RootSecret)
	dir := t.TempDir()
	files := map[string][]byte{"large.bin": noise(3, 21<<20), "small.txt": []byte("small"), "empty.txt": {}, "sub/文件.bin": noise(4, 9<<20)}
	for name, body := range files {
		file := filepath.Join(dir, name)
		ok(t, os.MkdirAll(filepath.Dir(file), 0o700))
		ok(t, os.WriteFile(file, body, 0o600))
	}
	out, err := s.Perigee(within(t, long), "put", "--direct", dir, "www:/d/")
	if err != nil || strings.Count(out, "\n") != len(files) {
		t.Fatalf("%s %v", out, err)
	}
	for name, body := range files {
		a := fetchOK(t, "127.0.1.1:"+s.siteURL("")[strings.LastIndexByte(s.siteURL(""), ':')+1:], s.siteURL(object.Path("/d/"+name).Escape()))
		if !bytes.Equal(a.Body, body) {
			t.Errorf("%s: %d bytes are served, %d were sent", name, len(a.Body), len(body))
		}
	}

	off := up(t)
	out, err = off.Perigee(within(t, long), "put", "--direct", dir)
	if err == nil || !strings.Contains(err.Error(), "storage.public_endpoint") || strings.Count(err.Error(), "perigee: --direct:") != 1 {
		t.Errorf("where direct uploads are off: %s %v", out, err)
	}
}
