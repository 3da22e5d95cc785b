package origin

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"iter"
	"strings"

	"github.com/minio/minio-go/v7"

	"perigee/object"
)

// Describe is Head for objects that others have written. A missing one is fs.ErrNotExist. The key must be allowed to list the bucket: without, AWS answers 403
// for what does not exist, which is ErrDenied.
func (r *Reader) Describe(ctx context.Context, key object.Key) (object.Info, error) {
	what := "head " + string(key)
	st, err := r.core.StatObject(ctx, r.cfg.Bucket, string(key), minio.StatObjectOptions{})
	if err != nil {
		if err = explain(ctx, what, err); errors.Is(err, fs.ErrNotExist) {
			return object.Info{}, r.missing(ctx, what)
		}
		return object.Info{}, err
	}
	r.alive()
	return object.Info{
		Size: st.Size, ETag: unquoted(st.ETag), Modified: st.LastModified, ContentType: st.ContentType,
		CacheControl: st.Metadata.Get("Cache-Control"), ContentEncoding: encodingOf(st.Metadata.Get("Content-Encoding")),
	}, nil
}

// encodingOf drops aws-chunked, which is of the upload and not of the object; some stores keep it.
func encodingOf(field string) string {
	var kept []string
	for c := range strings.SplitSeq(field, ",") {
		if c = strings.TrimSpace(c); c != "" && !strings.EqualFold(c, "aws-chunked") {
			kept = append(kept, c)
		}
	}
	return strings.Join(kept, ", ")
}

// ListFrom is List of the keys that are greater than after.
func (r *Reader) ListFrom(ctx context.Context, prefix, after string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		what := "list " + prefix
		noOwner := false
		opts := minio.ListObjectsOptions{Prefix: prefix, Recursive: true, StartAfter: after, FetchOwner: &noOwner}
		for o := range r.core.ListObjectsIter(ctx, r.cfg.Bucket, opts) {
			if o.Err != nil {
				yield(Info{}, explain(ctx, what, o.Err))
				return
			}
			if !yield(Info{Key: object.Key(o.Key), Size: o.Size, ETag: unquoted(o.ETag), Modified: o.LastModified}, nil) {
				return
			}
		}
		if ctx.Err() != nil { // the SDK ends a cancelled list like a complete one
			yield(Info{}, explain(ctx, what, ctx.Err()))
		}
	}
}

// Bucket returns the name of the bucket.
func (r *Reader) Bucket() string { return r.cfg.Bucket }

// ErrNoNotifications says that a store does not tell of changes to those who listen: the call is MinIO's, and few others have it.
var ErrNoNotifications = errors.New("the store has no notifications to listen to")

// Listen yields the keys below prefix of objects that are written or deleted from now on, as the store tells of them. It goes on until ctx ends or the
// connection breaks; the error is the last thing yielded, ErrNoNotifications if listening is not possible at all. What happens while nobody listens is not told
// later. Config.Silence bounds how long the store says nothing, not even that it is still there.
func (r *Reader) Listen(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		what := "listen to bucket " + r.cfg.Bucket
		events := []string{"s3:ObjectCreated:*", "s3:ObjectRemoved:*"}
		for n := range r.core.ListenBucketNotification(ctx, r.cfg.Bucket, prefix, "", events) {
			if n.Err != nil {
				yield("", noNotifications(explain(ctx, what, n.Err)))
				return
			}
			for _, rec := range n.Records {
				if !yield(rec.S3.Object.Key, nil) {
					return
				}
			}
		}
		if ctx.Err() != nil {
			yield("", explain(ctx, what, ctx.Err()))
			return
		}
		yield("", explain(ctx, what, errors.New("the store ended the connection")))
	}
}

// noNotifications tells stores that cannot be listened to from those that fail at it.
func noNotifications(err error) error {
	var f *fault
	var m minio.ErrorResponse
	var syntax *json.SyntaxError // the answer is something else, such as a list of the bucket
	switch {
	case errors.As(err, &f) && (f.status == 501 || f.status == 405 || f.status == 400 || f.code == "NotImplemented" || f.code == "MethodNotAllowed"),
		errors.As(err, &m) && m.Code == "APINotSupported", errors.As(err, &syntax), errors.Is(err, fs.ErrNotExist):
		return errors.Join(ErrNoNotifications, err)
	}
	return err
}
