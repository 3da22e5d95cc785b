package embedded

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/s3response"
)

// tape is what a store synced, in order: "data" for an object's file before it has its name, else the path below the
// directory of buckets. With it goes whether the object named watch existed then.
type tape struct {
	s     *store
	watch string
	steps []string
	fail  error // what the next sync of data fails with
}

func (r *tape) note(step string) {
	if _, err := os.Stat(filepath.Join(r.s.root, r.watch)); errors.Is(err, fs.ErrNotExist) {
		step += " before"
	}
	r.steps = append(r.steps, step)
}

// take returns the steps so far and starts over with the object watch.
func (r *tape) take(watch string) string {
	steps := strings.Join(r.steps, ", ")
	r.steps, r.watch = nil, watch
	return steps
}

// recorded returns a store in this process whose syncs are on tape.
func recorded(t *testing.T) (*store, *tape) {
	t.Helper()
	root := t.TempDir()
	t.Chdir(root) // so that the working directory is put back afterwards
	s, err := newStore(root, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	if err := s.ensureBucket(t.Context(), "bucket", "owner"); err != nil {
		t.Fatal(err)
	}
	r := &tape{s: s}
	s.fsync = func(path string) error {
		rel, err := filepath.Rel(s.root, path)
		if err != nil {
			return err
		}
		r.note(rel)
		return syncPath(path)
	}
	s.syncFile = func(f *os.File) error {
		r.note("data")
		return errors.Join(r.fail, f.Sync())
	}
	return s, r
}

func ptr[T any](v T) *T { return &v }

func putObject(t *testing.T, s *store, key string) {
	t.Helper()
	body := "content of " + key
	_, err := s.PutObject(t.Context(), s3response.PutObjectInput{
		Bucket: ptr("bucket"), Key: &key, Body: strings.NewReader(body), ContentLength: ptr(int64(len(body))),
	})
	if err != nil {
		t.Fatal(err)
	}
}

func deleteObject(t *testing.T, s *store, key string) {
	t.Helper()
	if _, err := s.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: ptr("bucket"), Key: &key}); err != nil {
		t.Fatal(err)
	}
}

func TestOrderOfSyncs(t *testing.T) {
	s, r := recorded(t)
	expect := func(what, want string) {
		t.Helper()
		if got := r.take(""); got != want {
			t.Fatalf("%s synced\n%s, want\n%s", what, got, want)
		}
	}
	r.take("bucket/b/aa/x")
	putObject(t, s, "b/aa/x")
	expect("a put in a new directory", "data before, bucket/b/aa/x, bucket/b/aa, bucket/b, bucket, .")
	r.take("bucket/b/aa/y")
	putObject(t, s, "b/aa/y")
	expect("a put in a known directory", "data before, bucket/b/aa/y, bucket/b/aa")
	r.take("bucket/b/bb/z")
	putObject(t, s, "b/bb/z")
	expect("a put in a new directory of a known one", "data before, bucket/b/bb/z, bucket/b/bb, bucket/b")
	r.take("bucket/b/aa/x")
	putObject(t, s, "b/aa/x")
	expect("a replacement", "data, bucket/b/aa/x, bucket/b/aa")
	deleteObject(t, s, "b/aa/y")
	expect("a delete", "bucket/b/aa")
	deleteObject(t, s, "b/aa/x")
	expect("the delete of the last", "bucket/b")
	r.take("bucket/b/aa/x")
	putObject(t, s, "b/aa/x")
	expect("a put in a directory that is new again", "data before, bucket/b/aa/x, bucket/b/aa, bucket/b, bucket, .")
}

func TestFailedSyncIsNoSuccess(t *testing.T) {
	s, r := recorded(t)
	r.fail = errors.New("the disk is broken")
	_, err := s.PutObject(t.Context(), s3response.PutObjectInput{
		Bucket: ptr("bucket"), Key: ptr("b/x"), Body: strings.NewReader("x"), ContentLength: ptr(int64(1)),
	})
	if !errors.Is(err, r.fail) {
		t.Fatalf("put: %v", err)
	}
	if _, err := os.Stat("bucket/b/x"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("the object is there all the same: %v", err)
	}
}

// part stores a part and returns it as CompleteMultipartUpload wants it.
func part(t *testing.T, s *store, key, id string, n int32, body []byte) types.CompletedPart {
	t.Helper()
	out, err := s.UploadPart(t.Context(), &s3.UploadPartInput{
		Bucket: ptr("bucket"), Key: &key, UploadId: &id, PartNumber: &n,
		Body: bytes.NewReader(body), ContentLength: ptr(int64(len(body))),
	})
	if err != nil {
		t.Fatal(err)
	}
	return types.CompletedPart{PartNumber: &n, ETag: out.ETag}
}

func TestCompletionSyncsBeforeItRemovesParts(t *testing.T) {
	s, r := recorded(t)
	up, err := s.CreateMultipartUpload(t.Context(), s3response.CreateMultipartUploadInput{Bucket: ptr("bucket"), Key: ptr("u/x")})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(uploadsDir("bucket", "u/x"), up.UploadId)
	if got, want := r.take(dir+"/1"), fmt.Sprintf("%s, %s, bucket/.sgwtmp/multipart, bucket/.sgwtmp, bucket", dir, filepath.Dir(dir)); got != want {
		t.Fatalf("create synced\n%s, want\n%s", strings.ReplaceAll(got, " before", ""), want)
	}
	parts := []types.CompletedPart{part(t, s, "u/x", up.UploadId, 1, make([]byte, 5<<20))}
	if got, want := r.take(""), fmt.Sprintf("data before, %s/1, %s", dir, dir); got != want {
		t.Fatalf("a part synced\n%s, want\n%s", got, want)
	}
	parts = append(parts, part(t, s, "u/x", up.UploadId, 2, []byte("end")))
	complete := func() error {
		_, _, err := s.CompleteMultipartUpload(t.Context(), &s3.CompleteMultipartUploadInput{
			Bucket: ptr("bucket"), Key: ptr("u/x"), UploadId: &up.UploadId,
			MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
		})
		return err
	}

	r.fail = errors.New("the disk is broken")
	if err := complete(); err == nil {
		t.Fatal("it was completed without being synced")
	}
	r.fail = nil
	if _, err := os.Stat("bucket/u/x"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("the object is there all the same: %v", err)
	}

	r.take("bucket/u/x")
	if err := complete(); err != nil {
		t.Fatalf("after the failure it cannot be completed: %v", err)
	}
	if got, want := r.take(""), "data before, bucket/u/x, bucket/u, bucket, ."; got != want {
		t.Fatalf("completing synced\n%s, want\n%s", got, want)
	}
	if fi, err := os.Stat("bucket/u/x"); err != nil || fi.Size() != 5<<20+3 {
		t.Fatalf("the object is %v, %v", fi, err)
	}
}

// TestManyParts: the list of part sizes must not exceed what a file system has for attributes.
func TestManyParts(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := probeXattr(filepath.Dir(f.Name())); err != nil {
		t.Skipf("no extended attributes here: %v", err)
	}
	storer := shortParts{meta.XattrMeta{}}
	for _, n := range []int{1, 10, 10000} {
		m := backend.MpUploadMetadata{UploadID: "the-id", Parts: make([]int64, n)}
		for i := range m.Parts {
			m.Parts[i] = int64(i+1) * (16<<20 + int64(i*i)%977)
		}
		value, err := backend.MarshalMpUploadMetadata(m, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := storer.StoreAttribute(f, "bucket", "key", partsAttribute, value); err != nil {
			t.Fatalf("%d parts: %v", n, err)
		}
		value, err = storer.RetrieveAttribute(f, "bucket", "key", partsAttribute)
		if err != nil {
			t.Fatal(err)
		}
		got, err := backend.UnmarshalMpUploadMetadata(value, false)
		if err != nil || got.UploadID != "the-id" || n <= 10 && len(got.Parts) != n {
			t.Fatalf("%d parts: kept %+v, %v", n, got, err)
		}
	}
}
