package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"

	"perigee/object"
	"perigee/origin"
)

// commit joins the parts, verifies the object and publishes it. When stop ends it saves how far it came.
func (u *resumable) commit(stop context.Context) error {
	ctx := u.claim.ctx
	if !u.state.Direct.Joined {
		if err := u.joinDirect(ctx); err != nil {
			return err
		}
	}
	if err := u.verify(ctx, stop); err != nil {
		return err
	}
	if err := claimed(u.hasher, u.state.Direct.SHA256); err != nil {
		return errors.Join(err, u.terminate(ctx))
	}
	if err := u.p.putTree(ctx, object.UploadKey(u.state.ID), u.hasher); err != nil {
		return err
	}
	head, err := u.head(ctx)
	if err != nil {
		return err
	}
	b := newBlob(u.hasher, u.state.Path, head, u.state.TypeHint)
	b.key = object.UploadKey(u.state.ID)
	return u.publish(b)
}

// joinDirect makes sure that every part is there with its size, and makes them the object.
func (u *resumable) joinDirect(ctx context.Context) error {
	st := *u.state
	key := object.UploadKey(st.ID)
	have, err := u.p.cfg.Writer.ListParts(ctx, key, st.Multipart)
	if errors.Is(err, fs.ErrNotExist) {
		// A commit before this one may have joined them and not come to say so.
		if info, herr := u.p.cfg.Reader.Head(ctx, key); herr == nil && info.Size == st.Length {
			return u.joined(ctx)
		}
	}
	if err != nil {
		return vanished(err)
	}
	all, _ := st.partOf(1)
	for n := 1; n <= all; n++ {
		_, want := st.partOf(n)
		if n > len(have) || have[n-1].Number != n || have[n-1].Size != want {
			return refuse(http.StatusConflict, "incomplete", "Part %d of %d, of %d bytes, has not arrived. GET %s/%s lists those that have, and gives URLs.", n, all, want, directRoute, st.ID)
		}
	}
	if err := u.p.completeParts(ctx, st.ID, st.Multipart, have[:all]); err != nil {
		return err
	}
	u.p.at(afterComplete)
	return u.joined(ctx)
}

func (u *resumable) joined(ctx context.Context) error {
	st := *u.state
	st.Direct = &directState{SHA256: st.Direct.SHA256, Joined: true}
	return u.write(ctx, st)
}

// verify reads the object from where it was verified last to its end, hashing it.
func (u *resumable) verify(ctx, stop context.Context) error {
	if u.state.Stored == u.state.Length {
		return nil
	}
	hold, err := u.p.hold(ctx, object.ChunkSize)
	if err != nil {
		return err
	}
	defer hold.release()
	body, info, err := u.p.cfg.Reader.Get(ctx, object.UploadKey(u.state.ID), origin.GetOptions{Offset: u.state.Stored})
	if err != nil {
		return vanished(err)
	}
	defer body.Close()
	if info.Size != u.state.Length {
		return fmt.Errorf("%w: the object has %d bytes, %d were declared", ErrIncomplete, info.Size, u.state.Length)
	}
	watched := u.watch(body)
	defer watched.stop()
	buf, saved := make([]byte, object.ChunkSize), u.state.Stored
	for err == nil {
		var n int
		n, err = watched.Read(buf)
		u.hasher.Write(buf[:n])
		at := u.hasher.Size()
		if stop.Err() != nil && err == nil {
			err = errLocked
		}
		if due := stateShare * (at/object.ChunkSize*int64(len(object.Hash{})) + 1<<20); at-saved >= due || err != nil && at > saved {
			next := *u.state
			next.Stored, saved = at, at
			if werr := u.save(ctx, next); werr != nil {
				return werr
			}
		}
	}
	if err != io.EOF {
		return err
	}
	if u.hasher.Size() != u.state.Length {
		return fmt.Errorf("%w: it gave %d of %d bytes", origin.ErrUnavailable, u.hasher.Size(), u.state.Length)
	}
	return nil
}
