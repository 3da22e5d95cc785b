package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"time"

	"perigee/object"
	"perigee/origin"
)

// over reports whether something has been waited for long enough.
func (r *uploadRig) over(deadline time.Time) bool {
	return r.halted.Load() || time.Now().After(deadline)
}

// longPatience is how long something that must happen is waited for while faults go on. A run on PostgreSQL that was killed counts as alive
// for 15 s, and must be dead for as long before what it held is settled.
const longPatience = 10 * time.Minute

// asker sends the rig's own requests.
var asker = &http.Client{Timeout: time.Minute}

// read returns an object of the bucket, waiting for a storage that is away; fs.ErrNotExist if there is none.
func (r *uploadRig) read(ctx context.Context, key object.Key) (b []byte, err error) {
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		body, _, err := r.reader.Get(ctx, key, origin.GetOptions{})
		if err == nil {
			b, err = io.ReadAll(body)
			body.Close()
		}
		if err == nil || errors.Is(err, fs.ErrNotExist) || r.over(deadline) {
			return b, err
		}
	}
}

// stored makes sure that the head pointer of a path leads to bytes with this hash.
func (r *uploadRig) stored(ctx context.Context, path object.Path, want object.Hash) error {
	b, err := r.read(ctx, object.HeadKey("www", path))
	if err != nil {
		return err
	}
	ptr, err := object.UnmarshalPointer(b)
	if err != nil || ptr.Hash != want {
		return fmt.Errorf("the bucket's pointer names %v, sent was %s (%v)", ptr, want, err)
	}
	if b, err = r.read(ctx, ptr.Blob); err != nil {
		return fmt.Errorf("the blob %s: %w", ptr.Blob, err)
	}
	if got := object.HashOf(b); got != want {
		return fmt.Errorf("the blob has SHA-256 %s, its pointer says %s", got, want)
	}
	return nil
}

// recorded makes sure that the catalogue has a file.
func (r *uploadRig) recorded(f *sent) error {
	res, err := r.ask("GET", "/api/v1/sites/www/files"+f.Path, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var rec struct {
		SHA256 object.Hash `json:"sha256"`
		Size   int64       `json:"size"`
	}
	if err := json.NewDecoder(res.Body).Decode(&rec); err != nil || res.StatusCode != http.StatusOK {
		return fmt.Errorf("the catalogue: %s, %v", res.Status, err)
	}
	if rec.SHA256 != f.hash || rec.Size != int64(f.Size) {
		return fmt.Errorf("the catalogue has %d bytes with SHA-256 %s, sent were %s", rec.Size, rec.SHA256, f.hash)
	}
	return nil
}

// fetch asks the edge for a path. A zero hash is that of an answer that is no file: see status.
func (r *uploadRig) fetch(path object.Path) (status int, h object.Hash, err error) {
	req, err := http.NewRequest("GET", "http://"+r.edge+path.Escape(), nil)
	if err != nil {
		return 0, h, err
	}
	req.Host = rigHost
	res, err := asker.Do(req)
	if err != nil {
		return 0, h, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode == http.StatusOK {
		h = object.HashOf(b)
	}
	return res.StatusCode, h, err
}

// served waits until the edge serves what is at a place. Until then it may serve what was there before, or say that it cannot; anything
// else is wrong.
func (r *uploadRig) served(p *place) error {
	for deadline := time.Now().Add(longPatience); ; time.Sleep(100 * time.Millisecond) {
		status, h, err := r.fetch(p.path)
		nothing := status == http.StatusNotFound || status == http.StatusGone
		switch {
		case err != nil || status >= 500:
		case status == http.StatusOK && p.may(h), nothing && p.absent():
			return nil
		case nothing && p.before == nil, status == http.StatusOK && p.before != nil && h == p.before.hash: // it has not heard of it
		default:
			return fmt.Errorf("the edge answers %d with SHA-256 %s", status, h)
		}
		if r.over(deadline) {
			return fmt.Errorf("the edge still answers %d with SHA-256 %s (%v):\n%s", status, h, err, r.lastLog("edge"))
		}
	}
}
