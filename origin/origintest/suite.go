package origintest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"slices"
	"testing"

	"perigee/object"
	"perigee/origin"
	"perigee/origin/contract"
)

// Test runs the checks of package contract against a real S3, and what Perigee's own side makes of lines and stores that fail. config
// gives the account that may do everything; a bucket is made with it, so that a store with other contents can be tested too, and
// left behind, empty but for what the faults leave. lacks are the checks that this store is known to fail: one that holds after all fails the
// test, so that the list stays true.
func Test(t *testing.T, config func(t *testing.T) origin.Config, lacks ...string) {
	cfg := config(t)
	cfg.Bucket = "suite-" + random()
	b := open(t, cfg)
	if err := b.w.EnsureBucket(b.ctx); err != nil {
		t.Fatal(err)
	}
	t.Run("contract", func(t *testing.T) { checks(t, cfg, lacks) })
	t.Run("faults", func(t *testing.T) {
		for _, c := range faults() {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				c.run(t, open(t, cfg))
			})
		}
	})
}

// checks runs the checks at the same time, and looks that they leave nothing behind.
func checks(t *testing.T, cfg origin.Config, lacks []string) {
	prefix := object.ScratchPrefix + random() + "/"
	b, err := contract.Open(t.Context(), cfg, prefix)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var names []string
	t.Run("checks", func(t *testing.T) {
		for _, c := range contract.Checks() {
			names = append(names, c.Name)
			t.Run(c.Name, func(t *testing.T) {
				t.Parallel()
				err := b.Try(t.Context(), c)
				switch lacking := slices.Contains(lacks, c.Name); {
				case err != nil && !lacking:
					t.Error(err)
				case err == nil && lacking:
					t.Error("it holds, and stands on the list of what this store lacks")
				case err != nil:
					t.Logf("lacking as known: %v", err)
				}
			})
		}
	})
	for _, name := range lacks {
		if !slices.Contains(names, name) {
			t.Errorf("there is no check %q", name)
		}
	}
	for info, err := range open(t, cfg).r.List(t.Context(), prefix) {
		t.Fatalf("left behind: %s, %v", info.Key, err)
	}
}

func random() string {
	var id [6]byte
	rand.Read(id[:])
	return hex.EncodeToString(id[:])
}

// bucket is both halves of one.
type bucket struct {
	t   *testing.T
	ctx context.Context
	cfg origin.Config
	r   *origin.Reader
	w   *origin.Writer
}

func open(t *testing.T, cfg origin.Config) *bucket {
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
	got, _, err := b.get(key, origin.GetOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		b.t.Fatalf("%s holds %d bytes that differ from the %d stored", key, len(got), len(want))
	}
}

// create begins an upload.
func (b *bucket) create(key object.Key) string {
	b.t.Helper()
	id, err := b.w.Create(b.ctx, key, "application/octet-stream")
	if err != nil {
		b.t.Fatal(err)
	}
	return id
}

// part stores a part.
func (b *bucket) part(key object.Key, id string, number int, body []byte) origin.Part {
	b.t.Helper()
	p, err := b.w.Part(b.ctx, key, id, number, body)
	if err != nil {
		b.t.Fatal(err)
	}
	return p
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
	for h := object.HashOf([]byte(seed)); len(out) < n; h = object.HashOf(h[:]) {
		out = append(out, h[:]...)
	}
	return out[:n]
}
