package origin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	"github.com/minio/minio-go/v7"
)

// A missing object, or a missing multipart upload, is fs.ErrNotExist. The other outcomes:
var (
	// ErrNotModified answers a Get with IfNoneMatch: the object still has that ETag.
	ErrNotModified = errors.New("not modified")
	// ErrPrecondition says that the object is not in the state that IfMatch or IfNoneMatch demanded. Nothing was written.
	ErrPrecondition = errors.New("precondition failed")
	// ErrRange says that the object ends before the first byte asked for.
	ErrRange = errors.New("range not satisfiable")
	// ErrDenied says that the store refused the credentials or the key may not do this.
	ErrDenied = errors.New("access denied by the bucket")
	// ErrFull says that the store has no room or the account's quota is used up.
	ErrFull = errors.New("the bucket's storage is full")
	// ErrUnavailable says that the store could not be reached, broke off or answered that it cannot serve: a network
	// error, a 5xx or 429, or a bucket that does not exist. It says nothing about the object.
	ErrUnavailable = errors.New("the bucket is unavailable")
	// ErrTimeout is the ErrUnavailable of a store that kept silent for longer than Config.Silence.
	ErrTimeout = fmt.Errorf("%w: no answer in time", ErrUnavailable)
	// ErrParts says that a multipart upload does not have the parts that were to complete it. It stays as it is.
	ErrParts = errors.New("the upload has other parts")
	// ErrUnknown says that a conditional write may or may not have happened, and that the store could not be asked
	// afterwards. Read the object before deciding anything.
	ErrUnknown = errors.New("it is unknown whether the write happened")
)

// fault is what a store's error response means. It keeps the store's own words for the log.
type fault struct {
	kind    error // one of the sentinels, or nil for anything else
	status  int
	code    string
	message string
}

func (f *fault) Error() string {
	var b strings.Builder
	if f.kind != nil {
		b.WriteString(f.kind.Error() + " ")
	}
	fmt.Fprintf(&b, "(%d %s", f.status, f.code)
	if f.message != "" {
		b.WriteString(": " + clip(f.message))
	}
	return b.String() + ")"
}

func (f *fault) Unwrap() error { return f.kind }

// conflict is the code of a 409 that means "another write of this object is under way, try again".
const conflict = "ConditionalRequestConflict"

// classify maps a response status and S3 error code. The code wins, as several codes share a status. HEAD has no body
// and thus no code: SDKs make one up from the status, so that this is not a special case.
func classify(status int, code, message string) *fault {
	f := &fault{status: status, code: code, message: message}
	switch code {
	case "NoSuchBucket":
		f.kind = ErrUnavailable // says nothing about the object, and must never be remembered as its absence
	case "NoSuchKey", "NoSuchUpload", "NotFound":
		f.kind = fs.ErrNotExist
	case "PreconditionFailed":
		f.kind = ErrPrecondition
	case "InvalidRange":
		f.kind = ErrRange
	case "InvalidPart", "InvalidPartOrder", "EntityTooSmall":
		f.kind = ErrParts
	case "InsufficientStorage", "QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded":
		f.kind = ErrFull
	case "SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", conflict:
		f.kind = ErrUnavailable
	}
	if f.kind != nil {
		return f
	}
	switch {
	case status == http.StatusNotModified:
		f.kind = ErrNotModified
	case status == http.StatusNotFound:
		f.kind = fs.ErrNotExist
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		f.kind = ErrDenied
	case status == http.StatusPreconditionFailed:
		f.kind = ErrPrecondition
	case status == http.StatusRequestedRangeNotSatisfiable:
		f.kind = ErrRange
	case status == http.StatusInsufficientStorage:
		f.kind = ErrFull
	case status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout:
		f.kind = ErrUnavailable
	}
	return f
}

// explain turns an SDK's error into ours. what is "verb object".
func explain(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", what, context.Cause(ctx))
	}
	if f := response(err); f != nil {
		return fmt.Errorf("%s: %w", what, f)
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return fmt.Errorf("%s: %w: %w", what, ErrTimeout, err)
	}
	return fmt.Errorf("%s: %w: %w", what, ErrUnavailable, err)
}

// response returns what the store answered, or nil when err is not an answer of the store.
func response(err error) *fault {
	var m minio.ErrorResponse
	if errors.As(err, &m) && m.StatusCode != 0 {
		return classify(m.StatusCode, m.Code, m.Message)
	}
	var r *awshttp.ResponseError
	if !errors.As(err, &r) || r.HTTPStatusCode() == 0 { // the SDK wraps a request without an answer too
		return nil
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		return classify(r.HTTPStatusCode(), api.ErrorCode(), api.ErrorMessage())
	}
	return classify(r.HTTPStatusCode(), http.StatusText(r.HTTPStatusCode()), "")
}

// unsent reports whether err proves that the store never saw the request: no connection was made.
func unsent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// clip shortens what the store said before it goes into a message.
func clip(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}
