package embedded_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"perigee/object"
	"perigee/origin"
	"perigee/origin/origintest"
)

const (
	crashes       = 3
	crashWriters  = 6
	acksPerCrash  = 120 // acknowledged writes between two kills
	uploadWriters = 2
)

// diary is what was acknowledged.
type diary struct {
	acks atomic.Int64

	mu    sync.Mutex
	blobs map[object.Key]object.Hash
	heads map[object.Key]int // key -> last acknowledged number
}

func (d *diary) blob(key object.Key, h object.Hash) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.blobs[key] = h
	d.acks.Add(1)
}

func (d *diary) head(key object.Key, n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.heads[key] = n
	d.acks.Add(1)
}

// TestNothingAcknowledgedIsLost kills the server again and again under parallel writers and then reads everything that was
// acknowledged.
func TestNothingAcknowledgedIsLost(t *testing.T) {
	s := origintest.Start(t)
	w, r := writer(t, s.Config()), reader(t, s.Config())
	d := &diary{blobs: map[object.Key]object.Hash{}, heads: map[object.Key]int{}}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range crashWriters {
		wg.Go(func() { writeBlobs(ctx, w, d, uint64(i)) })
		wg.Go(func() { writeHead(ctx, t, w, r, d, object.Key(fmt.Sprintf("p/head/%d", i))) })
	}
	for i := range uploadWriters {
		wg.Go(func() { writeUploads(ctx, t, w, d, i) })
	}
	for range crashes {
		until := d.acks.Load() + acksPerCrash
		origintest.Eventually(t, "writes are acknowledged", func() bool { return d.acks.Load() >= until })
		s.Kill(t)
	}
	until := d.acks.Load() + acksPerCrash
	origintest.Eventually(t, "writes go on after the last crash", func() bool { return d.acks.Load() >= until })
	stop()
	wg.Wait()
	s.Kill(t)
	for key, hash := range d.blobs {
		if got := object.HashOf([]byte(read(t, r, key))); got != hash {
			t.Errorf("%s has the hash %s", key, got)
		}
	}
	for key, n := range d.heads {
		checkHead(t, r, key, n)
	}
	for o, err := range r.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(o.Key), "sgwtmp") || o.ETag == "" {
			t.Errorf("listed %+v", o)
		}
	}
	t.Logf("%d blobs and %d heads were acknowledged in %d writes", len(d.blobs), len(d.heads), d.acks.Load())
}

func writeBlobs(ctx context.Context, w *origin.Writer, d *diary, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	for n := 0; ctx.Err() == nil; n++ {
		body := bytes.Repeat(fmt.Appendf(nil, "%d %d %x|", seed, n, rnd.Uint64()), 1+rnd.IntN(20000))
		h := object.HashOf(body)
		key := object.BlobKey(h)
		for ctx.Err() == nil {
			if _, err := w.Put(ctx, key, body, origin.PutOptions{}); err == nil {
				d.blob(key, h)
				break
			}
		}
	}
}

// writeHead counts up in one object, each step conditional on the one before. Nobody else writes it, so that a failed
// precondition means that a write of its own was taken for somebody else's.
func writeHead(ctx context.Context, t *testing.T, w *origin.Writer, r *origin.Reader, d *diary, key object.Key) {
	etag := ""
	for n := 1; ctx.Err() == nil; n++ {
		body := headBody(n)
		for ctx.Err() == nil {
			got, err := w.Put(ctx, key, body, origin.PutOptions{IfMatch: etag, IfNoneMatch: etag == ""})
			if errors.Is(err, origin.ErrUnknown) { // then one has to look
				got, err = lookFor(ctx, r, key, body)
			}
			if err == nil {
				etag = got
				d.head(key, n)
				break
			}
			if errors.Is(err, origin.ErrPrecondition) {
				t.Errorf("%s at step %d: %v", key, n, err)
				return
			}
		}
	}
}

// lookFor returns the ETag of key if it holds body.
func lookFor(ctx context.Context, r *origin.Reader, key object.Key, body []byte) (etag string, err error) {
	return until(ctx, func() (string, error) {
		stored, info, err := r.Get(ctx, key, origin.GetOptions{})
		if err != nil {
			return "", err
		}
		defer stored.Close()
		got, err := io.ReadAll(stored)
		if err == nil && !bytes.Equal(got, body) {
			err = fmt.Errorf("%s: %w", key, fs.ErrNotExist)
		}
		return info.ETag, err
	})
}

func headBody(n int) []byte { return bytes.Repeat(fmt.Appendf(nil, "%d\n", n), 200) }

// checkHead makes sure that key is at its last acknowledged number or, as the one write whose acknowledgement the end of the
// test cut off, at the next.
func checkHead(t *testing.T, r *origin.Reader, key object.Key, n int) {
	t.Helper()
	got := read(t, r, key)
	if got != string(headBody(n)) && got != string(headBody(n+1)) {
		t.Errorf("%s is %.20q…, %d was acknowledged", key, got, n)
	}
}

// writeUploads stores objects in two parts. Nobody aborts an upload, so that none may be missing.
func writeUploads(ctx context.Context, t *testing.T, w *origin.Writer, d *diary, seed int) {
	for n := 0; ctx.Err() == nil; n++ {
		key := object.Key(fmt.Sprintf("u/%d-%d", seed, n))
		first := bytes.Repeat(fmt.Appendf(nil, "%07d|", n), origin.MinPart/8)
		last := fmt.Appendf(nil, "the end of %s", key)
		err := upload(ctx, w, key, first, last)
		if errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		if err == nil {
			d.blob(key, object.HashOf(append(first, last...)))
		}
	}
}

// upload repeats each step until it succeeds; one that cannot succeed any more ends it.
func upload(ctx context.Context, w *origin.Writer, key object.Key, bodies ...[]byte) error {
	id, err := until(ctx, func() (string, error) { return w.Create(ctx, key, "") })
	if err != nil {
		return err
	}
	var parts []origin.Part
	for i, body := range bodies {
		p, err := until(ctx, func() (origin.Part, error) { return w.Part(ctx, key, id, i+1, body) })
		if err != nil {
			return err
		}
		parts = append(parts, p)
	}
	_, err = until(ctx, func() (string, error) { return w.Complete(ctx, key, id, parts) })
	return err
}

func until[T any](ctx context.Context, f func() (T, error)) (v T, err error) {
	for ctx.Err() == nil {
		if v, err = f(); err == nil || errors.Is(err, fs.ErrNotExist) {
			return v, err
		}
	}
	return v, ctx.Err()
}
