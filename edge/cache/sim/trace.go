package sim

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
)

// Format is the shape of a trace's lines. Fields are parted by spaces, tabs or commas; empty lines and lines that begin with # are passed over.
type Format struct {
	name       string
	fields     int
	id, size   int   // index of the field; size -1: none
	objectSize int64 // of each object when size is -1
}

// ParseFormat returns the format called name: id, id-size or time-id-size. In a trace of the first each object has objectSize bytes, 1 if that is 0.
func ParseFormat(name string, objectSize int64) (Format, error) {
	switch {
	case objectSize < 0:
		return Format{}, fmt.Errorf("read format: an object size of %d bytes: it must be positive", objectSize)
	case objectSize > 0 && name != "id":
		return Format{}, fmt.Errorf("read format: an object size is for format id only; lines of %s have their own", name)
	}
	switch name {
	case "id":
		return Format{name, 1, 0, -1, max(objectSize, 1)}, nil
	case "id-size":
		return Format{name, 2, 0, 1, 0}, nil
	case "time-id-size":
		return Format{name, 3, 1, 2, 0}, nil
	}
	return Format{}, fmt.Errorf("read format: %q is none of id, id-size, time-id-size", name)
}

const (
	maxLine = 64 << 10 // bytes; a longer line is refused
	maxSize = 1 << 44  // bytes of an object, 16 TiB
)

// ReadFile calls f with each request of the trace file, plain or gzip (told by its first bytes). It holds one line at a time. A line that is not of the
// format ends it with an error that names file and line. Objects of 0 bytes count as 1 byte.
func ReadFile(file string, format Format, f func(Request) error) (err error) {
	h, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("open trace: %w", err)
	}
	defer h.Close()
	in := bufio.NewReaderSize(h, 1<<18)
	if head, perr := in.Peek(2); perr == nil && head[0] == 0x1f && head[1] == 0x8b {
		z, zerr := gzip.NewReader(in)
		if zerr != nil {
			return fmt.Errorf("unpack trace %s: %w", file, zerr)
		}
		defer z.Close()
		return Read(file, z, format, f)
	}
	return Read(file, in, format, f)
}

// Read is ReadFile for an open plain trace; name is what errors call it.
func Read(name string, r io.Reader, format Format, f func(Request) error) error {
	in := bufio.NewScanner(r)
	in.Buffer(make([]byte, 0, 4096), maxLine)
	n := 0
	for in.Scan() {
		n++
		req, ok, err := format.parse(in.Bytes())
		if err != nil {
			return fmt.Errorf("%s:%d: %w", name, n, err)
		}
		if !ok {
			continue
		}
		if err := f(req); err != nil {
			return err
		}
	}
	if err := in.Err(); errors.Is(err, bufio.ErrTooLong) {
		return fmt.Errorf("%s:%d: a line of more than %d bytes: is it a text file, one request a line?", name, n+1, maxLine)
	} else if err != nil {
		return fmt.Errorf("read trace %s after line %d: %w", name, n, err)
	}
	return nil
}

// parse reads a line; ok is false for one without a request.
func (t Format) parse(line []byte) (r Request, ok bool, err error) {
	var field [4][]byte
	n := 0
	for rest := line; ; {
		rest = bytes.TrimLeft(rest, " \t\r,")
		if len(rest) == 0 {
			break
		}
		if n == 0 && rest[0] == '#' {
			return Request{}, false, nil
		}
		end := bytes.IndexAny(rest, " \t\r,")
		if end < 0 {
			end = len(rest)
		}
		if n < len(field) {
			field[n] = rest[:end]
		}
		n++
		rest = rest[end:]
	}
	if n == 0 {
		return Request{}, false, nil
	}
	if n != t.fields {
		return Request{}, false, fmt.Errorf("%d fields instead of the %d of format %s; choose the --format that fits, or cut the others off", n, t.fields, t.name)
	}
	if t.id > 0 {
		if _, err := strconv.ParseFloat(string(field[0]), 64); err != nil {
			return Request{}, false, fmt.Errorf("time %.40q is no number; the fields of %s are in the order of its name", field[0], t.name)
		}
	}
	r = Request{Key: hash(field[t.id]), Size: t.objectSize}
	if t.size >= 0 {
		s, err := strconv.ParseInt(string(field[t.size]), 10, 64)
		if err != nil || s < 0 || s > maxSize {
			return Request{}, false, fmt.Errorf("size %.40q is no number of bytes from 0 to %d; the fields of %s are in the order of its name", field[t.size], int64(maxSize), t.name)
		}
		r.Size = max(s, 1)
	}
	return r, true, nil
}

// hash is FNV-1a with a finaliser, the same in each run. Among 100 million ids two share a hash with a probability of 0.03 %.
func hash(b []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return mix(h)
}
