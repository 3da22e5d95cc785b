package embedded_test

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/pkg/xattr"

	"perigee/object"
	"perigee/origin"
	"perigee/origin/origintest"
)

func reader(t *testing.T, cfg origin.Config) *origin.Reader {
	t.Helper()
	r, err := origin.NewReader(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func writer(t *testing.T, cfg origin.Config) *origin.Writer {
	t.Helper()
	w, err := origin.NewWriter(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

func put(t *testing.T, w *origin.Writer, key object.Key, body string) {
	t.Helper()
	if _, err := w.Put(t.Context(), key, []byte(body), origin.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, r *origin.Reader, key object.Key) string {
	t.Helper()
	body, _, err := r.Get(t.Context(), key, origin.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// uploadDir finds the directory of an upload's parts.
func uploadDir(t *testing.T, root, id string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(root, "s3", origintest.Bucket, ".sgwtmp", "multipart", "*", id))
	if err != nil || len(found) != 1 {
		t.Fatalf("directories of upload %s: %v, %v", id, found, err)
	}
	return found[0]
}

// nameUploads notes on a directory of uploads which key they are for, as the server does.
func nameUploads(t *testing.T, dir, key string) {
	t.Helper()
	if err := xattr.Set(dir, "user.objname", []byte(key)); err != nil {
		t.Fatal(err)
	}
}
