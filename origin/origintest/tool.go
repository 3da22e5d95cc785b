package origintest

import (
	"bytes"
	"net/url"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"perigee/origin"
)

// Tool is somebody else's program at work in a bucket: it knows nothing of Perigee, and uses an SDK as it comes.
type Tool struct {
	t      testing.TB
	client *minio.Client
	bucket string
}

// NewTool returns a tool with the account of cfg.
func NewTool(t testing.TB, cfg origin.Config) *Tool {
	t.Helper()
	u, err := url.Parse(cfg.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	c, err := minio.New(u.Host, &minio.Options{Creds: credentials.NewStaticV4(cfg.AccessKey, cfg.SecretKey, ""), Secure: u.Scheme == "https"})
	if err != nil {
		t.Fatal(err)
	}
	return &Tool{t, c, cfg.Bucket}
}

// Put writes an object with fields given as "Name: value", and returns its ETag.
func (p *Tool) Put(key string, body []byte, fields ...string) string {
	p.t.Helper()
	var o minio.PutObjectOptions
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		switch name {
		case "Content-Type":
			o.ContentType = value
		case "Cache-Control":
			o.CacheControl = value
		case "Content-Encoding":
			o.ContentEncoding = value
		default:
			p.t.Fatalf("no option for %s", name)
		}
	}
	info, err := p.client.PutObject(p.t.Context(), p.bucket, key, bytes.NewReader(body), int64(len(body)), o)
	if err != nil {
		p.t.Fatalf("put %s: %v", key, err)
	}
	return strings.Trim(info.ETag, `"`)
}

// Delete deletes objects, one by itself, several by one request.
func (p *Tool) Delete(keys ...string) {
	p.t.Helper()
	if len(keys) == 1 {
		if err := p.client.RemoveObject(p.t.Context(), p.bucket, keys[0], minio.RemoveObjectOptions{}); err != nil {
			p.t.Fatalf("delete %s: %v", keys[0], err)
		}
		return
	}
	list := make(chan minio.ObjectInfo, len(keys))
	for _, k := range keys {
		list <- minio.ObjectInfo{Key: k}
	}
	close(list)
	for e := range p.client.RemoveObjects(p.t.Context(), p.bucket, list, minio.RemoveObjectsOptions{}) {
		p.t.Fatalf("delete %s: %v", e.ObjectName, e.Err)
	}
}
