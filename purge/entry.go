package purge

import (
	"encoding/json"
	"fmt"
	"time"

	"perigee/object"
)

// Kind says what an Entry changes.
type Kind string

// The kinds of entries. A kind that a node does not know makes it revalidate everything.
const (
	KindPointer Kind = "pointer" // a path has a new Pointer: upload, overwrite, rollback or, with a tombstone, delete
	KindURL     Kind = "url"     // purge of one path
	KindPrefix  Kind = "prefix"  // purge of everything below a Prefix
	KindTag     Kind = "tag"     // purge of every pointer that carries a tag
	KindSite    Kind = "site"    // purge of everything of a site
	KindRules   Kind = "rules"   // a site has a new SiteRecord
	// KindErase: versions of a path are gone for good, the bucket has their records no more. With Contents, caches destroy those bytes before
	// they say that they have applied the entry.
	KindErase Kind = "erase"
)

// Entry is one change. Exactly the fields its Kind names are set.
type Entry struct {
	Format int         `json:"format"` // 1
	ID     string      `json:"id"`     // unique; the outbox row it came from. Appending an ID again is no new entry
	Kind   Kind        `json:"kind"`
	Site   object.Site `json:"site"`

	Pointer *object.Pointer    `json:"pointer,omitempty"` // KindPointer
	Path    object.Path        `json:"path,omitempty"`    // KindURL, KindErase
	Prefix  object.Prefix      `json:"prefix,omitempty"`  // KindPrefix
	Tag     object.Tag         `json:"tag,omitempty"`     // KindTag
	Record  *object.SiteRecord `json:"record,omitempty"`  // KindRules

	Versions []object.Version `json:"versions,omitempty"` // KindErase, at least one and at most MaxErased
	Contents []Content        `json:"contents,omitempty"` // KindErase, at most MaxErased

	// Soft asks caches to revalidate before the next use, and allows them to serve what they have if the
	// origin cannot be reached; a hard purge does not.
	Soft bool      `json:"soft,omitempty"`
	At   time.Time `json:"at"` // when the change was committed, by the API's wall clock; for people

	// Prev is the hash of the encoded entry before this one in its stream, zero in the first. The log sets it.
	Prev object.Hash `json:"prev,omitzero"`
}

// MaxErased is how many versions, and how many contents, one entry of KindErase may name.
const MaxErased = 200

// Content says which bytes are to be destroyed, in the words of the pointers that meant them.
type Content struct {
	Blob object.Key  `json:"blob"` // where the bucket had them
	Hash object.Hash `json:"sha256"`
	Root object.Hash `json:"root"`
	Size int64       `json:"size"` // bytes
}

// ContentOf returns what a live pointer means.
func ContentOf(p *object.Pointer) Content { return Content{p.Blob, p.Hash, p.Root, p.Size} }

// Pointer returns a live pointer of that content: what caches know bytes by.
func (c Content) Pointer(site object.Site, path object.Path, v object.Version) *object.Pointer {
	return &object.Pointer{Format: 1, Site: site, Path: path, Version: v, State: object.Live, Hash: c.Hash, Root: c.Root, Size: c.Size, Blob: c.Blob}
}

// Validate checks that the entry is one of the kinds and complete. Errors wrap object.ErrInvalid.
func (e *Entry) Validate() error {
	if e.Format != 1 || e.ID == "" || len(e.ID) > 64 {
		return fmt.Errorf("log entry: %w: format %d, id %q", object.ErrInvalid, e.Format, e.ID)
	}
	if _, err := object.ParseSite(string(e.Site)); err != nil {
		return fmt.Errorf("log entry %s: %w", e.ID, err)
	}
	var err error
	switch e.Kind {
	case KindPointer:
		if e.Pointer == nil || e.Pointer.Site != e.Site {
			return fmt.Errorf("log entry %s: %w: it carries no pointer of its site", e.ID, object.ErrInvalid)
		}
		err = e.Pointer.Validate()
	case KindURL:
		_, err = object.ParsePath(string(e.Path))
	case KindPrefix:
		_, err = object.ParsePrefix(string(e.Prefix))
	case KindTag:
		_, err = object.ParseTag(string(e.Tag))
	case KindRules:
		if e.Record == nil || e.Record.Site != e.Site {
			return fmt.Errorf("log entry %s: %w: it carries no record of its site", e.ID, object.ErrInvalid)
		}
		err = e.Record.Validate()
	case KindErase:
		err = e.validateErase()
	case KindSite:
	default:
		return fmt.Errorf("log entry %s: %w: kind %q is not known to this version", e.ID, object.ErrInvalid, e.Kind)
	}
	if err != nil {
		return fmt.Errorf("log entry %s: %w", e.ID, err)
	}
	return nil
}

func (e *Entry) validateErase() error {
	if _, err := object.ParsePath(string(e.Path)); err != nil {
		return err
	}
	if len(e.Versions) == 0 || len(e.Versions) > MaxErased || len(e.Contents) > MaxErased {
		return fmt.Errorf("%w: it names %d versions and %d contents", object.ErrInvalid, len(e.Versions), len(e.Contents))
	}
	for _, v := range e.Versions {
		if _, err := object.ParseVersion(string(v)); err != nil {
			return err
		}
	}
	for _, c := range e.Contents {
		if err := c.Pointer(e.Site, e.Path, e.Versions[0]).Validate(); err != nil {
			return err
		}
	}
	return nil
}

// Encode returns the bytes that are stored and hashed. It panics if e is invalid.
func (e *Entry) Encode() []byte {
	if err := e.Validate(); err != nil {
		panic("purge: " + err.Error())
	}
	b, err := json.Marshal(e)
	if err != nil {
		panic("purge: a valid Entry always marshals: " + err.Error())
	}
	return b
}

// DecodeEntry decodes and validates a stored entry. Errors wrap object.ErrInvalid.
func DecodeEntry(b []byte) (*Entry, error) {
	var e Entry
	if err := json.Unmarshal(b, &e); err != nil {
		return nil, fmt.Errorf("log entry: %w: %v", object.ErrInvalid, err)
	}
	if err := e.Validate(); err != nil {
		return nil, err
	}
	return &e, nil
}
