package origin

import (
	"context"
	"iter"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"perigee/object"
)

// ListUploads yields the unfinished multipart uploads of keys that begin with prefix and that were started before the
// given time. An error ends it and is the last thing yielded.
//
// MinIO finds uploads only when prefix is the whole key; it removes abandoned ones by itself, after a day.
//
// Pages are cut by key alone, because stores disagree on how an upload id continues a page. So a key with very many
// uploads (more than fit a page, 1,000) may show only some of them; the next call, after those were aborted, shows the rest.
func (w *Writer) ListUploads(ctx context.Context, prefix string, before time.Time) iter.Seq2[Upload, error] {
	return func(yield func(Upload, error) bool) {
		in := &s3.ListMultipartUploadsInput{Bucket: &w.cfg.Bucket}
		if prefix != "" {
			in.Prefix = &prefix
		}
		for {
			page, err := w.client.ListMultipartUploads(ctx, in)
			if err != nil {
				yield(Upload{}, explain(ctx, "list uploads of "+prefix, err))
				return
			}
			for _, u := range page.Uploads {
				up := Upload{Key: object.Key(aws.ToString(u.Key)), ID: aws.ToString(u.UploadId), Started: aws.ToTime(u.Initiated)}
				if up.Started.Before(before) && !yield(up, nil) {
					return
				}
			}
			next := aws.ToString(page.NextKeyMarker)
			if !aws.ToBool(page.IsTruncated) || next == "" || next == aws.ToString(in.KeyMarker) {
				return
			}
			in.KeyMarker = &next
		}
	}
}
