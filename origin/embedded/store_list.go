package embedded

import (
	"context"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/versity/versitygw/s3response"
)

// ListObjects lists as the backend does, without leftovers.
func (s *store) ListObjects(ctx context.Context, in *s3.ListObjectsInput) (s3response.ListObjectsResult, error) {
	out, err := s.Posix.ListObjects(toTheEnd(ctx), in)
	out.Contents = s.withoutLeftovers(*in.Bucket, out.Contents)
	return out, err
}

// ListObjectsV2 lists as the backend does, without leftovers.
func (s *store) ListObjectsV2(ctx context.Context, in *s3.ListObjectsV2Input) (s3response.ListObjectsV2Result, error) {
	out, err := s.Posix.ListObjectsV2(toTheEnd(ctx), in)
	all := len(out.Contents)
	out.Contents = s.withoutLeftovers(*in.Bucket, out.Contents)
	if out.KeyCount != nil {
		*out.KeyCount -= int32(all - len(out.Contents))
	}
	return out, err
}

// withoutLeftovers drops files that are no objects: to replace an object the backend links the new file under a temporary
// name beside it and renames that, and a process that is killed in between leaves it there. Those from before this process
// are removed; a younger one is about to be renamed.
func (s *store) withoutLeftovers(bucket string, found []s3response.Object) []s3response.Object {
	kept := found[:0]
	for _, o := range found {
		linked, temporary := leftover(*o.Key)
		if !temporary {
			kept = append(kept, o)
		} else if linked.Before(s.started) {
			os.Remove(filepath.Join(s.root, bucket, *o.Key)) // a failure leaves it to the next list
		}
	}
	return kept
}

// leftover reports whether key is a temporary name, .<name>.sgwtmp.<nanoseconds>, and since when.
func leftover(key string) (linked time.Time, ok bool) {
	base := path.Base(key)
	_, digits, found := strings.Cut(base, ".sgwtmp.")
	if !found || !strings.HasPrefix(base, ".") {
		return time.Time{}, false
	}
	ns, err := strconv.ParseInt(digits, 10, 64)
	return time.Unix(0, ns), err == nil && ns > 0
}
