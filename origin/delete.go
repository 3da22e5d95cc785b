package origin

import (
	"context"
	"errors"
	"io/fs"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"perigee/object"
)

// Delete removes an object. Removing what is not there is no error.
func (w *Writer) Delete(ctx context.Context, key object.Key) error {
	_, err := w.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &w.cfg.Bucket, Key: aws.String(string(key))})
	if err == nil {
		return nil
	}
	if err = explain(ctx, "delete "+string(key), err); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
