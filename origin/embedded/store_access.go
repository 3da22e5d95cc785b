package embedded

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// What the server asks before it carries a request out. A request that is under way when the server is told to stop must
// get past these too.

// HeadBucket reports whether a bucket exists.
func (s *store) HeadBucket(ctx context.Context, in *s3.HeadBucketInput) (*s3.HeadBucketOutput, error) {
	return s.Posix.HeadBucket(toTheEnd(ctx), in)
}

// GetBucketAcl returns who owns a bucket.
func (s *store) GetBucketAcl(ctx context.Context, in *s3.GetBucketAclInput) ([]byte, error) {
	return s.Posix.GetBucketAcl(toTheEnd(ctx), in)
}

// GetObjectLockConfiguration returns a bucket's rules against overwriting; it has none.
func (s *store) GetObjectLockConfiguration(ctx context.Context, bucket string) ([]byte, error) {
	return s.Posix.GetObjectLockConfiguration(toTheEnd(ctx), bucket)
}

// GetBucketCors returns a bucket's rules for pages of other origins.
func (s *store) GetBucketCors(ctx context.Context, bucket string) ([]byte, error) {
	return s.Posix.GetBucketCors(toTheEnd(ctx), bucket)
}
