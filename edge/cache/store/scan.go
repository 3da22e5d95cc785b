package store

import "encoding/binary"

// hole is a part of a segment, before a record or a void, that is neither.
type hole struct {
	off, n int64
	dirty  bool // not all zero
}

// scanned is what a walk over a segment found.
type scanned struct {
	list  []listed
	holes []hole
	end   int64 // of the last record or void
}

// scan walks a segment of size bytes from record to record. Where there is none it looks for the next one in steps of a unit: writers that were killed
// leave holes. Bodies are not read.
func (s *Store) scan(g *segment, size int64) (r scanned) {
	win := window{file: g.file, size: size}
	r.end = headerSize
	dirty := false
	for off := int64(headerSize); off+unit <= size; {
		p := win.at(off, headSize)
		n := parseVoid(p, spot{s.id, g.id, off})
		meta, body, ok := sizes(p)
		if ok && n == 0 {
			if h, err := parseHead(win.at(off, headSize+meta), spot{s.id, g.id, off}); err == nil {
				n = length(meta, body)
				if off+n <= size {
					r.list = append(r.list, listed{tag: h.key.tag(), seq: h.seq, off: uint32(off / unit), length: uint16(n / unit), class: h.class})
				}
			}
		}
		if n == 0 || off+n > size {
			dirty = dirty || !zeros(p)
			off += unit
			if len(p) == 0 { // the disk cannot read this part
				off += windowStep - unit
			}
			continue
		}
		if off > r.end {
			r.holes = append(r.holes, hole{r.end, off - r.end, dirty})
		}
		off += n
		r.end, dirty = off, false
	}
	return r
}

// zeros reports whether the first unit of p is zero.
func zeros(p []byte) bool {
	if len(p) < unit {
		return false
	}
	le := binary.LittleEndian
	return le.Uint64(p)|le.Uint64(p[8:])|le.Uint64(p[16:])|le.Uint64(p[24:]) == 0
}

// window reads a file from front to back.
type window struct {
	file  File
	size  int64
	buf   []byte
	start int64
}

const (
	windowSize = 256 << 10
	windowStep = 4 << 10
)

// at returns up to n bytes at off. After a leap over a body it reads little: another body may follow.
func (w *window) at(off int64, n int) []byte {
	if end := w.start + int64(len(w.buf)); off < w.start || off+int64(n) > end {
		want := int64(windowSize)
		if w.buf == nil {
			w.buf = make([]byte, windowSize)
		} else if off > end+windowStep {
			want = int64(max(windowStep, n))
		}
		w.buf = w.buf[:min(want, w.size-off)]
		got, _ := w.file.ReadAt(w.buf, off)
		w.buf, w.start = w.buf[:got], off
	}
	p := w.buf[off-w.start:]
	return p[:min(n, len(p))]
}

// footerOf returns how many records the footer of a segment of size bytes lists, -1 if it has none.
func (s *Store) footerOf(file File, id uint64, size int64) int64 {
	var trailer [trailerSize]byte
	if size < headerSize+trailerSize {
		return -1
	}
	if _, err := file.ReadAt(trailer[:], size-trailerSize); err != nil {
		return -1
	}
	n, end, ok := parseTrailer(trailer[:], s.id, id)
	if !ok || end < headerSize || n > size/listedSize || end+n*listedSize+trailerSize != size {
		return -1
	}
	return n
}

// footerBytes reads the list and the trailer of a footer of n records.
func footerBytes(g *segment, size, n int64) (list, trailer []byte, err error) {
	b := make([]byte, n*listedSize+trailerSize)
	if got, err := g.file.ReadAt(b, size-int64(len(b))); got < len(b) {
		return nil, nil, readError(err)
	}
	return b[:n*listedSize], b[n*listedSize:], nil
}

func readFooter(g *segment, size, n int64) ([]listed, error) {
	list, trailer, err := footerBytes(g, size, n)
	if err != nil {
		return nil, err
	}
	return parseFooter(list, trailer)
}

func (s *Store) footerIsWhole(g *segment, size, n int64) bool {
	list, trailer, err := footerBytes(g, size, n)
	return err == nil && binary.LittleEndian.Uint32(trailer[4:]) == footerCRC(list, trailer)
}
