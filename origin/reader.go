package origin

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"perigee/object"
)

// Info describes an object.
type Info struct {
	Key  object.Key
	Size int64 // of the whole object, in bytes, also when a range of it was asked for
	// ETag is the store's entity tag without its quotes. It changes with the content; it is not a hash of it.
	ETag     string
	Modified time.Time // as the store's clock has it, whole seconds on most stores
}

// Reader is the read side of a bucket. Create one with NewReader; Close it.
type Reader struct {
	cfg       Config
	core      minio.Core
	transport *http.Transport
	// seen is when, in Unix nanoseconds, the bucket was last known to exist.
	seen atomic.Int64
}

// NewReader checks cfg and returns a Reader. It does not talk to the store; without keys in cfg it reads the environment and the files of
// AWS's credential chain.
func NewReader(cfg Config) (*Reader, error) {
	cfg, err := cfg.completed()
	if err != nil {
		return nil, err
	}
	transport := newTransport(cfg.Silence, cfg.Clock)
	host, secure := "s3."+cfg.Region+".amazonaws.com", true
	if cfg.Endpoint != "" {
		u, err := url.Parse(cfg.Endpoint)
		if err != nil {
			return nil, fmt.Errorf("bucket endpoint: %w", err)
		}
		host, secure = u.Host, u.Scheme == "https"
	}
	lookup := minio.BucketLookupAuto
	if cfg.PathStyle {
		lookup = minio.BucketLookupPath
	}
	keys, err := readerKeys(cfg)
	if err != nil {
		return nil, err
	}
	core, err := minio.NewCore(host, &minio.Options{
		Creds:        keys,
		Secure:       secure,
		Transport:    cfg.Wrap(transport),
		Region:       cfg.Region, // or every process would first ask for it, which needs a right of its own
		BucketLookup: lookup,
		MaxRetries:   cfg.attempts(), // the option counts attempts
	})
	if err != nil {
		return nil, fmt.Errorf("bucket reader: %w", err)
	}
	return &Reader{cfg: cfg, core: *core, transport: transport}, nil
}

func readerKeys(cfg Config) (*credentials.Credentials, error) {
	if cfg.AccessKey != "" {
		return credentials.NewStaticV4(cfg.AccessKey, cfg.SecretKey, ""), nil
	}
	chain, err := keysOf(context.Background(), cfg)
	if err != nil {
		return nil, err
	}
	return credentials.New(lentKeys{chain}), nil
}

// Close releases idle connections. Bodies that are still open stay usable.
func (r *Reader) Close() { r.transport.CloseIdleConnections() }

// Check reports whether the bucket can be reached and exists: nil, or an error that wraps ErrUnavailable or ErrDenied.
func (r *Reader) Check(ctx context.Context) error {
	what := "check bucket " + r.cfg.Bucket
	ok, err := r.core.BucketExists(ctx, r.cfg.Bucket)
	if err != nil {
		return explain(ctx, what, err)
	}
	if !ok {
		return fmt.Errorf("%s: %w: it does not exist", what, ErrUnavailable)
	}
	r.alive()
	return nil
}

// bucketFresh is how long the bucket is taken to exist after it last proved it.
const bucketFresh = 10 * time.Second

func (r *Reader) alive() { r.seen.Store(r.cfg.Clock.Now().UnixNano()) }

// missing returns the error for an object that HEAD did not find. HEAD's 404 has no body to say whether the object or
// the whole bucket is missing, and the second must not pass for the first.
func (r *Reader) missing(ctx context.Context, what string) error {
	if r.cfg.Clock.Now().UnixNano()-r.seen.Load() > int64(bucketFresh) {
		if err := r.Check(ctx); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return fmt.Errorf("%s: %w", what, fs.ErrNotExist)
}
