package pull

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"perigee/edge/cache/ram"
	"perigee/edge/cache/store"
)

const (
	// pieceSize is how many bytes go to a client at most at once.
	pieceSize = 64 << 10
	// checkedRead is the size of a chunk up to which it is read and checked as a whole each time.
	checkedRead = 256 << 10
)

// pieces are buffers of transfers. Each has one for as long as its client takes, so the more transfers there are the smaller they are: a thousand slow clients must
// not cost 64 MiB.
var pieces = [...]struct {
	size  int64
	until int64 // transfers
	pool  sync.Pool
}{{size: pieceSize, until: 32}, {size: 16 << 10, until: 192}, {size: 8 << 10, until: 512}, {size: 4 << 10, until: 1<<63 - 1}}

// piece returns a buffer, and what gives it back.
func (c *Cache) piece() (buf []byte, done func()) {
	n := c.transfers.Add(1)
	i := 0
	for n > pieces[i].until {
		i++
	}
	p, ok := pieces[i].pool.Get().(*[]byte)
	if !ok {
		b := make([]byte, pieces[i].size)
		p = &b
	}
	return *p, func() {
		c.transfers.Add(-1)
		pieces[i].pool.Put(p)
	}
}

// source gives the bytes of one response to one client, from the store, from a fill, or, if both fail, from the origin.
type source struct {
	x *exchange
	h *head
	r *reader // nil if there is no fill

	// The chunk of the store at hand.
	chunk int64
	start int64  // its first byte within the content
	small []byte // its bytes, or
	rec   *store.Record
	view  ram.View // holds small in memory, if held
	held  bool
	bound bool // there is one at hand
}

func (s *source) close() {
	s.letGo()
}

func (s *source) letGo() {
	if s.rec != nil {
		s.rec.Close()
	}
	if s.held {
		s.view.Release()
	}
	s.rec, s.small, s.held, s.bound = nil, nil, false, false
}

// copy writes the bytes of part to w. io.EOF says that the content has ended before the end of part.
func (s *source) copy(w io.Writer, part span) error {
	buf, done := s.x.c.piece()
	defer done()
	for at := part.from; at < part.to; {
		b, err := s.next(at, part.to, buf)
		if errors.Is(err, errGone) {
			return s.resume(w, span{at, part.to})
		}
		if err != nil {
			return err
		}
		if err := s.x.write(w, b); err != nil {
			return err
		}
		at += int64(len(b))
		if s.r != nil && at > s.r.at {
			s.r.advance(at - s.r.at)
		}
	}
	return nil
}

// errGone says that bytes are neither in the store nor in a fill.
var errGone = errors.New("the bytes have gone from the cache")

// next returns some bytes from at.
func (s *source) next(at, to int64, buf []byte) ([]byte, error) {
	if s.r != nil && at >= s.r.f.from {
		if at > s.r.at {
			s.r.advance(at - s.r.at)
		}
		n, err := s.r.next(s.x.ctx, at, buf[:min(int64(len(buf)), to-at)])
		if err == nil {
			return buf[:n], nil
		}
		if !errors.Is(err, errLagging) && !(errors.Is(err, io.EOF) && s.h.size > at) {
			return nil, err
		}
	}
	return s.stored(at, to, buf)
}

// stored returns bytes from the store.
func (s *source) stored(at, to int64, buf []byte) ([]byte, error) {
	i := at / chunkSize
	if !s.bound || s.chunk != i || !s.has(at) {
		s.letGo()
		if err := s.open(i); err != nil {
			return nil, err
		}
		if !s.has(at) {
			return nil, errGone
		}
	}
	if s.small != nil {
		b := s.small[at-s.start:]
		return b[:min(int64(len(b)), to-at, pieceSize)], nil
	}
	n := min(int64(len(buf)), s.rec.Size()-(at-s.start), to-at)
	got, err := s.rec.ReadAt(buf[:n], at-s.start)
	if got == 0 && err != nil || !s.rec.Intact() {
		s.letGo()
		return nil, errGone
	}
	return buf[:got], nil
}

// has reports whether the chunk at hand has a byte.
func (s *source) has(at int64) bool {
	n := int64(len(s.small))
	if s.rec != nil {
		n = s.rec.Size()
	}
	return at >= s.start && at < s.start+n
}

// open takes chunk i from the store.
func (s *source) open(i int64) error {
	c := s.x.c
	id := s.id()
	k := id.chunk(i)
	if s.fromMemory(k) {
		return nil
	}
	ref, ok := c.records.Find(k)
	if !ok {
		return errGone
	}
	rec, err := c.records.Open(k, ref)
	if err != nil {
		return errGone
	}
	from, ok := labelStart(rec.Meta(), id, i)
	if !ok {
		rec.Close()
		return errGone
	}
	c.records.Touch(k)
	s.chunk, s.start, s.bound = i, i*chunkSize+from, true
	if rec.Size() > checkedRead {
		s.rec = rec
		return nil
	}
	s.small = make([]byte, rec.Size())
	_, err = rec.ReadAt(s.small, 0)
	intact := rec.Intact()
	rec.Close()
	if err != nil && err != io.EOF || !intact {
		s.letGo()
		return errGone
	}
	if c.ram != nil && s.wholeInOne() {
		c.ram.Put(ram.Hash(k[:]), k[:], 0, [2]uint64{}, s.small) // it decides by how often it is asked for
	}
	return nil
}

// wholeInOne reports whether the content is a small one that has come completely.
func (s *source) wholeInOne() bool { return s.h.whole && s.h.size > 0 && s.h.size <= checkedRead }

// fromMemory takes a small content from memory, if it is there.
func (s *source) fromMemory(k store.Key) bool {
	c := s.x.c
	if c.ram == nil || !s.wholeInOne() {
		return false
	}
	v, ok := c.ram.Get(ram.Hash(k[:]), k[:])
	if !ok {
		return false
	}
	c.records.Touch(k)
	s.view, s.held, s.small, s.chunk, s.start, s.bound = v, true, v.Value(0), 0, 0, true
	return true
}

// id names the content; that of a fill may have been known later.
func (s *source) id() contentID { return s.h.id }

// resume fetches what is missing in the middle of an answer, if the origin still has the same representation.
func (s *source) resume(w io.Writer, part span) error {
	v := s.h.strong()
	if v == "" || s.h.size < 0 {
		return errGone
	}
	x := s.x
	h := x.asked.Clone()
	for _, name := range []string{"If-None-Match", "If-Modified-Since", "Range"} {
		delete(h, name)
	}
	h.Set("Range", rangeOf(part, s.h.size))
	h.Set("If-Range", v)
	req := x.c.outgoing(x.r, x.site, x.addr, h).WithContext(x.ctx)
	req.Method = http.MethodGet
	resp, err := x.site.Transport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("go on from the origin: %w", err)
	}
	defer resp.Body.Close()
	got, size, ok := parseContentRange(resp.Header.Get("Content-Range"))
	if resp.StatusCode != http.StatusPartialContent || !ok || got != part || size != s.h.size {
		return errGone
	}
	n, err := io.Copy(&deadlineWriter{x, w}, resp.Body)
	if err == nil && n != part.to-part.from {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// deadlineWriter gives the client its time for each piece.
type deadlineWriter struct {
	x *exchange
	w io.Writer
}

func (d *deadlineWriter) Write(b []byte) (int, error) { return len(b), d.x.write(d.w, b) }
