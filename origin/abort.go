package origin

import (
	"context"
	"errors"
	"io/fs"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"perigee/object"
)

// Abort throws away a multipart upload and its parts. Aborting what is not there is no error.
func (w *Writer) Abort(ctx context.Context, key object.Key, id string) error {
	_, err := w.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{
		Bucket: &w.cfg.Bucket, Key: aws.String(string(key)), UploadId: &id,
	})
	if err == nil {
		return nil
	}
	if err = explain(ctx, "abort upload of "+string(key), err); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
