package object

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Site is the name of a site: 1 to 63 of a-z, 0-9 and '-', starting and ending with a letter or digit (the
// LDH rule of RFC 1123 §2.1, lower case), so that it can be a DNS label and a key segment as it is.
type Site string

// ParseSite checks s. Errors wrap ErrInvalid.
func ParseSite(s string) (Site, error) {
	if !isLabel(s) {
		return "", fmt.Errorf("site %q: %w: a site name is 1 to 63 characters of a-z, 0-9 and '-', and starts and ends with a letter or digit", clip(s), ErrInvalid)
	}
	return Site(s), nil
}

// Host is a host name that a site answers to: lower case, no port, no trailing dot.
type Host string

// ParseHost canonicalises a host name or the value of a Host header field: it lowers the case, drops a port
// and one trailing dot. IP literals are hosts too. Errors wrap ErrInvalid.
func ParseHost(s string) (Host, error) {
	h := s
	if strings.HasPrefix(h, "[") {
		end := strings.IndexByte(h, ']')
		if end < 0 {
			return "", fmt.Errorf("host %q: %w: unclosed '['", clip(s), ErrInvalid)
		}
		return Host(strings.ToLower(h[:end+1])), nil
	}
	if i := strings.LastIndexByte(h, ':'); i >= 0 {
		h = h[:i]
	}
	h = strings.ToLower(strings.TrimSuffix(h, "."))
	if len(h) == 0 || len(h) > 253 {
		return "", fmt.Errorf("host %q: %w: a host name has 1 to 253 characters", clip(s), ErrInvalid)
	}
	for label := range strings.SplitSeq(h, ".") {
		if !isLabel(label) {
			return "", fmt.Errorf("host %q: %w: each label is 1 to 63 characters of a-z, 0-9 and '-'", clip(s), ErrInvalid)
		}
	}
	return Host(h), nil
}

func isLabel(s string) bool {
	if len(s) == 0 || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// SiteKind says where a site's bytes come from.
type SiteKind string

// The kinds of a site; ARCHITECTURE.md §1.
const (
	Published SiteKind = "published" // uploads: blobs and pointers
	Bucket    SiteKind = "bucket"    // plain objects any S3 tool writes
	Pull      SiteKind = "pull"      // somebody's HTTP origin
)

// OnPartition says what an edge does with a pointer it can no longer confirm: neither log nor bucket answers.
type OnPartition string

// The values of OnPartition.
const (
	Serve  OnPartition = "serve"  // answer with it, marked detail=lease-expired
	Refuse OnPartition = "refuse" // answer 503
)

// SiteRecord is the head of a site, stored under SiteKey and carried by log entries. It is everything an edge
// needs to serve the site.
type SiteRecord struct {
	Format int      `json:"format"` // 1
	Site   Site     `json:"site"`
	Kind   SiteKind `json:"kind"`
	// Hosts are the names the site answers to; a name belongs to one site.
	Hosts []Host `json:"hosts"`
	// Version orders the records of one site, as Version orders pointers.
	Version Version   `json:"version"`
	Rules   SiteRules `json:"rules"`
	// Origin is where a pull site's responses come from; nil for the other kinds.
	Origin *PullOrigin `json:"origin,omitempty"`
	// Bucket is where a bucket site's objects lie; nil for the other kinds.
	Bucket *BucketSource `json:"bucket,omitempty"`
}

// SiteDeclaration is a site as people write it, in the API and in files.
type SiteDeclaration struct {
	Site  string    `json:"site"`
	Kind  SiteKind  `json:"kind"` // Published if it is empty
	Hosts []string  `json:"hosts"`
	Rules SiteRules `json:"rules"`
	// Origin is of a pull site, Bucket of a bucket site.
	Origin *PullOrigin   `json:"origin"`
	Bucket *BucketSource `json:"bucket"`
}

// Record returns the record to store, without a version: names are canonical, the rest is as it was declared. Errors wrap ErrInvalid.
func (d SiteDeclaration) Record() (SiteRecord, error) {
	r := SiteRecord{Format: 1, Kind: d.Kind, Hosts: []Host{}, Rules: d.Rules, Origin: d.Origin, Bucket: d.Bucket}
	if r.Kind == "" {
		r.Kind = Published
	}
	var err error
	if r.Site, err = ParseSite(d.Site); err != nil {
		return r, err
	}
	for _, h := range d.Hosts {
		host, err := ParseHost(h)
		if err != nil {
			return r, err
		}
		r.Hosts = append(r.Hosts, host)
	}
	return r, nil
}

// SiteRules are what a site lays down for all its files.
type SiteRules struct {
	// CacheControl is sent to clients on path URLs unless the pointer has its own; empty means
	// "public, max-age=0, must-revalidate".
	CacheControl string `json:"cache_control,omitempty" doc:"Sent to clients; public, max-age=0, must-revalidate if it is empty"`
	// OnPartition is Serve when empty.
	OnPartition OnPartition `json:"on_partition,omitempty" doc:"What an edge does with a file that it can no longer confirm; serve if it is empty"`
	// AllowActive says which active types are served without a CSP sandbox: what a site of one's own pages wants, and a site of strangers' uploads
	// does not.
	AllowActive Active `json:"allow_active,omitzero" doc:"Which active types (HTML, SVG, PDF …) are served without a sandbox: true for all, or a list of media types"`
	// Retention is for a published site; nil keeps all versions of all files.
	Retention *Retention `json:"retention,omitempty" doc:"Which old versions of a published site are kept; all if it is absent"`
	// Paths are rules for some paths.
	Paths []Rule `json:"paths,omitempty"`
}

// ErrKind says that a site is of a kind that something cannot be done with.
var ErrKind = errors.New("the site is of another kind")

// Stored returns nil if what the site serves is stored by Perigee, with versions, a quota and a log of changes. If not, the error wraps ErrKind and
// says where it lies.
func (r SiteRecord) Stored() error {
	switch r.Kind {
	case Bucket:
		return fmt.Errorf("site %s: %w: it serves the objects of a bucket, which are not stored by Perigee: write and delete them there, with any tool for S3, and the edges follow", r.Site, ErrKind)
	case Pull:
		return fmt.Errorf("site %s: %w: it serves what its origin answers, which is not stored by Perigee: change it there, and purge what edges hold", r.Site, ErrKind)
	}
	return nil
}

// MarshalSite encodes r for the bucket and the log.
func MarshalSite(r SiteRecord) []byte {
	b, err := json.Marshal(r)
	if err != nil {
		panic("object: a SiteRecord always marshals: " + err.Error())
	}
	return b
}

// UnmarshalSite decodes and validates a stored record. Errors wrap ErrInvalid.
func UnmarshalSite(b []byte) (SiteRecord, error) {
	var r SiteRecord
	if err := json.Unmarshal(b, &r); err != nil {
		return SiteRecord{}, fmt.Errorf("site record: %w: %v", ErrInvalid, err)
	}
	if err := r.Validate(); err != nil {
		return SiteRecord{}, err
	}
	return r, nil
}

// Validate checks every field. Errors wrap ErrInvalid.
func (r SiteRecord) Validate() error {
	if r.Format != 1 {
		return fmt.Errorf("site record: %w: format %d is not known to this version", ErrInvalid, r.Format)
	}
	if _, err := ParseSite(string(r.Site)); err != nil {
		return err
	}
	if r.Kind != Published && r.Kind != Bucket && r.Kind != Pull {
		return fmt.Errorf("site %s: %w: kind %q is none of published, bucket, pull", r.Site, ErrInvalid, clip(string(r.Kind)))
	}
	if _, err := ParseVersion(string(r.Version)); err != nil {
		return fmt.Errorf("site %s: %w", r.Site, err)
	}
	if len(r.Hosts) > 100 {
		return fmt.Errorf("site %s: %w: more than 100 hosts", r.Site, ErrInvalid)
	}
	for _, h := range r.Hosts {
		if c, err := ParseHost(string(h)); err != nil {
			return err
		} else if c != h {
			return fmt.Errorf("site %s: %w: host %q is not canonical, write %q", r.Site, ErrInvalid, h, c)
		}
	}
	if p := r.Rules.OnPartition; p != "" && p != Serve && p != Refuse {
		return fmt.Errorf("site %s: %w: on_partition %q is neither serve nor refuse", r.Site, ErrInvalid, clip(string(p)))
	}
	if err := r.Rules.AllowActive.validate(); err != nil {
		return fmt.Errorf("site %s: %w", r.Site, err)
	}
	if err := r.validateKind(); err != nil {
		return err
	}
	if k := r.Rules.Retention; k != nil {
		if r.Kind != Published {
			return invalid("site %s: only a published site has versions, and a rule of retention", r.Site)
		}
		if err := k.Validate(); err != nil {
			return fmt.Errorf("site %s: %w", r.Site, err)
		}
	}
	if err := r.validatePaths(); err != nil {
		return err
	}
	return ValidateFieldValue("cache_control", r.Rules.CacheControl)
}

// clip shortens what a stranger sent before it goes into a message.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}
