package object

import (
	"fmt"
	"strings"
)

// Key is the name of an object in the bucket. Only the functions below make keys; a user's path is never one.
type Key string

// BlobKey is where a blob lies whose hash was known before its first byte was stored.
func BlobKey(h Hash) Key { s := h.String(); return Key("b/" + s[:2] + "/" + s) }

// UploadID names one upload: 32 lower-case hexadecimal digits, of which the first three are the slot of its path and the others
// random; see NewUploadID.
type UploadID string

// ParseUploadID checks s. Errors wrap ErrInvalid.
func ParseUploadID(s string) (UploadID, error) {
	ok := len(s) == 32
	for i := 0; ok && i < len(s); i++ {
		ok = '0' <= s[i] && s[i] <= '9' || 'a' <= s[i] && s[i] <= 'f'
	}
	if !ok {
		return "", fmt.Errorf("upload id %q: %w", clip(s), ErrInvalid)
	}
	return UploadID(s), nil
}

// UploadKey is where a blob lies that was hashed while it streamed in.
func UploadKey(id UploadID) Key { return Key("u/" + id) }

// WorkPrefix begins the keys of unfinished resumable uploads.
const WorkPrefix = "w/"

// WorkKey is a scratch object of an unfinished resumable upload: "state", or a "tail-" with a number. Completion and expiry
// delete it.
func WorkKey(id UploadID, part string) Key { return Key(WorkPrefix + string(id) + "/" + part) }

// TreeKey is where the encoded Tree of the blob of that key lies, if it has more than one chunk: it belongs to that object alone, and goes with it.
func TreeKey(blob Key) Key { return "t/" + blob }

// HeadKey is where the current Pointer of a path lies: mutable, written conditionally.
func HeadKey(s Site, p Path) Key { return Key("p/" + pathKey(s, p)) }

// VersionKey is where the Pointer of one version lies: the same record, immutable.
func VersionKey(s Site, p Path, v Version) Key { return Key("v/" + pathKey(s, p) + "/" + string(v)) }

func pathKey(s Site, p Path) string {
	h := HashOf([]byte(p)).String()
	return string(s) + "/" + h[:2] + "/" + h
}

// ScratchPrefix begins the keys of what `perigee doctor s3` writes to see what a store can do, and removes again.
const ScratchPrefix = "x/"

// SitePrefix begins the keys of all site records.
const SitePrefix = "s/"

// SiteKey is where a SiteRecord lies.
func SiteKey(s Site) Key { return Key(SitePrefix + string(s)) }

// isBlob reports whether k was made by BlobKey or UploadKey.
func (k Key) isBlob() bool {
	s := string(k)
	if id, ok := strings.CutPrefix(s, "u/"); ok {
		_, err := ParseUploadID(id)
		return err == nil
	}
	if rest, ok := strings.CutPrefix(s, "b/"); ok && len(rest) == 67 {
		h, err := ParseHash(rest[3:])
		return err == nil && BlobKey(h) == k
	}
	return false
}

// KeyKind is what an object of the bucket is, by its key.
type KeyKind string

// The kinds.
const (
	BlobObject    KeyKind = "blob"    // BlobKey, UploadKey
	TreeObject    KeyKind = "tree"    // TreeKey
	HeadObject    KeyKind = "head"    // HeadKey
	VersionObject KeyKind = "version" // VersionKey
	SiteObject    KeyKind = "site"    // SiteKey
	WorkObject    KeyKind = "work"    // WorkKey
	ScratchObject KeyKind = "scratch" // below ScratchPrefix
)

// Kind returns what lies under k, "" if no function of this package could have made k.
func (k Key) Kind() KeyKind {
	first, rest, _ := strings.Cut(string(k), "/")
	switch first {
	case "b", "u":
		return BlobObject.when(k.isBlob())
	case "t":
		return TreeObject.when(Key(rest).isBlob())
	case "p":
		return HeadObject.when(isPathKey(rest))
	case "v":
		at := strings.LastIndexByte(rest, '/')
		if at < 0 {
			return ""
		}
		_, err := ParseVersion(rest[at+1:])
		return VersionObject.when(err == nil && isPathKey(rest[:at]))
	case "s":
		_, err := ParseSite(rest)
		return SiteObject.when(err == nil)
	case "w":
		id, part, _ := strings.Cut(rest, "/")
		_, err := ParseUploadID(id)
		return WorkObject.when(err == nil && part != "" && !strings.Contains(part, "/"))
	case "x":
		return ScratchObject.when(rest != "")
	}
	return ""
}

func (k KeyKind) when(is bool) KeyKind {
	if !is {
		return ""
	}
	return k
}

// isHashKey reports whether s is "<hh>/<sha256>".
func isHashKey(s string) bool {
	if len(s) != 67 || s[2] != '/' || s[:2] != s[3:5] {
		return false
	}
	h, err := ParseHash(s[3:])
	return err == nil && h.String() == s[3:]
}

// isPathKey reports whether s is what pathKey makes.
func isPathKey(s string) bool {
	site, rest, _ := strings.Cut(s, "/")
	_, err := ParseSite(site)
	return err == nil && isHashKey(rest)
}
