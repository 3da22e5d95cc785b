package cachetest

import (
	"math/rand/v2"
	"time"

	"perigee/object"
)

// epoch is when change 0 of everything happened.
var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// Version is the version of change n of a path or a site.
func Version(n int) object.Version {
	return object.NextVersion(epoch.Add(time.Duration(n)*time.Second), 1, "")
}

// Bytes returns size bytes that nothing compresses, the same for the same arguments.
func Bytes(size int64, seed uint64) []byte {
	b := make([]byte, size)
	r := rand.NewPCG(uint64(size), seed)
	for i := 0; i < len(b); i += 8 {
		for v, j := r.Uint64(), i; j < len(b) && j < i+8; j++ {
			b[j] = byte(v)
			v >>= 8
		}
	}
	return b
}

// Pointer returns change n of a path: data, as text/plain.
func Pointer(site object.Site, path object.Path, n int, data []byte) *object.Pointer {
	hash, tree := hashes(data)
	return &object.Pointer{
		Format: 1, Site: site, Path: path, Version: Version(n), State: object.Live, Modified: epoch.Add(time.Duration(n) * time.Second),
		Hash: hash, Root: tree.Root(), Size: int64(len(data)), Blob: object.BlobKey(hash), ContentType: "text/plain; charset=utf-8",
	}
}

// Tombstone returns change n of a path: its deletion.
func Tombstone(site object.Site, path object.Path, n int) *object.Pointer {
	return &object.Pointer{
		Format: 1, Site: site, Path: path, Version: Version(n), State: object.Gone, Modified: epoch.Add(time.Duration(n) * time.Second),
	}
}

// Site returns the record of a published site.
func Site(name object.Site, hosts ...object.Host) *object.SiteRecord {
	return &object.SiteRecord{Format: 1, Site: name, Kind: object.Published, Hosts: hosts, Version: Version(0)}
}

func hashes(data []byte) (object.Hash, *object.Tree) {
	h := object.NewHasher()
	h.Write(data) // never fails
	return h.Sum()
}

// PutSite stores a site record.
func (o *Origin) PutSite(r *object.SiteRecord) { o.Put(object.SiteKey(r.Site), object.MarshalSite(*r)) }

// PutPointer stores p as the head of its path and as the record of its version.
func (o *Origin) PutPointer(p *object.Pointer) {
	o.Put(object.VersionKey(p.Site, p.Path, p.Version), object.MarshalPointer(p))
	o.Put(object.HeadKey(p.Site, p.Path), object.MarshalPointer(p))
}

// PutBlob stores data and its hash tree, if it has one.
func (o *Origin) PutBlob(data []byte) {
	hash, tree := hashes(data)
	o.Put(object.BlobKey(hash), data)
	if enc := tree.Encode(); len(enc) > 0 {
		o.Put(object.TreeKey(object.BlobKey(hash)), enc)
	}
}

// Publish makes data change n of a path and returns its pointer.
func (o *Origin) Publish(site object.Site, path object.Path, n int, data []byte) *object.Pointer {
	p := Pointer(site, path, n, data)
	o.PutBlob(data)
	o.PutPointer(p)
	return p
}
