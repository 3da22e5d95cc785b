package origin

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"perigee/object"
)

// A multipart upload: Create gives its id, Part stores parts in any order and replaces one that is sent again, Complete
// makes them the object, Abort throws them away. Until one of the two, parts stay and cost room: ListUploads finds
// what was left behind. All parts but the last must have the same size (some stores demand it), at least MinPart.
const (
	MinPart  = 5 << 20 // bytes, of every part but the last
	MaxParts = 10000
)

// Part is a stored part of a multipart upload.
type Part struct {
	Number int // 1 to MaxParts
	Size   int64
	ETag   string // without quotes
	// Checksum is what the store computed and Complete gives back to it; empty on stores that do not.
	Checksum string
}

// Upload is a multipart upload that was neither completed nor aborted.
type Upload struct {
	Key object.Key
	ID  string
	// Started is when it was created or, on some stores, when its last part came.
	Started time.Time
}

// Create begins a multipart upload of key and returns its id. Nothing is visible under key until Complete.
func (w *Writer) Create(ctx context.Context, key object.Key, contentType string) (id string, err error) {
	in := &s3.CreateMultipartUploadInput{Bucket: &w.cfg.Bucket, Key: aws.String(string(key))}
	if contentType != "" {
		in.ContentType = &contentType
	}
	if w.cfg.Checksums == ChecksumsSupported {
		in.ChecksumAlgorithm = types.ChecksumAlgorithmCrc32 // the one the SDK gives to parts
	}
	out, err := w.client.CreateMultipartUpload(ctx, in)
	if err != nil {
		return "", explain(ctx, "create upload of "+string(key), err)
	}
	return aws.ToString(out.UploadId), nil
}
