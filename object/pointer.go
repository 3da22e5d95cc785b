package object

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// PointerState says what a Pointer says of its path.
type PointerState string

// The states of a pointer.
const (
	Live PointerState = "live" // the path is a file
	Gone PointerState = "gone" // a tombstone: the path was a file and is none since Version
)

// Pointer is the record of one version of a path, stored under HeadKey (mutable) and VersionKey (immutable), and
// carried whole by log entries.
type Pointer struct {
	Format  int          `json:"format"` // 1
	Site    Site         `json:"site"`
	Path    Path         `json:"path"`
	Version Version      `json:"version"`
	State   PointerState `json:"state"`
	// Modified is when the path changed: whole seconds, strictly increasing per path, so that it can be Last-Modified.
	Modified time.Time `json:"modified"`

	// The rest is zero in a tombstone.

	Hash        Hash   `json:"sha256,omitzero"`
	Root        Hash   `json:"root,omitzero"` // root of the blob's Tree
	Size        int64  `json:"size"`          // bytes
	Blob        Key    `json:"blob,omitempty"`
	ContentType string `json:"content_type,omitempty"`
	// CacheControl, if set, goes to clients on path URLs in place of the site's rule.
	CacheControl string `json:"cache_control,omitempty"`
	Tags         []Tag  `json:"tags,omitempty"`

	// An object of a bucket site has its own entity tag, without quotes, in place of Hash and Root; Blob is its key.

	ETag            string `json:"etag,omitempty"`
	Store           string `json:"store,omitempty"` // as in BucketSource
	ContentEncoding string `json:"content_encoding,omitempty"`
}

// MaxSize is the largest blob, in bytes: 1 PiB.
const MaxSize = 1 << 50

// Validate checks every field. Errors wrap ErrInvalid.
func (p *Pointer) Validate() error {
	if p.Format != 1 {
		return fmt.Errorf("pointer: %w: format %d is not known to this version", ErrInvalid, p.Format)
	}
	if _, err := ParseSite(string(p.Site)); err != nil {
		return fmt.Errorf("pointer: %w", err)
	}
	if c, err := ParsePath(string(p.Path)); err != nil || c != p.Path {
		return fmt.Errorf("pointer: %w: path %q is not canonical", ErrInvalid, clip(string(p.Path)))
	}
	if _, err := ParseVersion(string(p.Version)); err != nil {
		return fmt.Errorf("pointer: %w", err)
	}
	if p.Modified.Nanosecond() != 0 {
		return fmt.Errorf("pointer: %w: modified is not in whole seconds", ErrInvalid)
	}
	switch p.State {
	case Gone:
		return nil
	case Live:
		return p.validateLive()
	}
	return fmt.Errorf("pointer: %w: state %q", ErrInvalid, clip(string(p.State)))
}

func (p *Pointer) validateLive() error {
	if p.Object() {
		return p.validateObject()
	}
	if p.Hash.IsZero() || p.Root.IsZero() || p.Size < 0 || p.Size > MaxSize {
		return fmt.Errorf("pointer: %w: hash, root or size is missing or absurd", ErrInvalid)
	}
	if Chunks(p.Size) == 1 && p.Hash != p.Root {
		return fmt.Errorf("pointer: %w: the root of a blob of one chunk is its hash", ErrInvalid)
	}
	if !p.Blob.isBlob() {
		return fmt.Errorf("pointer: %w: %q is no blob key", ErrInvalid, clip(string(p.Blob)))
	}
	if err := ValidateFieldValue("content_type", p.ContentType); err != nil {
		return err
	}
	if err := ValidateFieldValue("cache_control", p.CacheControl); err != nil {
		return err
	}
	if len(p.Tags) > MaxTags {
		return fmt.Errorf("pointer: %w: more than %d tags", ErrInvalid, MaxTags)
	}
	for _, t := range p.Tags {
		if _, err := ParseTag(string(t)); err != nil {
			return err
		}
	}
	return nil
}

// MarshalPointer encodes p for the bucket. It panics if p is invalid: nothing invalid may reach the bucket.
func MarshalPointer(p *Pointer) []byte {
	if err := p.Validate(); err != nil {
		panic("object: " + err.Error())
	}
	b, err := json.Marshal(p)
	if err != nil {
		panic("object: a valid Pointer always marshals: " + err.Error())
	}
	return b
}

// UnmarshalPointer decodes and validates a stored pointer. Errors wrap ErrInvalid.
func UnmarshalPointer(b []byte) (*Pointer, error) {
	var p Pointer
	if err := json.Unmarshal(b, &p); err != nil {
		return nil, fmt.Errorf("pointer: %w: %v", ErrInvalid, err)
	}
	if err := p.Validate(); err != nil {
		return nil, err
	}
	return &p, nil
}

// MaxTags is how many tags a pointer may carry.
const MaxTags = 64

// Tag groups files for purging: 1 to 128 bytes of visible ASCII without comma.
type Tag string

// ParseTag checks s. Errors wrap ErrInvalid.
func ParseTag(s string) (Tag, error) {
	ok := len(s) >= 1 && len(s) <= 128
	for i := 0; ok && i < len(s); i++ {
		ok = s[i] > ' ' && s[i] < 0x7f && s[i] != ','
	}
	if !ok {
		return "", fmt.Errorf("tag %q: %w: a tag is 1 to 128 visible ASCII characters without comma", clip(s), ErrInvalid)
	}
	return Tag(s), nil
}

// ParseTags reads a comma-separated list, dropping repetitions. Errors wrap ErrInvalid.
func ParseTags(s string) ([]Tag, error) {
	var tags []Tag
	seen := map[Tag]bool{}
	for f := range strings.SplitSeq(s, ",") {
		if f = strings.TrimSpace(f); f == "" {
			continue
		}
		t, err := ParseTag(f)
		if err != nil {
			return nil, err
		}
		if !seen[t] {
			seen[t] = true
			tags = append(tags, t)
		}
	}
	if len(tags) > MaxTags {
		return nil, fmt.Errorf("tags: %w: %d of them, the limit is %d", ErrInvalid, len(tags), MaxTags)
	}
	return tags, nil
}

// ValidateFieldValue checks that v can be sent as an HTTP field value (RFC 9110 §5.5: visible ASCII, space and
// tab, no more than 1,024 bytes), so that no stored value can split a response. Errors wrap ErrInvalid.
func ValidateFieldValue(name, v string) error {
	if len(v) > 1024 {
		return fmt.Errorf("%s: %w: longer than 1024 bytes", name, ErrInvalid)
	}
	for i := range len(v) {
		if c := v[i]; (c < ' ' && c != '\t') || c >= 0x7f {
			return fmt.Errorf("%s %q: %w: it contains a character that cannot be sent in a header", name, clip(v), ErrInvalid)
		}
	}
	return nil
}
