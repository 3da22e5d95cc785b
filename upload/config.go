package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"golang.org/x/sync/semaphore"

	"perigee/catalog"
	"perigee/clock"
	"perigee/object"
	"perigee/origin"
	"perigee/purge"
)

// Reader is what publishing reads of the bucket; *origin.Reader is one, and its documentation names the outcomes.
type Reader interface {
	Get(ctx context.Context, key object.Key, o origin.GetOptions) (io.ReadCloser, origin.Info, error)
	Head(ctx context.Context, key object.Key) (origin.Info, error)
	List(ctx context.Context, prefix string) iter.Seq2[origin.Info, error]
}

// Writer is how publishing changes the bucket; *origin.Writer is one, and its documentation names the outcomes.
type Writer interface {
	Put(ctx context.Context, key object.Key, body []byte, o origin.PutOptions) (etag string, err error)
	Delete(ctx context.Context, key object.Key) error
	Create(ctx context.Context, key object.Key, contentType string) (id string, err error)
	Part(ctx context.Context, key object.Key, id string, number int, body []byte) (origin.Part, error)
	Complete(ctx context.Context, key object.Key, id string, parts []origin.Part) (etag string, err error)
	Abort(ctx context.Context, key object.Key, id string) error
	ListParts(ctx context.Context, key object.Key, id string) ([]origin.Part, error)
	ListUploads(ctx context.Context, prefix string, before time.Time) iter.Seq2[origin.Upload, error]
}

// Outbox tells when a change has reached the log; *catalog.Outbox is one.
type Outbox interface {
	// Wait returns the position of an entry of the outbox, by its id, as soon as it is in the log, or ctx's error.
	Wait(ctx context.Context, entry string) (purge.Position, error)
}

// Proof tells when a change has reached the edges.
type Proof interface {
	// Wait reports whether every edge has applied everything up to the position; it returns when that is so or ctx ends.
	Wait(ctx context.Context, position purge.Position) (done bool)
}

// Config is what New needs.
type Config struct {
	Catalog *catalog.Catalog
	Outbox  Outbox
	Reader  Reader
	Writer  Writer
	// BaseURL returns what a site's URLs start with: scheme, host and port, without a trailing '/'.
	BaseURL func(object.SiteRecord) string
	Clock   clock.Clock
	Log     *slog.Logger

	// Proof answers ?wait=; may be nil, then nothing is ever proved.
	Proof Proof
	// Events, if set, is called after each change. It must not block.
	Events func(Event)
	// FormResult, if set, answers an HTML form that did not wholly succeed, with the given status; the default is
	// plain text.
	FormResult func(c *gin.Context, status int, results []FormResult)
	// Presigner, if set, lets clients upload straight to the bucket.
	Presigner Presigner
	// DefaultSite is where resumable uploads go that name no site; may be empty.
	DefaultSite object.Site

	// MaxSize is the largest file in bytes; 5 TiB when zero.
	MaxSize int64
	// Memory is how many bytes of bodies may be held at a time over all requests; 256 MiB when zero, at least 32 MiB.
	Memory int64
	// Idle is how long a publisher may send nothing while a body is expected; 1 min when zero.
	Idle time.Duration
	// Longest is how long one request may take to send its body, however steadily it does; 24 h when zero. A resumable upload goes
	// on in another request.
	Longest time.Duration
	// Patience is how long a bucket that is unavailable or asks for less is given before a request fails; 1 min when zero.
	Patience time.Duration
	// Requests is how many requests to the bucket may be under way at a time; 256 when zero.
	Requests int
	// Started, if set, reports whether the bucket and the sites of the configuration are there. Until then it is not certain of anything that it does not exist.
	Started func() bool
	// Progress, if set, is called now and then while a body of more than a second arrives, and once when it has ended. It must not block.
	Progress func(Progress)
	// CollectAfter is how long a blob must have been needed by nobody before it is deleted; an hour more than UploadTTL when zero. It has to be longer than UploadTTL and Longest: an
	// upload that was stored may still be published.
	CollectAfter time.Duration
	// CollectAgain is how long after that the bucket is looked at again, and the key can be used again; 1 h when zero. It has to be longer than the 15 min for which
	// S3 takes a signed request.
	CollectAgain time.Duration
	// UploadTTL is how long a resumable upload may rest before it is removed; 24 h when zero.
	UploadTTL time.Duration
}

// Sizes of the pipeline.
const (
	// smallBody is the largest body that is stored in one request, under its hash.
	smallBody = 8 << 20
	// unknownPart is the part size of a body of unknown length.
	unknownPart = 16 << 20
	// pooledPart is the part size of all files but very large ones and those of unknown length.
	pooledPart = smallBody
	// partsInFlight is how many parts of one upload are on their way to the bucket at a time.
	partsInFlight = 3
	minMemory     = 32 << 20
)

func (c *Config) check() error {
	switch {
	case c.Catalog == nil || c.Outbox == nil || c.Reader == nil || c.Writer == nil:
		return errors.New("upload: Config needs Catalog, Outbox, Reader and Writer")
	case c.BaseURL == nil || c.Clock == nil || c.Log == nil:
		return errors.New("upload: Config needs BaseURL, Clock and Log")
	}
	if c.MaxSize == 0 {
		c.MaxSize = 5 << 40
	}
	if c.Memory == 0 {
		c.Memory = 256 << 20
	}
	c.Memory = max(c.Memory, minMemory)
	if c.Idle == 0 {
		c.Idle = time.Minute
	}
	if c.UploadTTL == 0 {
		c.UploadTTL = 24 * time.Hour
	}
	if c.CollectAfter == 0 {
		c.CollectAfter = c.UploadTTL + time.Hour
	}
	if c.CollectAgain == 0 {
		c.CollectAgain = time.Hour
	}
	if c.Longest == 0 {
		c.Longest = 24 * time.Hour
	}
	if c.Patience == 0 {
		c.Patience = time.Minute
	}
	if c.CollectAfter <= max(c.UploadTTL, c.Longest) || c.CollectAgain <= lateRequest {
		return fmt.Errorf("upload: CollectAfter (%v) has to be longer than UploadTTL (%v) and Longest (%v), CollectAgain (%v) than %v", c.CollectAfter, c.UploadTTL, c.Longest, c.CollectAgain, lateRequest)
	}
	if c.Requests == 0 {
		c.Requests = 256
	}
	return nil
}

// Publisher publishes. Make one with New. Its methods are safe for concurrent use.
type Publisher struct {
	cfg     Config
	memory  *semaphore.Weighted // bytes of Config.Memory
	buffers buffers
	locks   *locks
	sites   chan struct{} // holds one token: who has it writes site records

	collected collection
	strays    atomic.Pointer[Strays]

	// crash, set by tests only, is called between the steps of the pipeline and may panic there: the process dies.
	crash func(step)
}

// New checks cfg and returns a Publisher. It starts nothing.
func New(cfg Config) (*Publisher, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	t := make(turns, cfg.Requests)
	cfg.Writer, cfg.Reader = orderly{cfg.Writer, t}, orderlyReader{cfg.Reader, t}
	p := &Publisher{cfg: cfg, memory: semaphore.NewWeighted(cfg.Memory), locks: newLocks(), sites: make(chan struct{}, 1)}
	return p, nil
}

// step names a place between two steps of the pipeline.
type step string

// The places, in the order a large upload passes them.
const (
	afterCheck    step = "check"
	afterNote     step = "note of the upload"
	afterCreate   step = "multipart created"
	afterPart     step = "part stored"
	afterComplete step = "multipart completed"
	afterClaim    step = "claim"
	afterPut      step = "small blob stored"
	afterBlob     step = "blob"
	afterReserve  step = "reservation"
	afterVersion  step = "version record"
	afterHead     step = "head pointer"
	afterCommit   step = "commit"

	// Those of removing and collecting.
	afterRemoval  step = "removal"
	afterRecord   step = "version record deleted"
	afterDrop     step = "references dropped"
	afterErase    step = "blobs erased"
	afterDeleting step = "blob marked as being deleted"
	afterDelete   step = "object deleted"
)

func (p *Publisher) at(s step) {
	if p.crash != nil {
		p.crash(s)
	}
}
