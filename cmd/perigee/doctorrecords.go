package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"perigee/client"
	"perigee/object"
	"perigee/origin/contract"
)

// What lies in the bucket, beside what the catalogue says of it. Nothing is changed: which of the two is right is for a person to say.

// shown is how many things of a kind are named one by one.
const shown = 10

// sample counts things and keeps the first few.
type sample struct {
	n     int
	bytes int64 // of objects, where they are counted
	first []string
}

func (s *sample) add(format string, args ...any) {
	if s.n++; s.n <= shown {
		s.first = append(s.first, fmt.Sprintf(format, args...))
	}
}

// err is nil if there is nothing, else it names it.
func (s *sample) err(what string) error {
	if s.n == 0 {
		return nil
	}
	more := ""
	if s.n > shown {
		more = ", …"
	}
	if s.bytes > 0 {
		what = "with " + humanBytes(s.bytes) + " " + what
	}
	return fmt.Errorf("%s %s: %s%s", grouped(s.n), what, strings.Join(s.first, ", "), more)
}

// foreign looks for keys that Perigee never makes. It takes no notice of them, but who wrote them may expect something else, or use
// the same prefix for something of their own.
func (d *s3Doctor) foreign() {
	const advice = "Perigee ignores them. Sites of kind bucket aside, give other tools a bucket of their own"
	var roots, keys sample
	blobs, trees, versions := lot{most: d.Contents}, lot{most: d.Contents}, lot{most: d.Contents}
	ours := "bptuvswx"
	for root, err := range d.reader.Roots(d.a.ctx) {
		if err != nil {
			d.found(contract.Vital, "foreign keys", err, "the key must be allowed to list", "")
			return
		}
		if len(root) != 2 || root[1] != '/' || !strings.Contains(ours, string(root[:1])) {
			roots.add("%s", root)
		}
	}
	d.found(contract.Limited, "prefixes of others", roots.err("in the bucket"), advice, "")
	seen := 0
	for _, c := range ours {
		for info, err := range d.reader.List(d.a.ctx, string(c)+"/") {
			if err != nil {
				d.found(contract.Vital, "foreign keys", err, "the key must be allowed to list", "")
				return
			}
			if d.Keys > 0 && seen >= d.Keys {
				break
			}
			seen++
			switch info.Key.Kind() {
			case "":
				keys.add("%s", info.Key)
				keys.bytes += info.Size
			case object.BlobObject:
				if c == 'b' {
					blobs.add(info.Key)
				}
			case object.TreeObject:
				trees.add(info.Key)
			case object.VersionObject:
				versions.add(info.Key)
			}
		}
	}
	d.found(contract.Limited, "foreign keys", keys.err("below Perigee's own prefixes"), advice, "%s looked at", plural(seen, "key"))
	d.contents(blobs, trees, versions)
}

// records compares site records and pointers with what the API says.
func (d *s3Doctor) records() {
	sites, err := d.client.Sites(d.a.ctx)
	if err != nil {
		d.found(contract.Limited, "records", err, "start the API, or name it with --url: without it the bucket cannot be compared with the catalogue", "not compared")
		return
	}
	d.sites(sites)
	d.pointers()
	d.files(sites)
	d.strays()
}

const disagree = "wait until uploads have settled and run it again; if it stays, the catalogue or the bucket was restored or changed behind " +
	"Perigee's back: publish those files again, or restore the other one too"

func (d *s3Doctor) sites(known []client.Site) {
	var bad sample
	missing := map[object.Site]object.Version{}
	for _, s := range known {
		missing[s.Site] = s.Version
	}
	for rec, err := range d.reader.Sites(d.a.ctx) {
		if errors.Is(err, object.ErrInvalid) {
			bad.add("%v", err)
			continue
		}
		if err != nil {
			d.found(contract.Vital, "site records", err, "the key must be allowed to read", "")
			return
		}
		version, ok := missing[rec.Site]
		switch {
		case !ok:
			bad.add("%s, which the catalogue does not know", rec.Site)
		case version != rec.Version:
			bad.add("%s, version %s in the catalogue and %s in the bucket", rec.Site, version, rec.Version)
		}
		delete(missing, rec.Site)
	}
	for site := range missing {
		bad.add("%s, which is not in the bucket", site)
	}
	d.found(contract.Vital, "site records", bad.err("disagree"), disagree, "%s", plural(len(known), "site"))
}

// pointers goes from the bucket to the catalogue.
func (d *s3Doctor) pointers() {
	var bad sample
	n := 0
	for p, err := range d.reader.Pointers(d.a.ctx) {
		if d.Pointers > 0 && n >= d.Pointers {
			break
		}
		n++
		if err == nil {
			err = d.agree(d.a.ctx, p.Site, p.Path)
		}
		switch {
		case errors.Is(err, object.ErrInvalid) || errors.Is(err, errDisagree):
			bad.add("%v", err)
		case err != nil:
			d.found(contract.Vital, "pointers", err, "the key must be allowed to read, and the API must be there", "%s compared", grouped(n))
			return
		}
	}
	d.found(contract.Vital, "pointers", bad.err("disagree with the catalogue, or are none"), disagree, "%s compared", grouped(n))
}

// files goes from the catalogue to the bucket, which finds what the bucket lacks.
func (d *s3Doctor) files(sites []client.Site) {
	var bad sample
	n := 0
	for _, s := range sites {
		if s.Kind != object.Published || d.Pointers > 0 && n >= d.Pointers {
			continue
		}
		for f, err := range d.client.List(d.a.ctx, s.Site, "") {
			if d.Pointers > 0 && n >= d.Pointers {
				break
			}
			n++
			if err == nil {
				err = d.agree(d.a.ctx, f.Site, f.Path)
			}
			switch {
			case errors.Is(err, object.ErrInvalid) || errors.Is(err, errDisagree):
				bad.add("%v", err)
			case err != nil:
				d.found(contract.Vital, "files", err, "the key must be allowed to read, and the API must be there", "%s compared", grouped(n))
				return
			}
		}
	}
	d.found(contract.Vital, "files", bad.err("disagree with the bucket"), disagree, "%s compared", grouped(n))
}

// errDisagree says that bucket and catalogue say different things of a path.
var errDisagree = errors.New("they disagree")

// agree compares both sides of a path. A change that is under way makes them differ for a moment, so it looks again before it says so.
func (d *s3Doctor) agree(ctx context.Context, site object.Site, path object.Path) error {
	for try := 1; ; try++ {
		difference, err := d.difference(ctx, site, path)
		if err != nil || difference == "" {
			return err
		}
		if try == 4 {
			return fmt.Errorf("%s:%s (%s)%w", site, path, difference, silent{errDisagree})
		}
		if err := d.a.sleep(ctx, time.Duration(try)*200*time.Millisecond); err != nil {
			return err
		}
	}
}

// silent is an error that is there to be found, not to be read.
type silent struct{ error }

// Error implements error.
func (silent) Error() string { return "" }

// Unwrap returns the error.
func (s silent) Unwrap() error { return s.error }

// difference says how the two sides of a path differ, "" if they do not.
func (d *s3Doctor) difference(ctx context.Context, site object.Site, path object.Path) (string, error) {
	p, perr := d.reader.Pointer(ctx, site, path)
	if perr != nil && !errors.Is(perr, fs.ErrNotExist) {
		return "", perr
	}
	f, ferr := d.client.Get(ctx, site, path)
	if ferr != nil && !errors.Is(ferr, fs.ErrNotExist) {
		return "", ferr
	}
	inBucket, inCatalogue := perr == nil && p.State == object.Live, ferr == nil
	switch {
	case inBucket && !inCatalogue:
		return "not in the catalogue", nil
	case !inBucket && inCatalogue:
		return "not in the bucket", nil
	case inBucket && !same(p, f):
		return fmt.Sprintf("version %s in the bucket, %s in the catalogue", p.Version, f.Version), nil
	}
	return "", nil
}

func same(p *object.Pointer, f client.File) bool {
	return p.Version == f.Version && p.Hash == f.SHA256 && p.Size == f.Size
}
