package origin

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"perigee/object"
)

// Presigner signs URLs with which clients that have no key store parts of a multipart upload in the bucket themselves. Make one with
// Writer.Presigner. It signs and starts uploads with the Writer's key, whose rights the URLs narrow to one part of one upload of one
// key, of one size, for a while.
type Presigner struct {
	w       *Writer
	presign *s3.PresignClient
}

// Presigner returns a Presigner whose URLs begin with public: http(s)://host:port, the store's address as clients reach it.
func (w *Writer) Presigner(public string) (*Presigner, error) {
	c := w.cfg
	c.Endpoint = public
	if err := c.checkEndpoint(); err != nil {
		return nil, fmt.Errorf("public %w", err)
	}
	opts := w.client.Options()
	opts.BaseEndpoint = aws.String(public)
	opts.ExpressCredentials = nil // s3.New writes to what is there, and the Writer's client, which may be at work, has it
	// A checksum would be of a body that is not known here.
	opts.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
	return &Presigner{w: w, presign: s3.NewPresignClient(s3.New(opts))}, nil
}

// Create begins a multipart upload of key whose parts come without checksums beyond their signatures, and returns its id.
func (p *Presigner) Create(ctx context.Context, key object.Key) (id string, err error) {
	out, err := p.w.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &p.w.cfg.Bucket, Key: aws.String(string(key))})
	if err != nil {
		return "", explain(ctx, "create upload of "+string(key), err)
	}
	return aws.ToString(out.UploadId), nil
}

// Part returns a URL for PUT with which whoever has it may store a part of exactly size bytes until it no longer lasts. Nothing is asked
// of the store.
func (p *Presigner) Part(ctx context.Context, key object.Key, id string, number int, size int64, lasts time.Duration) (url string, err error) {
	what := fmt.Sprintf("sign part %d of %s", number, key)
	if number < 1 || number > MaxParts || size < 1 {
		return "", fmt.Errorf("%s: a part's number is 1 to %d and it has at least a byte", what, MaxParts)
	}
	req, err := p.presign.PresignUploadPart(ctx, &s3.UploadPartInput{
		Bucket: &p.w.cfg.Bucket, Key: aws.String(string(key)), UploadId: &id,
		PartNumber: aws.Int32(int32(number)), ContentLength: aws.Int64(size),
	}, s3.WithPresignExpires(lasts))
	if err != nil {
		return "", explain(ctx, what, err)
	}
	return req.URL, nil
}
