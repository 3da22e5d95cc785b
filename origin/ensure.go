package origin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// EnsureBucket creates the bucket unless it is there. A bucket of somebody else's is ErrDenied.
func (w *Writer) EnsureBucket(ctx context.Context) error {
	what := "create bucket " + w.cfg.Bucket
	_, err := w.client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &w.cfg.Bucket})
	if err == nil {
		return nil
	}
	if f := response(err); f == nil || !errors.Is(f.kind, fs.ErrNotExist) && f.code != "NoSuchBucket" {
		return explain(ctx, "check bucket "+w.cfg.Bucket, err)
	}
	in := &s3.CreateBucketInput{Bucket: &w.cfg.Bucket}
	if w.cfg.Endpoint == "" && w.cfg.Region != "us-east-1" {
		in.CreateBucketConfiguration = &types.CreateBucketConfiguration{
			LocationConstraint: types.BucketLocationConstraint(w.cfg.Region),
		}
	}
	_, err = w.client.CreateBucket(ctx, in)
	var mine *types.BucketAlreadyOwnedByYou
	if err == nil || errors.As(err, &mine) {
		return nil
	}
	var others *types.BucketAlreadyExists
	if errors.As(err, &others) {
		return fmt.Errorf("%s: %w: another account owns it: %s", what, ErrDenied, aws.ToString(others.Message))
	}
	return explain(ctx, what, err)
}
