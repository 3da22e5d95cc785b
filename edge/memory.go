package edge

import (
	"net/http"
	"time"

	"perigee/edge/cache"
	"perigee/object"
)

// memory is what the engine keeps in memory: answers to whole requests for small files, ready to be sent.
type memory interface {
	// Prepared returns the answer kept for a raw path, as Prepare was given it, if the name is good at this moment. It does not
	// allocate and does not block. False means that the long way has to be gone.
	Prepared(site *object.SiteRecord, path []byte) (preparedAnswer, bool)
	// Near returns the file of a path if nothing has to be waited for. False means that the long way has to be gone.
	Near(site *object.SiteRecord, path object.Path) (cache.Near, bool)
	// Prepare offers an answer to be kept; the engine decides.
	Prepare(site object.Site, path []byte, version object.Version, p *object.Pointer, head, body []byte)
	// Lease returns how long ago the log was known to be fully applied, and how long that is good for; left is 0 without a lease.
	Lease() (ago, left time.Duration)
}

// preparedAnswer is an answer kept in memory, valid until its Release: the head given to Prepare, and the whole file.
type preparedAnswer = cache.Prepared

// memoryOf returns what e keeps.
func memoryOf(e *cache.Engine) memory {
	if e == nil {
		return nil
	}
	return e
}

// prepare offers the answer that is about to be sent to the engine's memory, if it is one that others will get as well: a
// whole file, good and not merely the last that is known of it.
func (x *exchange) prepare(body *cache.Body, f *fileFields) {
	if x.s.memory == nil || x.status != http.StatusOK || x.outcome.Stale || x.req.path == "" {
		return
	}
	if whole, ok := body.Whole(); ok {
		x.keepPrepared(whole, f)
	}
}

// keepPrepared offers an answer with the whole file.
func (x *exchange) keepPrepared(whole []byte, f *fileFields) {
	if head := f.encode(x.site); head != nil {
		x.s.memory.Prepare(x.site.Site, []byte(x.req.path), x.version, x.pointer, head, whole)
	}
}
