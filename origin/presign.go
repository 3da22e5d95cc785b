package origin

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"perigee/object"
)

// MaxPresign is the longest time a presigned request may be good for; S3 has this limit.
const MaxPresign = 7 * 24 * time.Hour

// Presigned is a request that whoever has it may send to the store, without a key, until it expires. It is a secret until then.
type Presigned struct {
	Method string
	URL    string
	// Header has what must be sent exactly so, because it is signed.
	Header http.Header
}

// PresignPut presigns a Put of exactly size bytes as the object key, good for the time valid, at most MaxPresign. It overwrites an
// object that is there. The store does not check what comes: whoever relies on it reads it first.
func (w *Writer) PresignPut(ctx context.Context, key object.Key, size int64, valid time.Duration) (Presigned, error) {
	return w.presign("presign put of "+string(key), valid, func(c *s3.PresignClient) (*v4.PresignedHTTPRequest, error) {
		return c.PresignPutObject(ctx, &s3.PutObjectInput{Bucket: &w.cfg.Bucket, Key: aws.String(string(key)), ContentLength: &size})
	})
}

// PresignPart presigns a Part of exactly size bytes of a multipart upload made by CreateDirect, good for the time valid, at most
// MaxPresign.
func (w *Writer) PresignPart(ctx context.Context, key object.Key, id string, number int, size int64, valid time.Duration) (Presigned, error) {
	what := fmt.Sprintf("presign part %d of %s", number, key)
	if number < 1 || number > MaxParts {
		return Presigned{}, fmt.Errorf("%s: a part's number is 1 to %d", what, MaxParts)
	}
	return w.presign(what, valid, func(c *s3.PresignClient) (*v4.PresignedHTTPRequest, error) {
		return c.PresignUploadPart(ctx, &s3.UploadPartInput{
			Bucket: &w.cfg.Bucket, Key: aws.String(string(key)), UploadId: &id, PartNumber: aws.Int32(int32(number)), ContentLength: &size,
		})
	})
}

func (w *Writer) presign(what string, valid time.Duration, sign func(*s3.PresignClient) (*v4.PresignedHTTPRequest, error)) (Presigned, error) {
	if valid <= 0 || valid > MaxPresign {
		return Presigned{}, fmt.Errorf("%s: it can be good for %v at most, not %v", what, MaxPresign, valid)
	}
	c := s3.NewPresignClient(w.client, s3.WithPresignExpires(valid), s3.WithPresignClientFromClientOptions(func(o *s3.Options) {
		// A checksum of bytes that are not here cannot be signed.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		if w.cfg.PublicEndpoint != "" {
			o.BaseEndpoint = &w.cfg.PublicEndpoint
		}
	}))
	r, err := sign(c)
	if err != nil {
		return Presigned{}, fmt.Errorf("%s: %w", what, err)
	}
	h := r.SignedHeader.Clone()
	h.Del("Host") // the URL has it
	return Presigned{Method: r.Method, URL: r.URL, Header: h}, nil
}
