package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"

	"perigee/object"
)

// sent is a file that a client uploads.
type sent struct {
	Path     string          `json:"path"`
	Size     int             `json:"size"`
	Seed     int             `json:"seed"`
	Chunk    int             `json:"chunk,omitempty"`
	Parallel int             `json:"parallel,omitempty"`
	Plain    bool            `json:"plain,omitempty"`    // no bytes in the request that makes the upload
	Previous json.RawMessage `json:"previous,omitempty"` // what the client had stored to go on with it

	made  []string // URL paths of its uploads, as far as the client has told
	acked bool
	told  string // the hash that the acknowledgement had
	hash  object.Hash
}

// content is the file's bytes; tusclient.cjs makes the same.
func (f *sent) content() []byte {
	b := make([]byte, f.Size)
	x := uint32(f.Seed)*2654435761 + 12345
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

// place is a path and what may be there.
type place struct {
	path object.Path
	// now is the file that was acknowledged last; nil if none was, or if the path was removed since.
	now *sent
	// before was at the path before now and may be seen for as long as an edge has not heard of the change.
	before *sent
	// perhaps are files whose clients died before they could know. Each may have been published, or not. Nothing is sent to such a path
	// any more, so that the order of its changes is never in doubt.
	perhaps []*sent
	removed bool // or is being removed
	busy    bool // a session has it
}

// may reports whether the bytes with this hash are right at the path.
func (p *place) may(h object.Hash) bool {
	if p.now != nil && p.now.hash == h {
		return true
	}
	return slices.ContainsFunc(p.perhaps, func(f *sent) bool { return f.hash == h })
}

// absent reports whether nothing at the path is right.
func (p *place) absent() bool { return p.now == nil }

// ledger is what must be in the catalogue, in the bucket and at the edges.
type ledger struct {
	mu     sync.Mutex
	places []*place
	again  []*place // paths that are written again and again
	fresh  int
}

const (
	// overwritten is how many paths are written again and again.
	overwritten = 8
	// keep is how many files, and keepBytes how many bytes, are there at a time: older ones are removed.
	keep      = 150
	keepBytes = 500 << 20
)

// take returns a path that nobody else has: mostly a new one, every third time one that is overwritten.
func (l *ledger) take(old bool) *place {
	l.mu.Lock()
	defer l.mu.Unlock()
	if old {
		for i, p := range l.again {
			if !p.busy {
				p.busy = true
				l.again = append(slices.Delete(l.again, i, i+1), p) // the others first, next time
				return p
			}
		}
	}
	l.fresh++
	p := &place{path: object.Path(fmt.Sprintf("/f%d/%d", l.fresh%7, l.fresh)), busy: true}
	if old && len(l.again) < overwritten {
		p.path = object.Path(fmt.Sprintf("/again/%d", l.fresh))
		l.again = append(l.again, p)
	}
	l.places = append(l.places, p)
	return p
}

// acked notes that a file was acknowledged.
func (l *ledger) acked(p *place, f *sent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p.before, p.now = p.now, f
}

// perhaps notes that a file may have been published, or may yet be.
func (l *ledger) perhaps(p *place, f *sent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p.perhaps = append(p.perhaps, f)
}

// gone notes that a file was removed.
func (l *ledger) gone(p *place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p.before, p.now, p.removed = p.now, nil, true
}

// free gives a path back. One that was removed, or whose state is not known for sure, is not written any more.
func (l *ledger) free(p *place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p.busy = false
	if p.removed || len(p.perhaps) > 0 {
		l.again = slices.DeleteFunc(l.again, func(q *place) bool { return q == p })
	}
}

// surplus returns the oldest file that has to go, having taken its path; nil if there are not too many.
func (l *ledger) surplus() *place {
	l.mu.Lock()
	defer l.mu.Unlock()
	files, bytes := 0, 0
	var oldest *place
	for _, p := range l.places {
		if p.now == nil || p.removed {
			continue
		}
		files, bytes = files+1, bytes+p.now.Size
		if oldest == nil && !p.busy && len(p.perhaps) == 0 {
			oldest = p
		}
	}
	if oldest == nil || files <= keep && bytes <= keepBytes {
		return nil
	}
	oldest.busy, oldest.removed = true, true
	return oldest
}

// any returns a file at random, having taken its path; nil if there is none.
func (l *ledger) any(number uint32) *place {
	l.mu.Lock()
	defer l.mu.Unlock()
	var free []*place
	for _, p := range l.places {
		if p.now != nil && !p.busy && len(p.perhaps) == 0 {
			free = append(free, p)
		}
	}
	if len(free) == 0 {
		return nil
	}
	p := free[int(number)%len(free)]
	p.busy = true
	return p
}

// all returns every path, none of which must be busy.
func (l *ledger) all() []*place {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.places)
}

// makeUp makes up the files of a session: a small one or one of some megabytes, and one that is large, in chunks or in parallel parts.
//
// What goes to a path that is overwritten goes in requests that name their upload, so that there is an order. A client that makes an upload with its bytes, or of its
// parts, and does not hear the answer makes another: then the first may be published after the second was acknowledged, and after what came next.
func makeUp(rng *rand.Rand, l *ledger) (files []*sent, places []*place) {
	first := []sent{{Size: 1 + rng.IntN(100_000)}, {Size: 1<<20 + rng.IntN(2<<20)}}[rng.IntN(2)]
	large := []sent{
		{Size: 8<<20 + 1 + rng.IntN(2<<20)}, {Size: 4<<20 + rng.IntN(5<<20), Chunk: 2 << 20}, {Size: 2<<20 + rng.IntN(5<<20), Parallel: 3},
	}[rng.IntN(3)]
	for _, f := range []sent{first, large} {
		f.Plain = f.Parallel == 0 && rng.IntN(3) == 0
		p := l.take(f.Plain)
		f.Path, f.Seed = string(p.path), rng.IntN(1<<30)
		f.hash = object.HashOf(f.content())
		files, places = append(files, &f), append(places, p)
	}
	return files, places
}
