package contract

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"

	"perigee/object"
	"perigee/origin"
)

// atOnce is how many requests a check that has many sends at a time.
const atOnce = 16

// trial is one run of a check. A method that finds the contract broken ends the run, by a panic that Try turns into its error; so
// those methods are for the goroutine of the check alone.
type trial struct {
	*Bucket
	ctx     context.Context
	dir     string // begins the keys of this run
	uploads []origin.Upload
	hidden  []object.Key // written, and perhaps not listed by a store with its own idea of them
}

// failure is what a trial's methods panic with.
type failure struct{ error }

func (t *trial) failf(format string, args ...any) { panic(failure{fmt.Errorf(format, args...)}) }

// ok ends the run if err is one.
func (t *trial) ok(err error) {
	if err != nil {
		panic(failure{err})
	}
}

// is ends the run unless err wraps want, and none of the errors that mean something else.
func (t *trial) is(err, want error) {
	switch {
	case err == nil:
		t.failf("it succeeded, where %q was to be expected", want)
	case !errors.Is(err, want):
		t.failf("%w, where %q was to be expected", err, want)
	}
	for _, other := range []error{fs.ErrNotExist, origin.ErrNotModified, origin.ErrPrecondition, origin.ErrRange, origin.ErrParts,
		origin.ErrDenied, origin.ErrFull, origin.ErrUnavailable, origin.ErrUnknown} {
		if other != want && !errors.Is(want, other) && errors.Is(err, other) {
			t.failf("error %v is also %v", err, other)
		}
	}
}

// isOneOf reports whether err wraps one of the others.
func isOneOf(err error, others ...error) bool {
	return slices.ContainsFunc(others, func(other error) bool { return errors.Is(err, other) })
}

func (t *trial) key(name string) object.Key { return object.Key(t.dir + name) }

// put stores body and returns its ETag.
func (t *trial) put(key object.Key, body []byte) string {
	etag, err := t.writer.Put(t.ctx, key, body, origin.PutOptions{})
	t.ok(err)
	return etag
}

// get reads what o asks for to its end.
func (b *Bucket) get(ctx context.Context, key object.Key, o origin.GetOptions) ([]byte, origin.Info, error) {
	body, info, err := b.reader.Get(ctx, key, o)
	if err != nil {
		return nil, info, err
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	return data, info, err
}

// holds ends the run unless key is want.
func (t *trial) holds(key object.Key, want []byte) {
	got, info, err := t.get(t.ctx, key, origin.GetOptions{})
	t.ok(err)
	if !bytes.Equal(got, want) {
		t.failf("%s holds %d bytes that differ from the %d stored", key, len(got), len(want))
	}
	if info.Size != int64(len(want)) || info.Key != key || info.ETag == "" || info.Modified.IsZero() {
		t.failf("%s is described as %+v", key, info)
	}
}

// absent ends the run unless there is no such object.
func (t *trial) absent(key object.Key) {
	_, err := t.reader.Head(t.ctx, key)
	t.is(err, fs.ErrNotExist)
}

// create begins an upload, which is aborted after the run.
func (t *trial) create(key object.Key) string {
	id, err := t.writer.Create(t.ctx, key, "application/octet-stream")
	t.ok(err)
	t.uploads = append(t.uploads, origin.Upload{Key: key, ID: id})
	return id
}

// part stores a part.
func (t *trial) part(key object.Key, id string, number int, body []byte) origin.Part {
	p, err := t.writer.Part(t.ctx, key, id, number, body)
	t.ok(err)
	if p.Number != number || p.Size != int64(len(body)) || p.ETag == "" {
		t.failf("part %d is described as %+v", number, p)
	}
	return p
}

// all runs f for 0 to n-1, atOnce at a time, and ends the run with the first error.
func (t *trial) all(n int, f func(int) error) {
	var wg sync.WaitGroup
	work := make(chan int)
	errs := make([]error, n)
	for range atOnce {
		wg.Go(func() {
			for i := range work {
				errs[i] = f(i)
			}
		})
	}
	for i := range n {
		work <- i
	}
	close(work)
	wg.Wait()
	for _, err := range errs {
		t.ok(err)
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
