package cache

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"time"

	"perigee/object"
)

// storedName is a name as the store keeps it: about 150 bytes, most of them hashes and the path.
type storedName struct {
	key     nameKey
	pointer *object.Pointer
	checked tick
	purged  marks
}

const nameFormat = 1

// The flags of an encoded name.
const (
	flagVersion = 1 << iota // an immutable name
	flagGone                // a tombstone
	flagRoot                // the root is not the hash
	flagUpload              // the blob lies under an upload's key
	flagKey                 // the blob lies under another hash's key: written out
	flagObject              // of an object of a bucket site: its store, key and ETag follow in place of hashes
)

// appendName encodes n. The pointer must be valid.
func appendName(b []byte, n *storedName) []byte {
	p := n.pointer
	var flags byte
	if n.key.version != "" {
		flags |= flagVersion
	}
	if p.State == object.Gone {
		flags |= flagGone
	}
	if p.Root != p.Hash {
		flags |= flagRoot
	}
	upload, isUpload := uploadOf(p.Blob)
	switch {
	case p.Object():
		flags |= flagObject
	case isUpload:
		flags |= flagUpload
	case p.State == object.Live && p.Blob != object.BlobKey(p.Hash):
		flags |= flagKey
	}
	b = append(b, nameFormat, flags)
	b = appendText(b, string(n.key.site))
	b = appendText(b, string(n.key.path))
	b = binary.AppendUvarint(b, uint64(n.checked))
	b = binary.AppendUvarint(b, uint64(n.purged.Hard))
	b = binary.AppendUvarint(b, uint64(n.purged.Soft))
	b = appendText(b, string(p.Version))
	b = binary.AppendVarint(b, p.Modified.Unix())
	if p.State == object.Gone {
		return b
	}
	if p.Object() {
		return appendObject(b, p)
	}
	b = append(b, p.Hash[:]...)
	if flags&flagRoot != 0 {
		b = append(b, p.Root[:]...)
	}
	b = binary.AppendUvarint(b, uint64(p.Size))
	switch {
	case flags&flagUpload != 0:
		b = append(b, upload[:]...)
	case flags&flagKey != 0:
		b = appendText(b, string(p.Blob))
	}
	b = appendText(b, p.ContentType)
	b = appendText(b, p.CacheControl)
	b = binary.AppendUvarint(b, uint64(len(p.Tags)))
	for _, t := range p.Tags {
		b = appendText(b, string(t))
	}
	return b
}

// appendObject encodes what the pointer of an object has beside its name.
func appendObject(b []byte, p *object.Pointer) []byte {
	b = binary.AppendUvarint(b, uint64(p.Size))
	for _, s := range []string{p.Store, string(p.Blob), p.ETag, p.ContentType, p.CacheControl, p.ContentEncoding} {
		b = appendText(b, s)
	}
	return b
}

// uploadOf returns the id in a key made by object.UploadKey; any other blob key is object.BlobKey of the pointer's hash.
func uploadOf(k object.Key) (id [16]byte, ok bool) {
	if len(k) != 34 || k[:2] != "u/" {
		return id, false
	}
	_, err := hex.Decode(id[:], []byte(k[2:]))
	return id, err == nil
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

var errName = errors.New("a stored name cannot be read")

// decodeName reads what appendName wrote. What it returns shares nothing with b. The record's checksum vouches for the content; only the form is
// checked here.
func decodeName(b []byte) (*storedName, error) {
	r := nameReader{b: b}
	if r.byte() != nameFormat {
		return nil, errName
	}
	flags := r.byte()
	n := &storedName{}
	n.key.site, n.key.path = object.Site(r.text()), object.Path(r.text())
	n.checked = tick(r.uvarint())
	n.purged = marks{tick(r.uvarint()), tick(r.uvarint())}
	p := &object.Pointer{Format: 1, Site: n.key.site, Path: n.key.path, Version: object.Version(r.text()), State: object.Live}
	p.Modified = time.Unix(r.varint(), 0).UTC()
	if flags&flagVersion != 0 {
		n.key.version = p.Version
	}
	switch {
	case flags&flagGone != 0:
		p.State = object.Gone
	case flags&flagObject != 0:
		r.object(p)
	default:
		r.live(p, flags)
	}
	if r.bad || len(r.b) != 0 {
		return nil, errName
	}
	n.pointer = p
	return n, nil
}

// nameReader takes fields off the front of b; after a mistake everything is zero.
type nameReader struct {
	b   []byte
	bad bool
}

func (r *nameReader) live(p *object.Pointer, flags byte) {
	copy(p.Hash[:], r.bytes(len(p.Hash)))
	p.Root = p.Hash
	if flags&flagRoot != 0 {
		copy(p.Root[:], r.bytes(len(p.Root)))
	}
	p.Size = int64(r.uvarint())
	if p.Size < 0 {
		r.bad = true
	}
	switch {
	case flags&flagUpload != 0:
		p.Blob = object.UploadKey(object.UploadID(hex.EncodeToString(r.bytes(16))))
	case flags&flagKey != 0:
		p.Blob = object.Key(r.text())
	default:
		p.Blob = object.BlobKey(p.Hash)
	}
	p.ContentType, p.CacheControl = r.text(), r.text()
	tags := r.uvarint()
	if tags > object.MaxTags {
		r.bad = true
		return
	}
	for range tags {
		p.Tags = append(p.Tags, object.Tag(r.text()))
	}
}

// object reads what appendObject wrote.
func (r *nameReader) object(p *object.Pointer) {
	p.Size = int64(r.uvarint())
	p.Store, p.Blob, p.ETag = r.text(), object.Key(r.text()), r.text()
	p.ContentType, p.CacheControl, p.ContentEncoding = r.text(), r.text(), r.text()
	if p.Size < 0 || p.ETag == "" {
		r.bad = true
	}
}

func (r *nameReader) bytes(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.bad, r.b = true, nil
		return make([]byte, max(0, min(n, 64)))
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *nameReader) byte() byte { return r.bytes(1)[0] }

func (r *nameReader) text() string {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return ""
	}
	return string(r.bytes(int(n)))
}

func (r *nameReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	r.skip(n)
	return v
}

func (r *nameReader) varint() int64 {
	v, n := binary.Varint(r.b)
	r.skip(n)
	return v
}

func (r *nameReader) skip(n int) {
	if n <= 0 {
		r.bad, r.b = true, nil
		return
	}
	r.b = r.b[n:]
}
