package store

import "io/fs"

// ReadNow is Read of a record that can be had without waiting for a disk: it must not be larger than buf, and the system must have it in memory. fs.ErrNotExist says that it cannot be
// had so; then nothing was decided about it, and Read says more.
func (s *Store) ReadNow(k Key, r Ref, buf []byte) (Whole, error) {
	w := r.word()
	n := int(w.length())
	if n > cap(buf) {
		return Whole{}, fs.ErrNotExist
	}
	seg := s.pin(w)
	if seg == nil {
		return Whole{}, fs.ErrNotExist
	}
	defer seg.unpin()
	buf = buf[:n]
	if got, err := seg.file.ReadNow(buf, w.offset()); got < n || err != nil {
		return Whole{}, fs.ErrNotExist
	}
	h, p, err := s.verify(seg, w, k, buf)
	if err != nil {
		return Whole{}, fs.ErrNotExist
	}
	end := headSize + h.metaLen
	return Whole{Meta: p[headSize:end], Body: p[end : end+h.bodyLen], Buf: p}, nil
}
