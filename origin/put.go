package origin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"perigee/clock"
	"perigee/object"
)

// PutOptions describe a Put. At most one of IfMatch and IfNoneMatch may be set.
type PutOptions struct {
	ContentType string // empty: the store's default
	// IfMatch is the ETag, without quotes, that the object must have now.
	IfMatch string
	// IfNoneMatch demands that there is no such object yet.
	IfNoneMatch bool
}

func (o PutOptions) conditional() bool { return o.IfMatch != "" || o.IfNoneMatch }

// Put stores body as the object key and returns its ETag. The body is in memory, so that it can be sent again; larger
// things go through Create, Part and Complete.
//
// Without a condition, a failed Put may or may not have stored the object, and nobody reads body after Put returns. With one, it is decided: when an answer was lost
// (a connection reset, a 5xx), Put tries again and compares what the store then holds with body. It returns
//   - nil if the object now holds exactly body,
//   - ErrPrecondition if it does not and the condition failed,
//   - ErrUnknown if the store could not be asked,
//   - ErrUnavailable if no request ever reached the store.
func (w *Writer) Put(ctx context.Context, key object.Key, body []byte, o PutOptions) (etag string, err error) {
	what := "put " + string(key)
	if o.IfMatch != "" && o.IfNoneMatch {
		return "", fmt.Errorf("%s: IfMatch and IfNoneMatch exclude each other", what)
	}
	if o.conditional() {
		return w.putConditional(ctx, what, key, body, o)
	}
	in, loan := w.putInput(key, body, o), newLoan(body)
	defer loan.end()
	in.Body = loan
	out, err := w.client.PutObject(ctx, in)
	if err != nil {
		return "", explain(ctx, what, err)
	}
	return unquoted(aws.ToString(out.ETag)), nil
}

func (w *Writer) putInput(key object.Key, body []byte, o PutOptions) *s3.PutObjectInput {
	in := &s3.PutObjectInput{
		Bucket:        &w.cfg.Bucket,
		Key:           aws.String(string(key)),
		Body:          bytes.NewReader(body),
		ContentLength: aws.Int64(int64(len(body))),
	}
	if o.ContentType != "" {
		in.ContentType = &o.ContentType
	}
	if o.IfMatch != "" {
		in.IfMatch = aws.String(quoted(o.IfMatch))
	}
	if o.IfNoneMatch {
		in.IfNoneMatch = aws.String("*")
	}
	return in
}

// putConditional sends each attempt itself: the SDK would repeat a request whose answer was lost, and take the 412 that
// our own first attempt caused for somebody else's write.
//
// Repeating is safe. Only one of two attempts can meet the condition, whichever the store sees first; the other gets a
// 412, and then the object holds our bytes.
func (w *Writer) putConditional(ctx context.Context, what string, key object.Key, body []byte, o PutOptions) (string, error) {
	lost := false // an earlier attempt may have been carried out
	var last error
	for attempt := 1; ; attempt++ {
		out, err := w.client.PutObject(ctx, w.putInput(key, body, o), once)
		if err == nil {
			return unquoted(aws.ToString(out.ETag)), nil
		}
		last = explain(ctx, what, err)
		answer := response(err)
		most, pause := w.cfg.attempts(), time.Duration(50<<min(attempt, 4))*time.Millisecond
		switch {
		case answer != nil && answer.code == conflict: // the store says that it did nothing
		case answer != nil && answer.busy(): // nor did it here
			most, pause = w.cfg.busyAttempts(), busyPause(attempt)
		case answer != nil && failedCondition(answer, o):
			if !lost {
				return "", fmt.Errorf("%s: %w", what, &fault{ErrPrecondition, answer.status, answer.code, answer.message})
			}
			return w.decide(ctx, what, key, body, last)
		case answer != nil && answer.status < 500:
			return "", last
		default:
			lost = lost || !unsent(err)
		}
		if ctx.Err() != nil || attempt >= most {
			break
		}
		_ = clock.Sleep(ctx, w.cfg.Clock, pause)
	}
	if !lost {
		return "", last
	}
	return w.decide(ctx, what, key, body, fmt.Errorf("%w: %w", ErrUnknown, last))
}

// once makes the SDK send a request a single time.
func once(o *s3.Options) {
	o.Retryer = aws.NopRetryer{}
	o.RetryMaxAttempts = 1
}

// failedCondition reports whether f says that the condition of o does not hold. S3 answers 404 to If-Match on an object that
// does not exist.
func failedCondition(f *fault, o PutOptions) bool {
	return errors.Is(f.kind, ErrPrecondition) || o.IfMatch != "" && errors.Is(f.kind, fs.ErrNotExist)
}

// decide looks at the object after an attempt whose answer was lost: if it holds body, the write happened. Otherwise the
// outcome is otherwise.
func (w *Writer) decide(ctx context.Context, what string, key object.Key, body []byte, otherwise error) (string, error) {
	etag, same, err := w.holds(ctx, key, body)
	switch {
	case err == nil && same:
		return etag, nil
	case err == nil && errors.Is(otherwise, fs.ErrNotExist): // If-Match, and the object is gone
		return "", fmt.Errorf("%s: %w", what, ErrPrecondition)
	case err == nil:
		return "", otherwise
	case errors.Is(otherwise, ErrUnknown):
		return "", otherwise
	}
	return "", fmt.Errorf("%s: %w: %w", what, ErrUnknown, err)
}

// holds reports whether the object exists and is body, byte for byte. An ETag would not do: it is an MD5 only on some stores.
func (w *Writer) holds(ctx context.Context, key object.Key, body []byte) (etag string, same bool, err error) {
	out, err := w.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &w.cfg.Bucket, Key: aws.String(string(key))})
	if err != nil {
		if err = explain(ctx, "get "+string(key), err); errors.Is(err, fs.ErrNotExist) {
			return "", false, nil
		}
		return "", false, err
	}
	defer out.Body.Close()
	if aws.ToInt64(out.ContentLength) != int64(len(body)) {
		return "", false, nil
	}
	stored, err := io.ReadAll(io.LimitReader(out.Body, int64(len(body))+1))
	if err != nil {
		return "", false, explain(ctx, "get "+string(key), err)
	}
	return unquoted(aws.ToString(out.ETag)), bytes.Equal(stored, body), nil
}
