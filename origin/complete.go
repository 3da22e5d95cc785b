package origin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"perigee/object"
)

// Complete makes the parts, in the order of their numbers, the object key and returns its ETag. It may be repeated: when the
// upload is gone because an earlier Complete succeeded, that is success. It takes as long as the store needs to join the
// parts. An upload that does not exist is fs.ErrNotExist.
func (w *Writer) Complete(ctx context.Context, key object.Key, id string, parts []Part) (etag string, err error) {
	what := "complete upload of " + string(key)
	done := make([]types.CompletedPart, len(parts))
	for i, p := range parts {
		done[i] = types.CompletedPart{PartNumber: aws.Int32(int32(p.Number)), ETag: aws.String(quoted(p.ETag))}
		if p.Checksum != "" {
			done[i].ChecksumCRC32 = aws.String(p.Checksum)
		}
	}
	out, err := w.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket:          &w.cfg.Bucket,
		Key:             aws.String(string(key)),
		UploadId:        &id,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: done},
	}, func(o *s3.Options) { o.HTTPClient = httpClient(w.cfg.Wrap(w.patient)) })
	if err == nil {
		return unquoted(aws.ToString(out.ETag)), nil
	}
	if err = explain(ctx, what, err); !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	etag, same, herr := w.joined(ctx, key, parts)
	if herr != nil {
		return "", fmt.Errorf("%s: %w: %w", what, ErrUnknown, herr)
	}
	if !same {
		return "", err
	}
	return etag, nil
}

// joined reports whether key is an object that was made of parts: of their number, which S3 puts behind a '-' in the
// ETag, and of their total size.
func (w *Writer) joined(ctx context.Context, key object.Key, parts []Part) (etag string, same bool, err error) {
	out, err := w.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &w.cfg.Bucket, Key: aws.String(string(key))})
	if err != nil {
		if err = explain(ctx, "head "+string(key), err); errors.Is(err, fs.ErrNotExist) {
			return "", false, nil
		}
		return "", false, err
	}
	var size int64
	for _, p := range parts {
		size += p.Size
	}
	etag = unquoted(aws.ToString(out.ETag))
	return etag, aws.ToInt64(out.ContentLength) == size && strings.HasSuffix(etag, fmt.Sprintf("-%d", len(parts))), nil
}
