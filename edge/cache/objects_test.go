package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"testing"
	"time"

	"perigee/edge/cache/cachetest"
	"perigee/object"
	"perigee/purge"
)

// shelf is a store of objects in memory that fails, lags and changes when a test says so.
type shelf struct {
	mu      sync.Mutex
	objects map[object.Key]shelved
	err     error
	looks   int
	reads   int
	// during is called within Open, before the object is looked up.
	during func(offset int64)
}

type shelved struct {
	info object.Info
	data []byte
}

var errAway = errors.New("the store is away")

func (s *shelf) put(key object.Key, etag string, at int64, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[key] = shelved{object.Info{Size: int64(len(data)), ETag: etag, Modified: time.Unix(at, 0), ContentType: "text/plain"}, data}
}

func (s *shelf) remove(key object.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, key)
}

func (s *shelf) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// Stat implements Objects.
func (s *shelf) Stat(_ context.Context, _ string, key object.Key) (object.Info, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looks++
	if s.err != nil {
		return object.Info{}, s.err
	}
	o, ok := s.objects[key]
	if !ok {
		return object.Info{}, fs.ErrNotExist
	}
	return o.info, nil
}

// Open implements Objects.
func (s *shelf) Open(_ context.Context, _ string, key object.Key, etag string, offset, length int64) (io.ReadCloser, error) {
	if s.during != nil {
		s.during(offset)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	if s.err != nil {
		return nil, s.err
	}
	o, ok := s.objects[key]
	if !ok || o.info.ETag != etag {
		return nil, ErrChanged
	}
	return io.NopCloser(bytes.NewReader(o.data[offset : offset+length])), nil
}

// bucketRig is a rig with a bucket site.
func bucketRig(t *testing.T) (*rig, *shelf) {
	t.Helper()
	s := &shelf{objects: map[object.Key]shelved{}}
	r := newRig(t, func(c *Config) { c.Objects = s })
	r.site = &object.SiteRecord{
		Format: 1, Site: "media", Kind: object.Bucket, Hosts: []object.Host{"media.example"}, Version: cachetest.Version(1), Bucket: &object.BucketSource{Prefix: "mm/"},
	}
	r.log(purge.Entry{Kind: purge.KindRules, Site: "media", Record: r.site})
	return r, s
}

func (r *rig) log(e purge.Entry) {
	r.t.Helper()
	r.seq++
	e.Format, e.ID = 1, "e"
	if err := e.Validate(); err != nil {
		r.t.Fatal(err)
	}
	r.e.Apply(purge.Record{Entry: e, Position: purge.At("one", purge.Mark{Stream: "s", Seq: r.seq})})
}

// tells applies the entry by which the catalogue tells of an object.
func (r *rig) tells(s *shelf, path object.Path, after object.Version) *object.Pointer {
	r.t.Helper()
	key := object.Key("mm" + string(path))
	p := &object.Pointer{Format: 1, Site: "media", Path: path, State: object.Gone, Version: object.RecordedVersion(time.Time{}, 0, after)}
	if o, ok := s.objects[key]; ok {
		var err error
		if p, err = o.info.Pointer("media", path, "", key); err != nil {
			r.t.Fatal(err)
		}
		p.Version = object.RecordedVersion(p.Modified, 0, after)
	}
	r.log(purge.Entry{Kind: purge.KindPointer, Site: "media", Pointer: p})
	return p
}

// is checks what a request for a path gets; "" for nothing.
func (r *rig) is(path object.Path, want string) Outcome {
	r.t.Helper()
	data, o, err := r.get(path)
	if want == "" && !errors.Is(err, fs.ErrNotExist) || want != "" && (err != nil || string(data) != want) {
		r.t.Fatalf("%s is %q (%+v, %v), want %q", path, data, o, err, want)
	}
	return o
}

func TestObjectIsHeldUntilTheLogSaysOtherwise(t *testing.T) {
	r, s := bucketRig(t)
	s.put("mm/a", "e1", 100, []byte("one"))
	r.is("/a", "one")
	s.put("mm/a", "e2", 101, []byte("two"))
	if o := r.is("/a", "one"); !o.Hit() {
		t.Errorf("outcome %+v", o)
	}
	looks := s.looks
	v := r.tells(s, "/a", "").Version
	r.is("/a", "two")
	if s.looks != looks {
		t.Error("the store was asked though the log had told all of it")
	}
	s.remove("mm/a")
	r.tells(s, "/a", v)
	if o := r.is("/a", ""); o.Reason != ReasonDeleted {
		t.Errorf("outcome %+v", o)
	}
	r.is("/b", "")
	looks = s.looks
	r.is("/b", "")
	if s.looks != looks {
		t.Error("an absence was asked for twice")
	}
	s.put("mm/b", "e3", 102, []byte("three"))
	r.tells(s, "/b", "")
	r.is("/b", "three")
}

// TestObjectFloor: a store that lags behind what the log has told cannot bring an older object back, nor one of the same second.
func TestObjectFloor(t *testing.T) {
	for name, at := range map[string]int64{"an older one": 99, "one of the same second": 100} {
		t.Run(name, func(t *testing.T) {
			r, s := bucketRig(t)
			s.put("mm/a", "new", 100, []byte("new"))
			r.tells(s, "/a", "")
			s.put("mm/a", "old", at, []byte("old"))
			for range 3 {
				data, o, err := r.get("/a")
				if !errors.Is(err, ErrChanged) || o.Reason != ReasonChanged {
					t.Fatalf("%q %+v, %v", data, o, err)
				}
			}
			s.put("mm/a", "new", 100, []byte("new"))
			r.is("/a", "new")
		})
	}
}

func TestNewerObjectIsTakenBeforeTheLogTellsOfIt(t *testing.T) {
	r, s := bucketRig(t)
	s.put("mm/a", "one", 100, []byte("one"))
	r.tells(s, "/a", "")
	s.put("mm/a", "two", 101, []byte("two"))
	if _, _, err := r.get("/a"); !errors.Is(err, ErrChanged) {
		t.Fatal(err)
	}
	r.is("/a", "two") // the name was doubted
	r.restart()
	r.e.Confirm(r.cfg.Clock.Now())
	s.fail(errAway)
	r.is("/a", "two") // and everything of it was kept
}

// TestObjectChangesWhileItIsRead: the body breaks off where the store has another object, and no byte of that one is in it.
func TestObjectChangesWhileItIsRead(t *testing.T) {
	r, s := bucketRig(t)
	const size = 70 * mib // more than one read brings
	one, two := bytes.Repeat([]byte{'1'}, size), bytes.Repeat([]byte{'2'}, size)
	s.put("mm/film", "one", 100, one)
	s.during = func(offset int64) {
		if offset > 0 {
			s.put("mm/film", "two", 101, two)
		}
	}
	p, _, err := r.resolve("/film")
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := r.e.Locate(t.Context(), p, object.Range{Length: p.Size})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	n, err := b.Copy(t.Context(), &out)
	b.Close()
	if !errors.Is(err, ErrChanged) || n == 0 || n == size || bytes.Count(out.Bytes(), []byte{'1'}) != out.Len() {
		t.Fatalf("%d bytes, %v", n, err)
	}
	s.during = nil
	if _, err := r.check("/film", two); err != nil {
		t.Fatal(err)
	}
}

// TestLaggingAbsenceIsNotRemembered: a store that has not got yet what the log has told of is asked again by each request.
func TestLaggingAbsenceIsNotRemembered(t *testing.T) {
	r, s := bucketRig(t)
	s.put("mm/a", "one", 100, []byte("one"))
	r.tells(s, "/a", "")
	s.remove("mm/a")
	r.log(purge.Entry{Kind: purge.KindURL, Site: "media", Path: "/a"})
	r.is("/a", "")
	s.put("mm/a", "one", 100, []byte("one"))
	r.is("/a", "one")

	// What nobody but the edge has seen is forgotten.
	s.put("mm/b", "one", 100, []byte("one"))
	r.is("/b", "one")
	s.remove("mm/b")
	r.log(purge.Entry{Kind: purge.KindURL, Site: "media", Path: "/b"})
	r.is("/b", "")
	looks := s.looks
	r.is("/b", "")
	if s.looks != looks {
		t.Error("the absence was asked for again")
	}
}

// TestSoftPurgeOfObject: what cannot be confirmed is served stale, and a store that fails says nothing of Perigee's bucket.
func TestSoftPurgeOfObject(t *testing.T) {
	r, s := bucketRig(t)
	s.put("mm/a", "one", 100, []byte("one"))
	r.is("/a", "one")
	s.fail(errAway)
	r.log(purge.Entry{Kind: purge.KindSite, Site: "media", Soft: true})
	if o := r.is("/a", "one"); !o.Stale {
		t.Errorf("outcome %+v", o)
	}
	s.fail(nil)
	r.log(purge.Entry{Kind: purge.KindURL, Site: "media", Path: "/a"})
	looks := s.looks
	r.is("/a", "one")
	if s.looks != looks+1 || s.reads != 1 {
		t.Errorf("%d looks, %d reads: the bytes of the same ETag are good", s.looks-looks, s.reads)
	}
	s.fail(errAway)
	r.log(purge.Entry{Kind: purge.KindURL, Site: "media", Path: "/a"})
	if _, o, err := r.get("/a"); err == nil || o.Reason != ReasonOriginDown {
		t.Errorf("a hard purge was not confirmed and served: %+v, %v", o, err)
	}
}

func TestObjectsNeedAnETag(t *testing.T) {
	r, s := bucketRig(t)
	s.put("mm/a", "", 100, []byte("one"))
	if _, o, err := r.get("/a"); err == nil || o.Reason != ReasonOriginBad {
		t.Errorf("%+v, %v", o, err)
	}
	if _, _, err := r.e.Resolve(t.Context(), r.site, "/a", cachetest.Version(1)); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	for i, p := range []string{"/_perigeex/a", "/a b/ü"} {
		s.put(object.Key("mm"+p), fmt.Sprint("e", i), 100, []byte(p))
		r.is(object.Path(p), p)
	}
}
