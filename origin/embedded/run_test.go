package embedded_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"perigee/object"
	"perigee/origin"
	"perigee/origin/embedded"
	"perigee/origin/origintest"
)

// TestSidecar runs the suite on a directory whose metadata is kept in files. Keys are names of files there, too.
func TestSidecar(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "FORMAT"), `{"format":1,"metadata":"sidecar"}`)
	s := origintest.StartIn(t, root)
	origintest.Test(t, func(*testing.T) origin.Config { return s.Config() },
		"keys with a very long element", "a key and keys below it", "keys with an empty element")
}

func TestEdgeAccountMayOnlyRead(t *testing.T) {
	s := origintest.Start(t)
	w := writer(t, s.Config())
	put(t, w, "b/x", "content")
	id, err := w.Create(t.Context(), "u/x", "")
	if err != nil {
		t.Fatal(err)
	}

	r := reader(t, s.EdgeConfig())
	if got := read(t, r, "b/x"); got != "content" {
		t.Fatalf("read %q", got)
	}
	if _, err := r.Head(t.Context(), "b/x"); err != nil {
		t.Fatal(err)
	}
	if err := r.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, err := range r.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
	}

	edge := writer(t, s.EdgeConfig())
	_, putErr := edge.Put(t.Context(), "b/y", []byte("y"), origin.PutOptions{})
	_, overwriteErr := edge.Put(t.Context(), "b/x", []byte("y"), origin.PutOptions{})
	_, createErr := edge.Create(t.Context(), "u/y", "")
	_, partErr := edge.Part(t.Context(), "u/x", id, 1, []byte("y"))
	_, partsErr := edge.ListParts(t.Context(), "u/x", id)
	other := s.EdgeConfig()
	other.Bucket = "another-bucket"
	for what, err := range map[string]error{
		"put": putErr, "overwrite": overwriteErr, "create": createErr, "part": partErr, "list parts": partsErr,
		"delete": edge.Delete(t.Context(), "b/x"), "abort": edge.Abort(t.Context(), "u/x", id),
		"create bucket": writer(t, other).EnsureBucket(t.Context()),
	} {
		if !errors.Is(err, origin.ErrDenied) {
			t.Errorf("%s by the edge account: %v, want %v", what, err, origin.ErrDenied)
		}
	}
	if got := read(t, r, "b/x"); got != "content" {
		t.Fatalf("afterwards it reads %q", got)
	}
}

func TestNobodyElse(t *testing.T) {
	s := origintest.Start(t)
	put(t, writer(t, s.Config()), "b/x", "content")
	resp, err := http.Get("http://" + s.Child.Addr() + "/" + origintest.Bucket + "/b/x") // unsigned
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Fatalf("an unsigned request got %s", resp.Status)
	}
	cfg := s.Config()
	cfg.AccessKey = "stranger"
	if _, err := reader(t, cfg).Head(t.Context(), "b/x"); !errors.Is(err, origin.ErrDenied) {
		t.Fatalf("a stranger got %v", err)
	}
}

func TestDataOutlivesTheServer(t *testing.T) {
	root := t.TempDir()
	s := origintest.StartIn(t, root)
	put(t, writer(t, s.Config()), "b/x", "content")
	s.Stop()
	s = origintest.StartIn(t, root)
	if got := read(t, reader(t, s.Config()), "b/x"); got != "content" {
		t.Fatalf("after a restart it reads %q", got)
	}
}

func TestRefusals(t *testing.T) {
	running := origintest.Start(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "")
	for _, c := range []struct{ name, root, listen, want string }{
		{"no directory", file, "127.0.0.1:0", "not a directory"},
		{"below a file", filepath.Join(file, "below"), "127.0.0.1:0", "not a directory"},
		{"second server", running.Root, "127.0.0.1:0", "another process (pid"},
		{"port taken", t.TempDir(), taken.Addr().String(), "another program uses the address"},
		{"no port", t.TempDir(), "127.0.0.1", "write host:port"},
		{"damaged format", damaged(t, `{"format":1`), "127.0.0.1:0", "it is damaged"},
		{"future format", damaged(t, `{"format":2,"metadata":"xattr"}`), "127.0.0.1:0", "format 2 is not known"},
		{"metadata lost", stripped(t), "127.0.0.1:0", "copied without extended attributes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, err := origintest.ChildConfig(c.root, c.listen, nil)
			if err != nil {
				t.Fatal(err)
			}
			child, err := embedded.StartChild(t.Context(), cfg)
			if err == nil {
				t.Fatalf("it started, on %s", child.Addr())
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Fatalf("the error is %q, want one with %q", err, c.want)
			}
		})
	}
}

func TestUnwritableDirectory(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may write everywhere")
	}
	root := t.TempDir()
	if err := os.Chmod(root, 0o500); err != nil {
		t.Fatal(err)
	}
	cfg, err := origintest.ChildConfig(root, "127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := embedded.StartChild(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "must be able to write") {
		t.Fatalf("the error is %v", err)
	}
}

// damaged returns a data directory with that FORMAT.
func damaged(t *testing.T, format string) string {
	root := t.TempDir()
	write(t, filepath.Join(root, "FORMAT"), format)
	return root
}

// stripped returns a data directory whose objects were copied without their extended attributes.
func stripped(t *testing.T) string {
	root := t.TempDir()
	dir := filepath.Join(root, "s3", origintest.Bucket, "b")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "x"), "content")
	return root
}

// TestHalfMadeBucket starts on what a kill between the two steps of creating a bucket leaves.
func TestHalfMadeBucket(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "s3", origintest.Bucket), 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, writer(t, origintest.StartIn(t, root).Config()), "b/x", "content")
}

// TestLeftoversAreNoObjects starts on what a kill in the middle of replacing an object leaves.
func TestLeftoversAreNoObjects(t *testing.T) {
	s := origintest.Start(t)
	put(t, writer(t, s.Config()), "p/x", "content")
	left := filepath.Join(s.Root, "s3", origintest.Bucket, "p", ".x.sgwtmp.1700000000000000000")
	write(t, left, "half")
	for o, err := range reader(t, s.Config()).List(t.Context(), "") {
		if err != nil || o.Key != "p/x" {
			t.Fatalf("listed %v, %v", o, err)
		}
	}
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("the leftover is still there: %v", err)
	}
}

// TestInterruptedCompletion starts on what a kill inside CompleteMultipartUpload leaves, before and after the object got
// its name.
func TestInterruptedCompletion(t *testing.T) {
	s := origintest.Start(t)
	w := writer(t, s.Config())
	body := bytes.Repeat([]byte("x"), origin.MinPart)
	uploads := map[object.Key]string{}
	parts := map[object.Key][]origin.Part{}
	for _, key := range []object.Key{"u/before", "u/after"} {
		id, err := w.Create(t.Context(), key, "")
		if err != nil {
			t.Fatal(err)
		}
		uploads[key] = id
		for n := 1; n <= 2; n++ {
			p, err := w.Part(t.Context(), key, id, n, body)
			if err != nil {
				t.Fatal(err)
			}
			parts[key] = append(parts[key], p)
		}
	}
	before := uploadDir(t, s.Root, uploads["u/before"])
	after := uploadDir(t, s.Root, uploads["u/after"])
	if _, err := w.Complete(t.Context(), "u/after", uploads["u/after"], parts["u/after"]); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	if err := os.Rename(before, before+".0123-2.inprogress"); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(after+".0123-2.inprogress", 0o700); err != nil { // some parts were removed already
		t.Fatal(err)
	}
	nameUploads(t, filepath.Dir(after), "u/after")

	s = origintest.StartIn(t, s.Root)
	w = writer(t, s.Config())
	for _, key := range []object.Key{"u/before", "u/after"} {
		if _, err := w.Complete(t.Context(), key, uploads[key], parts[key]); err != nil {
			t.Fatalf("complete %s: %v", key, err)
		}
		if info, err := reader(t, s.Config()).Head(t.Context(), key); err != nil || info.Size != 2*origin.MinPart {
			t.Fatalf("%s is %+v, %v", key, info, err)
		}
	}
	if _, err := os.Stat(after + ".0123-2.inprogress"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("the parts of a finished upload are still there: %v", err)
	}
}

// TestEarlyAnswersArrive sends bodies whose fate is decided before they are read: the answer must get through, not a
// connection reset, which would leave a conditional write undecided.
func TestEarlyAnswersArrive(t *testing.T) {
	s := origintest.Start(t)
	put(t, writer(t, s.Config()), "b/x", "first")
	cfg := s.Config()
	cfg.MaxRetries = -1
	once := writer(t, cfg)
	for _, size := range []int{512 << 10, 1 << 20, 4 << 20, 8 << 20} {
		body := make([]byte, size)
		for range 8 {
			if _, err := once.Put(t.Context(), "b/x", body, origin.PutOptions{IfNoneMatch: true}); !errors.Is(err, origin.ErrPrecondition) {
				t.Fatalf("a put of %d bytes: %v, want %v", size, err, origin.ErrPrecondition)
			}
		}
	}
}

// TestListUploads lists unfinished uploads by a prefix, over more than one page.
func TestListUploads(t *testing.T) {
	s := origintest.Start(t)
	w := writer(t, s.Config())
	const n = 1005 // a page has 1,000
	want := map[object.Key]string{}
	for i := range n {
		key := object.Key(fmt.Sprintf("u/%04d", i))
		id, err := w.Create(t.Context(), key, "")
		if err != nil {
			t.Fatal(err)
		}
		want[key] = id
	}
	if _, err := w.Create(t.Context(), "w/other", ""); err != nil {
		t.Fatal(err)
	}
	for up, err := range w.ListUploads(t.Context(), "u/", time.Now().Add(time.Hour)) {
		if err != nil {
			t.Fatal(err)
		}
		if want[up.Key] != up.ID {
			t.Fatalf("listed %+v", up)
		}
		delete(want, up.Key)
	}
	if len(want) != 0 {
		t.Fatalf("%d of %d are not listed", len(want), n)
	}
}

// TestEmptyPutThenAnother: a tool that puts an empty object sends its signature in a chunked body, which was not read to its end; the next request on
// the connection began with what was left of it and was refused.
func TestEmptyPutThenAnother(t *testing.T) {
	s := origintest.Start(t)
	tool := origintest.NewTool(t, s.Config())
	for range 20 {
		tool.Put("tool/empty", nil)
		tool.Put("tool/x", []byte("content"))
	}
}
