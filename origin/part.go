package origin

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"perigee/object"
)

// Part stores one part of a multipart upload, replacing the part of that number if there is one; so it may be repeated. When it
// returns nobody reads body any more, however it ended. An upload that does not exist (any more) is fs.ErrNotExist.
func (w *Writer) Part(ctx context.Context, key object.Key, id string, number int, body []byte) (Part, error) {
	what := fmt.Sprintf("put part %d of %s", number, key)
	if number < 1 || number > MaxParts {
		return Part{}, fmt.Errorf("%s: a part's number is 1 to %d", what, MaxParts)
	}
	loan := newLoan(body)
	defer loan.end()
	out, err := w.client.UploadPart(ctx, &s3.UploadPartInput{
		Bucket:        &w.cfg.Bucket,
		Key:           aws.String(string(key)),
		UploadId:      &id,
		PartNumber:    aws.Int32(int32(number)),
		Body:          loan,
		ContentLength: aws.Int64(int64(len(body))),
	})
	if err != nil {
		return Part{}, explain(ctx, what, err)
	}
	return Part{
		Number:   number,
		Size:     int64(len(body)),
		ETag:     unquoted(aws.ToString(out.ETag)),
		Checksum: aws.ToString(out.ChecksumCRC32),
	}, nil
}
