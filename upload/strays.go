package upload

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"
	"time"

	"perigee/catalog"
	"perigee/object"
	"perigee/origin"
)

// Strays are objects of the bucket that the catalogue does not know: somebody else wrote them, or the catalogue was lost or put back to an older state. They are
// told and not deleted: after the loss of a catalogue they may be all there is.
type Strays struct {
	At       time.Time
	Objects  int64
	Bytes    int64
	Examples []string // keys
}

const (
	// strayListing is how often the whole bucket is listed for strays.
	strayListing = 24 * time.Hour
	// strayExamples is how many keys of strays are told.
	strayExamples = 20
)

// Garbage is what the collector has before it, and what it has done.
type Garbage struct {
	After               time.Duration // Config.CollectAfter
	Condemned, Deleting catalog.BlobCounts
	Done                Collection
	Strays              *Strays        // as of the last listing; nil before the first
	Blobs               []catalog.Blob // condemned, those first that go first
}

// Garbage tells what is condemned, up to limit blobs of it. It changes nothing.
func (p *Publisher) Garbage(ctx context.Context, limit int) (Garbage, error) {
	n, err := p.cfg.Catalog.CountWaning(ctx)
	if err != nil {
		return Garbage{}, err
	}
	bs, err := p.cfg.Catalog.WaningBlobs(ctx, catalog.BlobCondemned, p.cfg.Clock.Now(), limit)
	return Garbage{
		After: p.cfg.CollectAfter, Condemned: n[catalog.BlobCondemned], Deleting: n[catalog.BlobDeleting], Done: p.Collection(), Strays: p.strays.Load(), Blobs: bs,
	}, err
}

// FindStrays lists the bucket and notes what the catalogue does not know and what is older than anything that may be under way.
func (p *Publisher) FindStrays(ctx context.Context) (Strays, error) {
	s := Strays{At: p.cfg.Clock.Now().UTC()}
	before := s.At.Add(-2 * p.cfg.CollectAfter)
	for _, prefix := range []string{"b/", "t/", "u/", "v/"} {
		for info, err := range p.cfg.Reader.List(ctx, prefix) {
			if err != nil {
				return s, err
			}
			if info.Modified.After(before) {
				continue
			}
			known, err := p.knows(ctx, info.Key)
			if err != nil {
				return s, err
			}
			if known {
				continue
			}
			s.Objects++
			s.Bytes += info.Size
			if len(s.Examples) < strayExamples {
				s.Examples = append(s.Examples, string(info.Key))
			}
		}
	}
	p.strays.Store(&s)
	return s, nil
}

// knows reports whether the catalogue knows an object under b/, t/, u/ or v/.
func (p *Publisher) knows(ctx context.Context, key object.Key) (bool, error) {
	if strings.HasPrefix(string(key), "v/") {
		return p.knowsVersion(ctx, key)
	}
	blob := object.Key(strings.TrimPrefix(string(key), "t/"))
	_, err := p.cfg.Catalog.Blob(ctx, blob)
	if id, uerr := object.ParseUploadID(strings.TrimPrefix(string(blob), "u/")); errors.Is(err, fs.ErrNotExist) && uerr == nil {
		_, err = p.cfg.Catalog.Upload(ctx, id)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// knowsVersion reads the record, which names its path; the key has only a hash of it.
func (p *Publisher) knowsVersion(ctx context.Context, key object.Key) (bool, error) {
	body, _, err := p.cfg.Reader.Get(ctx, key, origin.GetOptions{})
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil // it went while we listed
	}
	if err != nil {
		return false, err
	}
	defer body.Close()
	b, err := io.ReadAll(io.LimitReader(body, 1<<20))
	if err != nil {
		return false, err
	}
	ptr, err := object.UnmarshalPointer(b)
	if err != nil || object.VersionKey(ptr.Site, ptr.Path, ptr.Version) != key {
		return false, nil
	}
	_, err = p.cfg.Catalog.Version(ctx, ptr.Site, ptr.Path, ptr.Version)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
