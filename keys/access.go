package keys

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"perigee/object"
)

// Limits narrow what a key reaches. The zero Limits is a key of the whole installation.
type Limits struct {
	// Sites are the sites the key is good for; none is all of them.
	Sites []object.Site `json:"sites,omitempty"`
	// Prefixes are the directories of those sites; none is all of each.
	Prefixes []object.Prefix `json:"prefixes,omitempty"`
	// MaxFile is the largest file the key may publish, in bytes; 0 sets no limit of its own.
	MaxFile int64 `json:"max_file,omitempty"`
	// MaxForm is how many files one form may bring; 0 sets no limit of its own.
	MaxForm int `json:"max_form,omitempty"`
	// RequestsPerSecond and BytesPerSecond stand in place of Rates.Requests and Rates.Bytes; 0 leaves those.
	RequestsPerSecond float64 `json:"requests_per_second,omitempty"`
	BytesPerSecond    int64   `json:"bytes_per_second,omitempty"`
}

// The most sites and prefixes that a key names.
const (
	MaxSites    = 100
	MaxPrefixes = 100
)

// Validate checks what was read or asked for. Errors wrap object.ErrInvalid.
func (l *Limits) Validate() error {
	switch {
	case len(l.Sites) > MaxSites || len(l.Prefixes) > MaxPrefixes:
		return fmt.Errorf("limits of a key: %w: at most %d sites and %d prefixes", object.ErrInvalid, MaxSites, MaxPrefixes)
	case len(l.Prefixes) > 0 && len(l.Sites) == 0:
		return fmt.Errorf("limits of a key: %w: a prefix needs the site it belongs to", object.ErrInvalid)
	case l.MaxFile < 0 || l.MaxForm < 0 || !(l.RequestsPerSecond >= 0 && l.RequestsPerSecond <= 1e9) || l.BytesPerSecond < 0:
		return fmt.Errorf("limits of a key: %w: a size, a rate or a number of files is negative or no number", object.ErrInvalid)
	}
	for _, s := range l.Sites {
		if _, err := object.ParseSite(string(s)); err != nil {
			return err
		}
	}
	for _, p := range l.Prefixes {
		if q, err := object.ParsePrefix(string(p)); err != nil {
			return err
		} else if p != q {
			return fmt.Errorf("prefix %q: %w: write %q", p, object.ErrInvalid, q)
		}
	}
	return nil
}

// Whole reports whether the key reaches the whole installation.
func (l *Limits) Whole() bool { return len(l.Sites) == 0 }

// Site reports whether the key reaches anything of a site.
func (l *Limits) Site(s object.Site) bool { return l.Whole() || slices.Contains(l.Sites, s) }

// WholeSite reports whether the key reaches all of a site.
func (l *Limits) WholeSite(s object.Site) bool { return l.Site(s) && len(l.Prefixes) == 0 }

// Under reports whether the key reaches a path of a site, or, if the path ends in '/', everything below it. "" is the whole site.
func (l *Limits) Under(s object.Site, path string) bool {
	if len(l.Prefixes) == 0 || path == "" {
		return l.WholeSite(s)
	}
	return l.Site(s) && slices.ContainsFunc(l.Prefixes, func(p object.Prefix) bool { return strings.HasPrefix(path, string(p)) })
}

// Narrow returns the part of a listing that the key may see: what of a site begins with prefix, which need not end at a
// '/'. It is false when that is nothing, and when it is several directories, which one listing cannot tell.
func (l *Limits) Narrow(s object.Site, prefix string) (string, bool) {
	if l.WholeSite(s) || l.Under(s, prefix) && prefix != "" {
		return prefix, true
	}
	if !l.Site(s) {
		return "", false
	}
	var only string
	for _, p := range l.Prefixes {
		if !strings.HasPrefix(string(p), prefix) {
			continue
		}
		if only != "" {
			return "", false
		}
		only = string(p)
	}
	return only, only != ""
}

// String says in words what the key is limited to; "" if to nothing.
func (l *Limits) String() string {
	if l.Whole() {
		return ""
	}
	names := make([]string, len(l.Sites))
	for i, s := range l.Sites {
		names[i] = string(s)
	}
	text := "site " + strings.Join(names, ", ")
	for i, p := range l.Prefixes {
		text += map[bool]string{true: " below ", false: ", "}[i == 0] + string(p)
	}
	return text
}

// CheckWhole is Check for what concerns the whole installation: nodes, keys, new sites. A key with limits gets 403.
func CheckWhole(ctx context.Context, s Scope) error {
	return check(ctx, s, func(id *Identity) bool { return id.Whole() }, "the whole installation")
}

// CheckSite is Check for what concerns a whole site: its record, a purge of tags or of everything.
func CheckSite(ctx context.Context, s Scope, site object.Site) error {
	return check(ctx, s, func(id *Identity) bool { return id.WholeSite(site) }, "all of site "+string(site))
}

// CheckUnder is Check for a path of a site, or for everything below one that ends in '/'.
func CheckUnder(ctx context.Context, s Scope, site object.Site, path string) error {
	return check(ctx, s, func(id *Identity) bool { return id.Under(site, path) }, path+" of site "+string(site))
}

// check returns nil, or a *Denied that says what the key lacks.
func check(ctx context.Context, s Scope, reaches func(*Identity) bool, what string) error {
	if err := Check(ctx, s); err != nil {
		return err
	}
	id, _ := FromContext(ctx)
	if reaches(&id) {
		return nil
	}
	return beyond(&id, what)
}

func beyond(id *Identity, what string) *Denied {
	return &Denied{Status: http.StatusForbidden, Slug: "beyond-limits", Title: "The API key does not reach this",
		Detail: "the key " + id.ID + " (" + id.Name + ") is limited to " + id.Limits.String() + "; this concerns " + what}
}

// Seen reports whether the sender of a request may see something of a site that concerns a path, a directory (ending in
// '/') or, with "", the whole site. It is for leaving out of lists and streams what is not the sender's.
func Seen(ctx context.Context, site object.Site, path string) bool {
	id, ok := FromContext(ctx)
	return ok && id.Under(site, path)
}
