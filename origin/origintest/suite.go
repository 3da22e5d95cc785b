package origintest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"testing"

	"perigee/object"
	"perigee/origin"
)

// Test runs the suite against a real S3. config gives the account that may do everything; each case makes a bucket of its own with
// it, so that a store with other contents can be tested too, and the cases run in parallel. Buckets and objects are left
// behind.
func Test(t *testing.T, config func(t *testing.T) origin.Config) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, *bucket)
	}{
		{"put and get", putGet},
		{"empty object", empty},
		{"ranges", ranges},
		{"missing", missing},
		{"conditional put", conditionalPut},
		{"conditional put of a large body", conditionalLarge},
		{"race of conditional puts", race},
		{"conditional get", conditionalGet},
		{"bytes come with their own ETag", ownETags},
		{"delete", remove},
		{"awkward keys", awkwardKeys},
		{"list in pages", listPages},
		{"cancelled list", cancelledList},
		{"multipart", multipart},
		{"multipart resumed from the list of parts", resumed},
		{"multipart completed twice", completedTwice},
		{"multipart aborted", aborted},
		{"unfinished uploads", unfinished},
		{"wrong secret", wrongSecret},
		{"missing bucket", missingBucket},
		{"ensure bucket", ensureBucket},
		{"unavailable", unavailable},
		{"body cut short", cutShort},
		{"answer lost", answerLost},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t, openBucket(t, config(t)))
		})
	}
}

// bucket is a fresh bucket and both its halves.
type bucket struct {
	t   *testing.T
	ctx context.Context
	cfg origin.Config
	r   *origin.Reader
	w   *origin.Writer
}

func openBucket(t *testing.T, cfg origin.Config) *bucket {
	t.Helper()
	var id [6]byte
	rand.Read(id[:])
	cfg.Bucket = "suite-" + hex.EncodeToString(id[:])
	b := openHalves(t, cfg)
	if err := b.w.EnsureBucket(b.ctx); err != nil {
		t.Fatal(err)
	}
	return b
}

// openHalves opens cfg as it is.
func openHalves(t *testing.T, cfg origin.Config) *bucket {
	t.Helper()
	r, err := origin.NewReader(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	w, err := origin.NewWriter(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return &bucket{t: t, ctx: t.Context(), cfg: cfg, r: r, w: w}
}

// put stores body and returns its ETag.
func (b *bucket) put(key object.Key, body []byte) string {
	b.t.Helper()
	etag, err := b.w.Put(b.ctx, key, body, origin.PutOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	return etag
}

// get reads what o asks for to its end.
func (b *bucket) get(key object.Key, o origin.GetOptions) ([]byte, origin.Info, error) {
	body, info, err := b.r.Get(b.ctx, key, o)
	if err != nil {
		return nil, info, err
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	return data, info, err
}

// holds checks that key is want.
func (b *bucket) holds(key object.Key, want []byte) {
	b.t.Helper()
	got, info, err := b.get(key, origin.GetOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		b.t.Fatalf("%s holds %d bytes that differ from the %d stored", key, len(got), len(want))
	}
	if info.Size != int64(len(want)) || info.Key != key || info.ETag == "" || info.Modified.IsZero() {
		b.t.Fatalf("info of %s is %+v", key, info)
	}
}

// is checks that err wraps want, and none of the errors that mean something else.
func is(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error is %v, want %v", err, want)
	}
	for _, other := range []error{fs.ErrNotExist, origin.ErrNotModified, origin.ErrPrecondition, origin.ErrRange,
		origin.ErrDenied, origin.ErrFull, origin.ErrUnavailable, origin.ErrUnknown} {
		if other != want && !errors.Is(want, other) && errors.Is(err, other) {
			t.Fatalf("error %v is also %v", err, other)
		}
	}
}

// blob returns n bytes that do not compress and differ between seeds.
func blob(seed string, n int) []byte {
	out := make([]byte, 0, n+32)
	for i := 0; len(out) < n; i++ {
		h := object.HashOf(fmt.Appendf(nil, "%s %d", seed, i))
		out = append(out, h[:]...)
	}
	return out[:n]
}
