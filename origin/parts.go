package origin

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"perigee/object"
)

// ListParts returns the parts of a multipart upload in the order of their numbers. An upload that does not exist is
// fs.ErrNotExist.
func (w *Writer) ListParts(ctx context.Context, key object.Key, id string) ([]Part, error) {
	var parts []Part
	pages := s3.NewListPartsPaginator(w.client, &s3.ListPartsInput{
		Bucket: &w.cfg.Bucket, Key: aws.String(string(key)), UploadId: &id,
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, explain(ctx, "list parts of "+string(key), err)
		}
		for _, p := range page.Parts {
			parts = append(parts, Part{
				Number:   int(aws.ToInt32(p.PartNumber)),
				Size:     aws.ToInt64(p.Size),
				ETag:     unquoted(aws.ToString(p.ETag)),
				Checksum: aws.ToString(p.ChecksumCRC32),
			})
		}
	}
	return parts, nil
}
