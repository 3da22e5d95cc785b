package store

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"sync"
)

// Whole is a record that was read. Meta and Body lie in Buf, which may be used again when they are not needed any more.
type Whole struct {
	Meta, Body, Buf []byte
}

// Read reads and checks the record of k at r. It uses buf if that is large enough, and then does not allocate. Errors: fs.ErrNotExist, if the record has moved or
// gone; ErrDamaged, which has been dropped; or the disk's, which has been dropped, too.
func (s *Store) Read(k Key, r Ref, buf []byte) (Whole, error) {
	w := r.word()
	seg := s.pin(w)
	if seg == nil {
		return Whole{}, fs.ErrNotExist
	}
	defer seg.unpin()
	h, p, err := s.readAll(seg, w, k, buf)
	if err != nil {
		return Whole{}, s.spoilt(k, r, err)
	}
	end := headSize + h.metaLen
	return Whole{Meta: p[headSize:end], Body: p[end : end+h.bodyLen], Buf: p}, nil
}

// readAll reads a record with one read and checks all of it.
func (s *Store) readAll(seg *segment, w word, k Key, buf []byte) (head, []byte, error) {
	n := int(w.length())
	if cap(buf) < n {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	if got, err := seg.file.ReadAt(buf, w.offset()); got < n {
		return head{}, buf, readError(err)
	}
	return s.verify(seg, w, k, buf)
}

// verify checks a record that was read as a whole.
func (s *Store) verify(seg *segment, w word, k Key, buf []byte) (head, []byte, error) {
	h, err := parseHead(buf, spot{s.id, seg.id, w.offset()})
	switch {
	case err != nil:
		return h, buf, err
	case h.key != k || h.dead:
		return h, buf, fs.ErrNotExist
	case length(h.metaLen, h.bodyLen) != int64(len(buf)):
		return h, buf, errTorn
	case crc32.Checksum(buf[headSize+h.metaLen:headSize+h.metaLen+h.bodyLen], castagnoli) != h.bodyCRC:
		return h, buf, errTorn
	}
	return h, buf, nil
}

// readError makes the end of a file that is too short damage, as it is.
func readError(err error) error {
	if err == nil || err == io.EOF {
		return errTorn
	}
	return err
}

// spoilt turns an error of reading the record at r into what callers are told. If the index still says that the record is there, it is dropped.
func (s *Store) spoilt(k Key, r Ref, err error) error {
	if s.index.get(k.tag()).ref() != r {
		return fs.ErrNotExist // it has moved; what was read may be anything
	}
	if errors.Is(err, fs.ErrNotExist) {
		s.forgetDead(k, r)
		return fs.ErrNotExist
	}
	if _, ok := s.index.remove(k.tag(), r); ok {
		s.counters.damaged.Add(1)
	}
	if errors.Is(err, errTorn) {
		return fmt.Errorf("read record: %w", ErrDamaged)
	}
	return fmt.Errorf("read record: %w", err)
}

// forgetDead takes a record out of the index that was killed in place. One of another key with the same tag stays.
func (s *Store) forgetDead(k Key, r Ref) {
	seg := s.pin(r.word())
	if seg == nil {
		return
	}
	defer seg.unpin()
	h, _, err := s.readHead(seg, r.word().offset(), nil)
	if err == nil && h.dead && h.key == k {
		s.index.remove(k.tag(), r)
	}
}

// firstRead is how much of a record is read for its head and meta part.
const firstRead = 512

// readHead reads and checks head and meta part of the record at off. buf is used if it is large enough.
func (s *Store) readHead(seg *segment, off int64, buf []byte) (head, []byte, error) {
	if cap(buf) < firstRead {
		buf = make([]byte, firstRead)
	}
	buf = buf[:firstRead]
	got, err := seg.file.ReadAt(buf, off)
	meta, _, ok := sizes(buf[:got])
	if !ok {
		if got < headSize {
			return head{}, nil, readError(err)
		}
		return head{}, nil, errTorn
	}
	if n := headSize + meta; n > got {
		buf = make([]byte, n)
		if got, err = seg.file.ReadAt(buf, off); got < n {
			return head{}, nil, readError(err)
		}
	}
	h, err := parseHead(buf, spot{s.id, seg.id, off})
	if err != nil {
		return head{}, nil, err
	}
	return h, buf[headSize : headSize+meta], nil
}

// Record is an open record: its segment stays readable until Close, whatever becomes of the record. It is safe for concurrent reads.
type Record struct {
	seg   *segment
	harms uint32 // of the segment when the record was opened
	meta  []byte
	off   int64
	size  int64
}

// Open opens the record of k at r. A body of up to 256 KiB is checked each time, a larger one if it was not since the start. Errors as of Read.
func (s *Store) Open(k Key, r Ref) (*Record, error) {
	w := s.index.get(k.tag())
	if s.closed.Load() || !w.is(r) {
		return nil, fs.ErrNotExist
	}
	seg := s.pin(w)
	if seg == nil {
		return nil, fs.ErrNotExist
	}
	harms := seg.harms.Load()
	h, meta, err := s.readHead(seg, w.offset(), nil)
	switch {
	case err != nil:
	case h.key != k || h.dead:
		err = fs.ErrNotExist
	case length(h.metaLen, h.bodyLen) != w.length():
		err = errTorn
	}
	off := w.offset() + headSize + int64(h.metaLen)
	if err == nil && (h.bodyLen <= alwaysChecked || !w.checked() || seg.cut.Load()) {
		if err = checkBody(seg, off, &h); err == nil {
			s.index.check(k.tag(), r)
		}
	}
	if err != nil {
		seg.unpin()
		return nil, s.spoilt(k, r, err)
	}
	return &Record{seg, harms, meta, off, int64(h.bodyLen)}, nil
}

var checkBuffers = sync.Pool{New: func() any { return new([128 << 10]byte) }}

// checkBody reads a body and compares its checksum.
func checkBody(seg *segment, off int64, h *head) error {
	buf := checkBuffers.Get().(*[128 << 10]byte)
	defer checkBuffers.Put(buf)
	crc := uint32(0)
	for left := h.bodyLen; left > 0; {
		n := min(left, len(buf))
		if got, err := seg.file.ReadAt(buf[:n], off); got < n {
			return readError(err)
		}
		crc = crc32.Update(crc, castagnoli, buf[:n])
		off, left = off+int64(n), left-n
	}
	if crc != h.bodyCRC {
		return errTorn
	}
	return nil
}

// Meta returns the meta part.
func (r *Record) Meta() []byte { return r.meta }

// Size returns the length of the body in bytes.
func (r *Record) Size() int64 { return r.size }

// File returns the segment's file, in which the body lies at Offset. It must not be written to or closed.
func (r *Record) File() *os.File { return r.seg.file.OS() }

// Offset returns where the body begins in File, in bytes.
func (r *Record) Offset() int64 { return r.off }

// Intact reports whether what was read of the record since it was opened is what was written: that its file was not cut, and that nothing in it was
// erased meanwhile. Bits that a disk has lost it does not see. What sendfile(2) took is only lent to the kernel: an erasure, or a cut within 4 KiB of it, can
// reach bytes that the client has not got yet.
func (r *Record) Intact() bool {
	if size, err := r.seg.file.Size(); err == nil && size < r.off+r.size {
		r.seg.harmed()
	}
	return r.seg.harms.Load() == r.harms
}

// ReadAt reads from the body, as io.ReaderAt says; io.ErrUnexpectedEOF tells a file that was cut off from the end of the body.
func (r *Record) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= r.size {
		return 0, io.EOF
	}
	want := int64(len(p))
	if want > r.size-off {
		want = r.size - off
	}
	n, err := r.seg.file.ReadAt(p[:want], r.off+off)
	switch {
	case err == io.EOF:
		return n, io.ErrUnexpectedEOF
	case err == nil && want < int64(len(p)):
		return n, io.EOF
	}
	return n, err
}

// Close ends the use of the record.
func (r *Record) Close() { r.seg.unpin() }
