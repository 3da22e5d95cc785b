// Package sim replays a trace of requests through the edge's own policy and through the policies it is measured against.
//
// Perigee is the real policy.Policy under a model of the store's segments; the others are LRU, S3-FIFO, SIEVE, W-TinyLFU, GDSF and Belady, each
// implemented here from its paper, on whole objects. It is not a benchmark of speed: time per request is reported to compare one policy with
// another. It does no network I/O and writes nothing but what Generate and SVG are told to.
//
// Life cycle: build caches with New, then Replay once. Replay starts one goroutine per cache and batch and waits for it. Memory is bounded by the
// caches' contents, but for Belady, which needs the whole trace (see Future). A malformed line ends the replay with file and line.
package sim

import (
	"fmt"
	"slices"
)

// Request is one line of a trace.
type Request struct {
	Key  uint64 // hash of the id
	Size int64  // bytes, at least 1
}

// Outcome is what a request found and left behind.
type Outcome struct {
	Held    int64 // bytes of the object that were in the cache; the request is a hit when all were
	Written int64 // bytes written to the cache because of it, what was moved to make room included
}

// Cache is a cache under simulation. An object's size is that of the request which brought it; requests of the same object with
// another size do not change it. One goroutine at a time.
type Cache interface {
	Request(Request) Outcome
	Used() int64 // bytes held, never more than the size given to New
}

// names are the policies New knows, in the order of tables.
var names = [...]string{"perigee", "lru", "s3-fifo", "sieve", "w-tinylfu", "gdsf", "belady"}

// Names returns the policies New knows, in the order of tables.
func Names() []string { return slices.Clone(names[:]) }

// Config is what a cache is built from.
type Config struct {
	Size    int64   // bytes
	Segment int64   // bytes of a segment of Perigee's store; 0 means the rule of the store, scaled down for small caches
	Objects int64   // expected size of an object in bytes, sizes Perigee's ghosts; 0 means the default of the policy
	Alpha   float64 // policy.Config.Alpha
	Future  *Future // for belady
}

// New returns an empty cache with the policy called name.
func New(name string, c Config) (Cache, error) {
	if c.Size < 1 {
		return nil, fmt.Errorf("build cache: size %d: it must be at least 1 byte", c.Size)
	}
	switch name {
	case "perigee":
		return newPerigee(c), nil
	case "lru":
		return newLRU(c.Size), nil
	case "s3-fifo":
		return newS3FIFO(c.Size), nil
	case "sieve":
		return newSieve(c.Size), nil
	case "w-tinylfu":
		return newTinyLFU(c.Size), nil
	case "gdsf":
		return newGDSF(c.Size), nil
	case "belady":
		if c.Future == nil {
			return nil, fmt.Errorf("build cache: belady needs the future of the trace")
		}
		return newBelady(c.Size, c.Future), nil
	}
	return nil, fmt.Errorf("build cache: no policy %q; there are %v", name, names)
}
