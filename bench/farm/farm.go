// Package farm makes objects to measure with: any number of them, of any size, the same ones in every process, without publishing them.
//
// It is not a store: bytes are cut out of one buffer of noise. Handler serves the objects twice: below /web/ as a plain HTTP origin for other caches, and as the bucket
// that an edge reads, in the form that package object gives to pointers, blobs, trees and sites. Signatures are not checked. Counts says what was read.
//
// Life cycle: New computes the hashes of all objects; after that everything is read-only but the counts. It starts no goroutine and owns no file.
package farm

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"perigee/object"
)

// Kind is a group of objects of one size in bytes.
type Kind struct {
	Size  int64
	Count int
}

// String is the kind as -kinds of the programs takes it.
func (k Kind) String() string { return fmt.Sprintf("%dx%d", k.Count, k.Size) }

// ParseKinds reads "1000000x1000,100x10000000".
func ParseKinds(s string) ([]Kind, error) {
	var out []Kind
	for one := range strings.SplitSeq(s, ",") {
		count, size, ok := strings.Cut(one, "x")
		n, err := strconv.Atoi(count)
		bytes, err2 := strconv.ParseInt(size, 10, 64)
		if !ok || err != nil || err2 != nil || n <= 0 || bytes <= 0 || bytes > maxSize {
			return nil, fmt.Errorf("kinds %q: %q is not COUNTxBYTES with up to %d bytes", s, one, maxSize)
		}
		out = append(out, Kind{bytes, n})
	}
	return out, nil
}

const (
	// Host is what the objects' site answers to.
	Host = "bench.test"
	// site is its name.
	site = "bench"
	// stride parts the beginnings of objects in the noise; spread is where they begin anew.
	stride, spread = 8, 16 << 20
	maxSize        = 32 << 20
)

// noise returns the buffer that all objects are cut out of.
func noise(largest int64) []byte {
	b := make([]byte, spread+largest+8)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := 0; i+8 <= len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], rng.Uint64())
	}
	return b
}

// Content gives the bytes of objects.
type Content struct{ noise []byte }

// NewContent returns the content of objects of up to largest bytes.
func NewContent(largest int64) Content { return Content{noise(largest)} }

// Bytes returns the bytes of object n of a size. They must not be changed.
func (c Content) Bytes(size int64, n int) []byte {
	at := int64(n) * stride % spread
	return c.noise[at : at+size : at+size]
}

// Path returns the path of object n of a size.
func Path(size int64, n int) string { return fmt.Sprintf("/%d/%d", size, n) }

// parsePath is the inverse of Path.
func parsePath(s string) (size int64, n int, ok bool) {
	a, b, found := strings.Cut(strings.TrimPrefix(s, "/"), "/")
	size, err := strconv.ParseInt(a, 10, 64)
	n, err2 := strconv.Atoi(b)
	return size, n, found && err == nil && err2 == nil
}

// id is an object.
type id struct {
	size int64
	n    int
}

// Farm is the objects of some kinds.
type Farm struct {
	content Content
	kinds   map[int64]int // size -> count
	heads   map[object.Hash]id
	blobs   map[object.Hash]id
	sites   []byte
	counts  counts
}

var made = time.Unix(1_700_000_000, 0).UTC()

// New makes a farm; a million objects of 1 kB take two seconds.
func New(kinds []Kind) *Farm {
	f := &Farm{kinds: map[int64]int{}, heads: map[object.Hash]id{}, blobs: map[object.Hash]id{}}
	largest := int64(0)
	for _, k := range kinds {
		largest = max(largest, k.Size)
	}
	f.content = NewContent(largest)
	for _, k := range kinds {
		f.kinds[k.Size] = max(f.kinds[k.Size], k.Count)
		for n := range k.Count {
			f.heads[keyHash(object.HeadKey(site, object.Path(Path(k.Size, n))))] = id{k.Size, n}
			f.blobs[object.HashOf(f.content.Bytes(k.Size, n))] = id{k.Size, n}
		}
	}
	f.sites = object.MarshalSite(object.SiteRecord{
		Format: 1, Site: site, Version: object.NextVersion(made, 0, ""), Kind: object.Published, Hosts: []object.Host{Host},
	})
	return f
}

// keyHash returns the hash that ends a key.
func keyHash(k object.Key) object.Hash {
	h, err := object.ParseHash(string(k[strings.LastIndexByte(string(k), '/')+1:]))
	if err != nil {
		return object.Hash{}
	}
	return h
}

// pointer returns the record of an object.
func (f *Farm) pointer(o id) []byte {
	h := object.NewHasher()
	h.Write(f.content.Bytes(o.size, o.n))
	sum, tree := h.Sum()
	root := sum
	if object.Chunks(o.size) > 1 {
		root = tree.Root()
	}
	return object.MarshalPointer(&object.Pointer{
		Format: 1, Site: site, Path: object.Path(Path(o.size, o.n)), Version: object.NextVersion(made, 0, ""), State: object.Live,
		Modified: made, Hash: sum, Root: root, Size: o.size, Blob: object.BlobKey(sum), ContentType: "application/octet-stream", CacheControl: "max-age=86400",
	})
}

func (f *Farm) tree(o id) []byte {
	h := object.NewHasher()
	h.Write(f.content.Bytes(o.size, o.n))
	_, tree := h.Sum()
	return tree.Encode()
}
