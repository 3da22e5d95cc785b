package object

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// BucketSource is where the objects of a bucket site lie.
type BucketSource struct {
	// Store names a bucket of the configuration (stores.<name>), which has its address and its credentials; "" is Perigee's own.
	Store string `json:"store,omitempty" doc:"A name of stores in the configuration; none for Perigee's own bucket"`
	// Prefix begins the keys of the site's objects: the path /a/b is the object Prefix + "a/b". It ends in '/', or is "" for the whole of
	// a bucket that is not Perigee's.
	Prefix string `json:"prefix" doc:"What the keys begin with; it ends in /"`
	// Poll is how many seconds lie between the beginnings of two listings; 300 if it is 0.
	Poll int64 `json:"poll,omitempty" doc:"Seconds between the beginnings of two listings; 300"`
}

// The bounds of BucketSource.Poll, in seconds.
const (
	DefaultPoll = 300
	minPoll     = 1
	maxPoll     = 7 * 24 * 3600
)

// MaxKey is the longest key of an object in bytes, as S3 has it.
const MaxKey = 1024

// maxKeyPrefix leaves room in a key for a path worth the name.
const maxKeyPrefix = 512

// Period is how much time lies between the beginnings of two listings.
func (b *BucketSource) Period() time.Duration {
	if b.Poll == 0 {
		return DefaultPoll * time.Second
	}
	return time.Duration(b.Poll) * time.Second
}

// Key returns the key of the object that a path of the site means; false if no object can have it.
func (b *BucketSource) Key(p Path) (Key, bool) {
	k := b.Prefix + string(p[1:])
	return Key(k), len(k) <= MaxKey
}

// PathOf returns the path that an object is served under; false if it is no object of the site, or has a key that is no Path, such as one
// with '//' in it or with '/' at its end.
func (b *BucketSource) PathOf(k Key) (Path, bool) {
	rest, ok := strings.CutPrefix(string(k), b.Prefix)
	if !ok || rest == "" || len(k) > MaxKey {
		return "", false
	}
	p, err := ParsePath("/" + rest)
	return p, err == nil
}

func (b *BucketSource) validate() error {
	if b.Store != "" && !isLabel(b.Store) {
		return invalid("bucket: store %q is no name of a store: 1 to 63 characters of a-z, 0-9 and '-'", clip(b.Store))
	}
	if b.Poll != 0 && (b.Poll < minPoll || b.Poll > maxPoll) {
		return invalid("bucket: poll is %d: it must be %d to %d seconds", b.Poll, minPoll, maxPoll)
	}
	p := b.Prefix
	switch {
	case p == "" && b.Store != "":
		return nil
	case p == "":
		return invalid("bucket: in Perigee's own bucket a prefix is needed, such as media/")
	case len(p) > maxKeyPrefix || !utf8.ValidString(p) || !strings.HasSuffix(p, "/"):
		return invalid("bucket: prefix %q must end in '/' and have at most %d bytes of UTF-8", clip(p), maxKeyPrefix)
	}
	if _, err := ParsePath("/" + strings.TrimSuffix(p, "/")); err != nil {
		return invalid("bucket: prefix %q: %v", clip(p), err)
	}
	// In other buckets, too: one of them may turn out to be Perigee's under another name.
	if strings.IndexByte(p, '/') == 1 {
		return invalid("bucket: prefix %q: the names of one letter at the top of a bucket are Perigee's own; take a longer one", clip(p))
	}
	return nil
}

// Info is what a store says of an object.
type Info struct {
	Size            int64 // bytes
	ETag            string
	Modified        time.Time
	ContentType     string
	CacheControl    string
	ContentEncoding string
}

// Pointer returns the pointer that an object is served by, as someone sees it who has only looked at it. Fields that cannot be sent on are dropped. An
// error wraps ErrInvalid: the object cannot be served, for it has no entity tag that tells its states apart.
func (i Info) Pointer(site Site, path Path, store string, key Key) (*Pointer, error) {
	sendable := func(v string) string {
		if ValidateFieldValue("", v) != nil {
			return ""
		}
		return v
	}
	modified := i.Modified.UTC().Truncate(time.Second)
	p := &Pointer{
		Format: 1, Site: site, Path: path, Version: SeenVersion(modified), State: Live, Modified: modified,
		Size: i.Size, Blob: key, ETag: i.ETag, Store: store,
		ContentType: sendable(i.ContentType), CacheControl: sendable(i.CacheControl), ContentEncoding: sendable(i.ContentEncoding),
	}
	if p.ETag == "" {
		return nil, fmt.Errorf("object %s: %w: the store gives it no ETag", key, ErrInvalid)
	}
	if err := p.Validate(); err != nil {
		return nil, err
	}
	return p, nil
}

// Object reports whether p is of an object of a bucket site: its bytes are the object's, named by its ETag, and not a blob's.
func (p *Pointer) Object() bool { return p.ETag != "" }

// ID tells the bytes that pointers mean apart: the blob's hash, or, for an object of a bucket site, a hash of where it lies and of its ETag. The
// latter is no hash of the bytes.
func (p *Pointer) ID() Hash {
	if !p.Object() {
		return p.Hash
	}
	b := append([]byte("perigee object\x00"), p.Site...)
	for _, s := range []string{p.Store, string(p.Blob), p.ETag} {
		b = append(b, 0)
		b = append(b, s...)
	}
	return HashOf(binary.BigEndian.AppendUint64(b, uint64(p.Size)))
}

// EntityTag returns what readers get as ETag, in quotes.
func (p *Pointer) EntityTag() string {
	if p.Object() {
		return `"` + p.ETag + `"`
	}
	return p.Hash.ETag()
}

// SeenVersion is the version of an object as whoever looks at it sees it: by its Last-Modified alone, which is in whole seconds.
func SeenVersion(modified time.Time) Version {
	return NextVersion(modified.Truncate(time.Second), 0, "")
}

// RecordedVersion is the version of an object as the catalogue records it: greater than after, greater than what others see of the same
// state or an older one, and, unless after demands it, less than what they will see a second later. An object that is gone has no time: give the zero one.
func RecordedVersion(modified time.Time, writer uint16, after Version) Version {
	return NextVersion(modified.Truncate(time.Second).Add(time.Microsecond), writer, after)
}

// Recorded reports whether the pointer of an object comes from the catalogue, by way of the log, and was not made by looking at the object alone.
func (p *Pointer) Recorded() bool { return p.Version != SeenVersion(p.Modified) }

// validateObject is validateLive for an object of a bucket site.
func (p *Pointer) validateObject() error {
	if !p.Hash.IsZero() || !p.Root.IsZero() || p.Size < 0 || p.Size > MaxSize || len(p.Tags) > 0 {
		return fmt.Errorf("pointer: %w: an object of a bucket site has a size, and neither hash nor tags", ErrInvalid)
	}
	if !ValidETag(p.ETag) {
		return fmt.Errorf("pointer: %w: etag %q", ErrInvalid, clip(p.ETag))
	}
	if p.Blob == "" || len(p.Blob) > MaxKey || !utf8.ValidString(string(p.Blob)) || p.Store != "" && !isLabel(p.Store) {
		return fmt.Errorf("pointer: %w: store %q has no object %q", ErrInvalid, clip(p.Store), clip(string(p.Blob)))
	}
	for name, v := range map[string]string{"content_type": p.ContentType, "cache_control": p.CacheControl, "content_encoding": p.ContentEncoding} {
		if err := ValidateFieldValue(name, v); err != nil {
			return err
		}
	}
	return nil
}

// ValidETag reports whether s, without quotes, is a strong entity tag that can be sent on (RFC 9110 §8.8.3), of at most 128 bytes.
func ValidETag(s string) bool {
	ok := len(s) >= 1 && len(s) <= 128
	for i := 0; ok && i < len(s); i++ {
		ok = s[i] > ' ' && s[i] < 0x7f && s[i] != '"'
	}
	return ok
}
