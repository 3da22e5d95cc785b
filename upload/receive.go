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

// stateParts is how many parts at least lie between two states: each is a durable write that the parts behind it wait for.
const stateParts = 4

// receiveWatched is receive, telling of progress.
func (u *resumable) receiveWatched(body io.Reader, sum *checksum) error {
	m := u.watch(body)
	defer m.stop()
	return u.receive(m, sum)
}

// watch returns a reader of what comes next of the upload.
func (u *resumable) watch(r io.Reader) *meter {
	return u.p.meter(r, Progress{ID: string(u.row.ID), Site: u.row.Site, Path: u.row.Path, Received: u.offset(), Size: u.state.Length})
}

// receive takes body into the upload. What has arrived is kept, whatever ends it: an error of the body, a newer request,
// the client going away, a bucket that fails for longer than Config.Patience. With the last byte the file is published.
//
// With a checksum all of the body is kept or nothing: no state counts any of its bytes before they are verified. Parts of it that are
// in the bucket by then are beyond the state, and are sent again under the same numbers.
func (u *resumable) receive(body io.Reader, sum *checksum) error {
	if u.result != nil {
		return nil
	}
	if u.complete() {
		return u.finish()
	}
	ctx := u.claim.ctx
	hold, err := u.p.hold(ctx, u.state.PartSize)
	if err != nil {
		return err
	}
	defer hold.release()
	q, err := u.queue(ctx, hold, sum != nil)
	if err != nil {
		return err
	}
	defer q.close()
	err = u.read(q, sum.of(body), sum)
	switch {
	case err == nil && u.hasher.Size() == u.state.Length:
		return u.last(ctx, q)
	case err == nil:
		return u.keep(ctx, q)
	case sum != nil:
		// None of it may come into the bucket after what is sent in its place.
		return errors.Join(brokenOff(err, "Nothing of it is kept, as it has a checksum; send it again."), q.settle())
	}
	var broken *BodyError
	if errors.As(err, &broken) {
		if kerr := u.keep(ctx, q); kerr != nil {
			return kerr
		}
		u.p.cfg.Log.Debug("the body of an upload broke off", "upload", u.row.ID, "offset", u.offset(), "err", err)
		return brokenOff(err, "What has arrived is kept; go on from there.")
	}
	u.keepLanded(ctx, q)
	return err
}

// brokenOff is the answer to a body that could not be read to its end.
func brokenOff(err error, and string) error {
	var broken *BodyError
	switch {
	case !errors.As(err, &broken):
		return err
	case errors.Is(err, errEnded):
		return errLocked
	case errors.Is(err, errTooSlow):
		return refuse(http.StatusRequestTimeout, "too-slow", "The request took too long. %s", and)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return refuse(http.StatusRequestTimeout, "idle", "No bytes came for too long. %s", and)
	}
	return refuse(http.StatusBadRequest, "incomplete", "The body broke off. %s", and)
}

// queue returns the parts of the upload, with the tail loaded. Unless all is to be kept or nothing, a state is written now and then.
func (u *resumable) queue(ctx context.Context, hold *hold, wholly bool) (*parts, error) {
	st := u.state
	tail, err := u.tail(ctx)
	if err != nil {
		return nil, err
	}
	q := u.p.newParts(ctx, st.ID, int(st.PartSize), hold)
	q.multipart, q.stored, q.sent = st.Multipart, slices.Clone(st.Parts), len(st.Parts)
	q.adopt(tail)
	if wholly {
		return q, nil
	}
	saved := st.Stored
	q.onSend = func() func() error {
		at := u.hasher.Clone()
		return func() error {
			u.landed = mark{len(q.stored), at}
			stateSize := at.Size()/object.ChunkSize*int64(len(object.Hash{})) + 1024
			if at.Size()-saved < max(stateShare*stateSize, stateParts*st.PartSize) {
				return nil
			}
			saved = at.Size()
			return u.writeLanded(ctx, q)
		}
	}
	return q, nil
}

// writeLanded writes a state with the parts that are in the bucket.
func (u *resumable) writeLanded(ctx context.Context, q *parts) (err error) {
	next := *u.state
	next.Multipart, next.Parts = q.multipart, slices.Clone(q.stored[:u.landed.parts])
	next.Stored, next.Tail, next.TailFence = u.landed.hasher.Size(), 0, 0
	if next.Hasher, err = u.landed.hasher.MarshalBinary(); err != nil {
		return err
	}
	return u.write(ctx, next)
}

// keepLanded saves what can be saved when the bucket has failed: it may have come back, or refuse parts and take states.
func (u *resumable) keepLanded(ctx context.Context, q *parts) {
	if u.landed.hasher == nil || u.landed.hasher.Size() <= u.offset() || ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, cleanTime)
	defer cancel()
	if err := u.writeLanded(ctx, q); err != nil {
		u.p.cfg.Log.Debug("the last state of an upload stands", "upload", u.row.ID, "offset", u.offset(), "err", err)
	}
}

// tail returns the bytes after the last whole part, in a buffer of a part's size, which is to be given back.
func (u *resumable) tail(ctx context.Context) ([]byte, error) {
	st := u.state
	buf := u.p.buffers.take(int(st.PartSize))
	if st.Tail == 0 {
		return buf, nil
	}
	b, _, err := u.p.work(ctx, st.ID, tailName(st.TailFence), st.PartSize)
	if err != nil {
		u.p.buffers.give(buf)
		return nil, vanished(err)
	}
	if int64(len(b)) < st.Tail {
		u.p.buffers.give(buf)
		return nil, fmt.Errorf("tail of upload %s has %d bytes, its state counts %d", st.ID, len(b), st.Tail)
	}
	return append(buf, b[:st.Tail]...), nil
}

// read takes body until it ends or the file is complete, and verifies its checksum.
func (u *resumable) read(q *parts, body io.Reader, sum *checksum) error {
	most := u.state.most(u.p.cfg.MaxSize)
	for u.hasher.Size() < most {
		_, err := q.readFrom(body, most-u.hasher.Size(), u.hasher)
		if err == io.EOF {
			break
		}
		if err != nil && u.hasher.Size() < most { // an error after the last byte takes nothing away
			return err
		}
	}
	if sum != nil || u.state.Length < 0 && u.hasher.Size() == most {
		if err := ended(body); errors.Is(err, ErrIncomplete) {
			return fmt.Errorf("%w: more bytes came than the upload may have", ErrTooLarge)
		} else if err != nil {
			return err
		}
	}
	if sum != nil {
		return sum.verify()
	}
	return nil
}

// keep stores what has arrived since the last state.
func (u *resumable) keep(ctx context.Context, q *parts) error {
	if err := q.settle(); err != nil {
		u.keepLanded(ctx, q)
		return err
	}
	u.claim.live()
	if u.hasher.Size() == u.offset() && u.etag != "" {
		return nil
	}
	next := *u.state
	next.Multipart, next.Parts, next.Tail, next.TailFence = q.multipart, q.stored, int64(len(q.buf)), 0
	next.Stored = u.hasher.Size() - next.Tail
	if next.Tail > 0 {
		next.TailFence = u.claim.lease.Fence
		key := object.WorkKey(next.ID, tailName(next.TailFence))
		err := u.p.patiently(ctx, func() error {
			_, err := u.p.cfg.Writer.Put(ctx, key, q.buf, origin.PutOptions{})
			return err
		})
		if err != nil {
			return err
		}
	}
	before := u.state
	if err := u.save(ctx, next); err != nil {
		return err
	}
	if before.Tail > 0 && before.TailFence != next.TailFence {
		if err := u.p.cfg.Writer.Delete(ctx, object.WorkKey(next.ID, tailName(before.TailFence))); err != nil {
			u.p.cfg.Log.Debug("a tail that is no longer needed stays until the upload ends", "upload", next.ID, "err", err)
		}
	}
	return nil
}

// last publishes the upload, whose last byte has just arrived. If that fails, what has arrived is kept and finish
// can do it later.
func (u *resumable) last(ctx context.Context, q *parts) error {
	switch {
	case u.state.small() && q.multipart == "" && !u.state.Partial:
		err := u.publishSmall(q.buf)
		if err == nil {
			return nil
		}
		return errors.Join(err, u.keep(ctx, q))
	case u.state.small() && q.multipart == "":
		return u.keep(ctx, q)
	}
	if err := q.finish(); err != nil {
		u.keepLanded(ctx, q)
		return err
	}
	if err := u.keep(ctx, q); err != nil {
		return err
	}
	return u.finish()
}

// finish publishes an upload that has all its bytes in the bucket. One that is partial is made an object, to be read when it is
// concatenated.
func (u *resumable) finish() error {
	ctx := u.claim.ctx
	if !u.state.small() && u.state.Tail > 0 {
		// A client that told the length only after the last byte leaves the last part as the tail.
		if err := u.sendTail(ctx); err != nil {
			return err
		}
	}
	switch {
	case u.state.Partial && u.state.small():
		return nil
	case u.state.Partial:
		return u.p.join(ctx, u.state)
	case !u.state.small():
		return u.publishLarge(ctx)
	}
	hold, err := u.p.hold(ctx, u.state.PartSize)
	if err != nil {
		return err
	}
	defer hold.release()
	body, err := u.tail(ctx)
	if err != nil {
		return err
	}
	defer u.p.buffers.give(body)
	return u.publishSmall(body)
}

// sendTail makes the tail the last part.
func (u *resumable) sendTail(ctx context.Context) error {
	hold, err := u.p.hold(ctx, u.state.PartSize)
	if err != nil {
		return err
	}
	defer hold.release()
	q, err := u.queue(ctx, hold, true)
	if err != nil {
		return err
	}
	defer q.close()
	if err := q.finish(); err != nil {
		return err
	}
	next := *u.state
	next.Multipart, next.Parts, next.Stored, next.Tail, next.TailFence = q.multipart, q.stored, u.hasher.Size(), 0, 0
	return u.write(ctx, next)
}

func (u *resumable) publishSmall(body []byte) error {
	b, err := u.p.putBlob(u.claim.ctx, u.state.Site, u.state.Path, u.state.TypeHint, u.hasher, body)
	if err != nil {
		return err
	}
	return u.publish(b)
}

func (u *resumable) publishLarge(ctx context.Context) error {
	st := u.state
	if err := u.p.complete(ctx, st.ID, st.Multipart, st.Parts, u.hasher); err != nil {
		return err
	}
	head, err := u.p.sniff(ctx, object.UploadKey(st.ID))
	if err != nil {
		return err
	}
	b := newBlob(u.hasher, st.Path, head, st.TypeHint)
	b.key = object.UploadKey(st.ID)
	return u.publish(b)
}

// publish records the blob as a version of the upload's path, and removes the state that is no longer needed.
func (u *resumable) publish(b blob) error {
	st, ctx := u.state, u.claim.ctx
	rec, err := u.p.publishable(ctx, st.Site, st.Attributes)
	if err != nil {
		return err
	}
	own := b.key
	if b.claim.IsZero() {
		if _, err := u.p.reuse(ctx, st.Site, &b); err != nil {
			return err
		}
	}
	u.p.at(afterBlob)
	res, err := u.p.record(ctx, rec, EventPublished, catalog.Change{
		Pointer: b.pointer(st.Site, st.Path, st.Attributes), Upload: st.ID, Fence: u.claim.lease.Fence, Claim: b.claim, Condition: st.Condition,
	})
	switch {
	case errors.Is(err, errPublished) || errors.Is(err, catalog.ErrDone):
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
	u.claim.live()
	switch {
	case b.key != own: // the site had the same bytes
		err = u.p.removeBytes(ctx, st.ID)
	case u.etag != "": // else it came in one request and left nothing behind
		err = u.p.removeState(ctx, st.ID)
	}
	if err != nil {
		u.p.cfg.Log.Debug("what a finished upload needs no more stays until it expires", "upload", st.ID, "err", err)
	}
	return nil
}
