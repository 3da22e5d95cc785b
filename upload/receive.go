package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"

	"perigee/catalog"
	"perigee/object"
	"perigee/origin"
)

// stateShare bounds what states cost: one is written when at least this many times its size was sent since the
// last. The hash's state grows with the file (32 bytes for each MiB), so writing it after every part would come to a
// quadratic sum. A crash costs a client what was sent since, a cut connection nothing.
const stateShare = 50

// receive takes body into the upload. What has arrived is kept, whatever ends it: an error of the body, a newer request,
// the client going away. With the last byte the file is published.
func (u *resumable) receive(ctx context.Context, body io.Reader) error {
	if u.result != nil {
		return nil
	}
	if u.complete() {
		return u.finish(ctx)
	}
	hold, err := u.p.hold(ctx, int64(u.state.partSize()))
	if err != nil {
		return err
	}
	defer hold.release()
	// Only the body ends with the client. What it has sent is stored.
	ctx = context.WithoutCancel(ctx)
	q, err := u.queue(ctx, hold)
	if err != nil {
		return err
	}
	defer q.close()
	err = u.read(q, body)
	switch {
	case err == nil && u.hasher.Size() == u.state.Length:
		return u.last(ctx, q)
	case err == nil:
		return u.keep(ctx, q)
	}
	var broken *BodyError
	if !errors.As(err, &broken) {
		return err // the bucket fails: the last state that was written stands
	}
	if kerr := u.keep(ctx, q); kerr != nil {
		return kerr
	}
	u.p.cfg.Log.Debug("the body of an upload broke off", "upload", u.row.ID, "offset", u.offset(), "err", err)
	switch {
	case errors.Is(err, errEnded):
		return errLocked
	case errors.Is(err, os.ErrDeadlineExceeded):
		return refuse(http.StatusRequestTimeout, "idle", "No bytes came for too long. What has arrived is kept; go on from there.")
	}
	return refuse(http.StatusBadRequest, "incomplete", "The body broke off. What has arrived is kept; go on from there.")
}

// queue returns the parts of the upload, with the tail loaded.
func (u *resumable) queue(ctx context.Context, hold *hold) (*parts, error) {
	st := u.state
	tail, err := u.tail(ctx)
	if err != nil {
		return nil, err
	}
	q := u.p.newParts(ctx, st.ID, st.partSize(), hold)
	q.multipart, q.stored, q.sent = st.Multipart, slices.Clone(st.Parts), len(st.Parts)
	q.adopt(tail)
	saved := st.Stored
	q.onSend = func() func() error {
		at := u.hasher.Size()
		stateSize := at/object.ChunkSize*int64(len(object.Hash{})) + 1024
		if at-saved < stateShare*stateSize {
			return nil
		}
		saved = at
		hasher, err := u.hasher.MarshalBinary()
		return func() error {
			if err != nil {
				return err
			}
			next := *u.state
			next.Multipart, next.Parts, next.Stored, next.Tail, next.Hasher = q.multipart, slices.Clone(q.stored), at, 0, hasher
			return u.write(ctx, next)
		}
	}
	return q, nil
}

// tail returns the bytes after the last whole part, in a buffer of a part's size.
func (u *resumable) tail(ctx context.Context) ([]byte, error) {
	st := u.state
	buf := make([]byte, 0, st.partSize())
	if st.Tail == 0 {
		return buf, nil
	}
	b, err := u.p.work(ctx, st.ID, "tail", int64(st.partSize()))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) < st.Tail {
		return nil, fmt.Errorf("tail of upload %s has %d bytes, its state counts %d", st.ID, len(b), st.Tail)
	}
	return append(buf, b[:st.Tail]...), nil
}

// read takes body until it ends or the file is complete.
func (u *resumable) read(q *parts, body io.Reader) error {
	for u.hasher.Size() < u.state.Length {
		_, err := q.readFrom(body, u.state.Length-u.hasher.Size(), u.hasher)
		if err == io.EOF || u.hasher.Size() == u.state.Length {
			return nil // an error after the last byte takes nothing away
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// keep stores what has arrived since the last state.
func (u *resumable) keep(ctx context.Context, q *parts) error {
	if err := q.settle(); err != nil {
		return err
	}
	u.extend(ctx)
	if u.hasher.Size() == u.offset() {
		return nil
	}
	if len(q.buf) > 0 {
		if _, err := u.p.cfg.Writer.Put(ctx, object.WorkKey(u.state.ID, "tail"), q.buf, origin.PutOptions{}); err != nil {
			return err
		}
	}
	next := *u.state
	next.Multipart, next.Parts, next.Tail = q.multipart, q.stored, int64(len(q.buf))
	next.Stored = u.hasher.Size() - next.Tail
	return u.save(ctx, next)
}

// last publishes the upload, whose last byte has just arrived. If that fails, what has arrived is kept and finish
// can do it later.
func (u *resumable) last(ctx context.Context, q *parts) error {
	if u.state.Length <= smallBody {
		err := u.publishSmall(ctx, q.buf)
		if err == nil {
			return nil
		}
		return errors.Join(err, u.keep(ctx, q))
	}
	if err := q.finish(); err != nil {
		return err
	}
	if err := u.keep(ctx, q); err != nil {
		return err
	}
	return u.publishLarge(ctx)
}

// finish publishes an upload that has all its bytes in the bucket.
func (u *resumable) finish(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	if u.state.Length > smallBody {
		return u.publishLarge(ctx)
	}
	hold, err := u.p.hold(ctx, u.state.Length)
	if err != nil {
		return err
	}
	defer hold.release()
	body, err := u.tail(ctx)
	if err != nil {
		return err
	}
	return u.publishSmall(ctx, body)
}

func (u *resumable) publishSmall(ctx context.Context, body []byte) error {
	b, err := u.p.putBlob(ctx, u.state.Path, u.state.TypeHint, u.hasher, body)
	if err != nil {
		return err
	}
	return u.publish(ctx, b)
}

func (u *resumable) publishLarge(ctx context.Context) error {
	st := u.state
	if err := u.p.complete(ctx, st.ID, st.Multipart, st.Parts, u.hasher); err != nil {
		return err
	}
	head, err := u.head(ctx)
	if err != nil {
		return err
	}
	b := newBlob(u.hasher, st.Path, head, st.TypeHint)
	b.key = object.UploadKey(st.ID)
	return u.publish(ctx, b)
}

// head returns the first bytes of the completed object, for its type.
func (u *resumable) head(ctx context.Context) ([]byte, error) {
	body, _, err := u.p.cfg.Reader.Get(ctx, object.UploadKey(u.state.ID), origin.GetOptions{Length: sniffLen})
	if err != nil {
		return nil, vanished(err)
	}
	defer body.Close()
	return io.ReadAll(body)
}

// publish records the blob as a version of the upload's path, and removes the state that is no longer needed.
func (u *resumable) publish(ctx context.Context, b blob) error {
	st := u.state
	rec, err := u.p.publishable(ctx, st.Site, st.Attributes)
	if err != nil {
		return err
	}
	u.p.at(afterBlob)
	res, err := u.p.record(ctx, rec, EventPublished, catalog.Change{
		Pointer: b.pointer(st.Site, st.Path, st.Attributes), Upload: st.ID, Condition: st.Condition,
	})
	switch {
	case errors.Is(err, errPublished):
		if u.row, err = u.p.cfg.Catalog.Upload(ctx, st.ID); err == nil {
			err = u.loadResult(ctx)
		}
	case err == nil:
		u.result = &res
		u.row.State = catalog.UploadDone
		u.state = &resumeState{ID: st.ID, Length: res.Size, Stored: res.Size}
	}
	if err != nil {
		return err
	}
	if err := u.p.removeState(ctx, st.ID); err != nil {
		u.p.cfg.Log.Debug("the state of a finished upload stays until it expires", "upload", st.ID, "err", err)
	}
	return nil
}
