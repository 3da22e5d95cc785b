package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/minio/minio-go/v7"

	"perigee/object"
)

// GetOptions narrow a Get. The zero value asks for the whole object unconditionally.
type GetOptions struct {
	// Offset is the first byte wanted.
	Offset int64
	// Length is how many bytes are wanted; zero or negative means to the end. Fewer come if the object is shorter.
	Length int64
	// IfMatch and IfNoneMatch are ETags without quotes: the object must, or must not, still have it.
	IfMatch, IfNoneMatch string
}

// ranged reports whether o asks for less than the whole object.
func (o GetOptions) ranged() bool { return o.Offset != 0 || o.Length > 0 }

// Get returns an object's bytes and its description. The body must be closed; closing it early breaks the connection.
//
// A missing object is fs.ErrNotExist; ErrNotModified and ErrPrecondition answer the conditions; ErrRange says that
// Offset is at or beyond the end (of an empty object too). A read of the body fails with io.ErrUnexpectedEOF, wrapped, if
// the body ends before its declared length: whoever sees io.EOF has every byte.
func (r *Reader) Get(ctx context.Context, key object.Key, o GetOptions) (io.ReadCloser, Info, error) {
	what := "get " + string(key)
	opts, err := minioOptions(o)
	if err != nil {
		return nil, Info{}, fmt.Errorf("%s: %w", what, err)
	}
	body, st, header, err := r.core.GetObject(ctx, r.cfg.Bucket, string(key), opts)
	if err != nil {
		return nil, Info{}, explain(ctx, what, err)
	}
	r.alive()
	info := Info{Key: key, Size: st.Size, ETag: st.ETag, Modified: st.LastModified}
	length := st.Size
	if o.ranged() {
		info.Size, err = checkRange(o, header, length)
	} else if length < 0 {
		err = errors.New("the store did not declare the body's length")
	}
	if err != nil {
		body.Close()
		return nil, Info{}, fmt.Errorf("%s: %w: %w", what, ErrUnavailable, err)
	}
	return &lengthChecked{ctx: ctx, body: body, what: what, left: length}, info, nil
}

func minioOptions(o GetOptions) (minio.GetObjectOptions, error) {
	var opts minio.GetObjectOptions
	if o.Offset < 0 {
		return opts, fmt.Errorf("negative offset %d", o.Offset)
	}
	if o.Offset > 0 && o.Length > 1<<62-o.Offset {
		return opts, fmt.Errorf("range of %d bytes at %d is beyond any object", o.Length, o.Offset)
	}
	switch {
	case o.Length > 0:
		opts.Set("Range", fmt.Sprintf("bytes=%d-%d", o.Offset, o.Offset+o.Length-1))
	case o.Offset > 0:
		opts.Set("Range", fmt.Sprintf("bytes=%d-", o.Offset))
	}
	if o.IfMatch != "" {
		opts.Set("If-Match", quoted(o.IfMatch))
	}
	if o.IfNoneMatch != "" {
		opts.Set("If-None-Match", quoted(o.IfNoneMatch))
	}
	return opts, nil
}

// checkRange makes sure that the store sent the range that was asked for, and returns the size of the whole object. A
// store that ignores Range would otherwise feed a reader the wrong bytes.
func checkRange(o GetOptions, h http.Header, length int64) (size int64, err error) {
	field := h.Get("Content-Range")
	first, last, size, ok := parseContentRange(field)
	if !ok {
		return 0, fmt.Errorf("asked for a range, the answer has Content-Range %q", clip(field))
	}
	want := size - o.Offset
	if o.Length > 0 {
		want = min(want, o.Length)
	}
	if first != o.Offset || last-first+1 != want || length != want {
		return 0, fmt.Errorf("asked for %d bytes at %d, the answer has %d and Content-Range %q", want, o.Offset, length, clip(field))
	}
	return size, nil
}

// parseContentRange reads "bytes first-last/size" (RFC 9110 §14.4) with a known size.
func parseContentRange(s string) (first, last, size int64, ok bool) {
	spec, ok1 := strings.CutPrefix(s, "bytes ")
	span, total, ok2 := strings.Cut(spec, "/")
	from, to, ok3 := strings.Cut(span, "-")
	if !ok1 || !ok2 || !ok3 {
		return 0, 0, 0, false
	}
	var errs [3]error
	first, errs[0] = decimal(from)
	last, errs[1] = decimal(to)
	size, errs[2] = decimal(total)
	if errors.Join(errs[:]...) != nil || first > last || last >= size {
		return 0, 0, 0, false
	}
	return first, last, size, true
}

// decimal reads digits and nothing else: no sign, no space.
func decimal(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	return int64(n), err
}

// lengthChecked is a body that must have exactly left more bytes.
type lengthChecked struct {
	ctx  context.Context
	body io.ReadCloser
	what string
	left int64
}

func (l *lengthChecked) Read(p []byte) (int, error) {
	n, err := l.body.Read(p)
	l.left -= int64(n)
	switch {
	case l.left < 0:
		return 0, fmt.Errorf("%s: %w: the body is longer than declared", l.what, ErrUnavailable)
	case err == nil || err == io.EOF && l.left == 0:
		return n, err
	case err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF):
		return n, fmt.Errorf("%s: %w: %d bytes are missing: %w", l.what, ErrUnavailable, l.left, io.ErrUnexpectedEOF)
	}
	return n, explain(l.ctx, l.what, err)
}

func (l *lengthChecked) Close() error { return l.body.Close() }

// quoted makes an entity tag of an ETag as this package has it.
func quoted(etag string) string { return `"` + etag + `"` }

// unquoted is the reverse, for what a store sends.
func unquoted(tag string) string { return strings.Trim(tag, `"`) }
