package object

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestBucketSource(t *testing.T) {
	for prefix, ok := range map[string]bool{
		"media/": true, "a b/ü/": true, "perigee-data/x/": true, "bb/": true,
		"": false, "media": false, "/media/": false, "b/": false, "u/x/": false, "z/": false, "media//x/": false, "../": false, "a\x00b/": false,
		strings.Repeat("x", 513) + "/": false, "_perigee/": false,
	} {
		r := SiteRecord{Format: 1, Site: "s", Kind: Bucket, Version: "0000000000000000", Bucket: &BucketSource{Prefix: prefix}}
		if err := r.Validate(); (err == nil) != ok || err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("prefix %.20q: %v", prefix, err)
		}
	}
	for _, c := range []struct {
		name string
		r    SiteRecord
		ok   bool
	}{
		{"the whole of another bucket", SiteRecord{Kind: Bucket, Bucket: &BucketSource{Store: "other"}}, true},
		{"Perigee's names in another bucket", SiteRecord{Kind: Bucket, Bucket: &BucketSource{Store: "other", Prefix: "p/"}}, false},
		{"a store that is no name", SiteRecord{Kind: Bucket, Bucket: &BucketSource{Store: "https://x", Prefix: "m/"}}, false},
		{"no bucket", SiteRecord{Kind: Bucket}, false},
		{"a published site with one", SiteRecord{Kind: Published, Bucket: &BucketSource{Prefix: "m/"}}, false},
		{"too often", SiteRecord{Kind: Bucket, Bucket: &BucketSource{Prefix: "m/", Poll: -1}}, false},
	} {
		c.r.Format, c.r.Site, c.r.Version = 1, "s", "0000000000000000"
		if err := c.r.Validate(); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	src := BucketSource{Prefix: "m/"}
	for key, want := range map[Key]Path{
		"m/a": "/a", "m/a b/ü": "/a b/ü", "m/a%20": "/a%20", "m/": "", "m/a/": "", "m/a//b": "", "m/../x": "", "n/a": "", "m": "", "m/_perigee/v": "",
		Key("m/" + strings.Repeat("x/", 512)): "",
	} {
		p, ok := src.PathOf(key)
		if ok != (want != "") || p != want && ok {
			t.Errorf("%q is %q, %v", key, p, ok)
		}
		if ok {
			if k, ok := src.Key(p); k != key || !ok {
				t.Errorf("%q comes back as %q", key, k)
			}
		}
	}
}

func FuzzPathOf(f *testing.F) {
	f.Add("m/a b")
	f.Add("m/%2e%2e/x")
	f.Fuzz(func(t *testing.T, key string) {
		src := BucketSource{Prefix: "m/"}
		p, ok := src.PathOf(Key(key))
		if !ok {
			return
		}
		if k, ok := src.Key(p); string(k) != key || !ok {
			t.Errorf("%q comes back as %q", key, k)
		}
		if q, err := ParseEscapedPath(p.Escape()); err != nil || q != p {
			t.Errorf("%q is asked for as %q, which is %q, %v", key, p.Escape(), q, err)
		}
	})
}

func TestObjectVersions(t *testing.T) {
	at := func(ms int64) time.Time { return time.UnixMilli(1_700_000_000_000 + ms) }
	first := RecordedVersion(at(0), 1, "")
	sameSecond := RecordedVersion(at(0), 1, first)
	gone := RecordedVersion(time.Time{}, 1, sameSecond)
	for i, v := range []Version{SeenVersion(at(999)), first, sameSecond, gone} {
		if next := SeenVersion(at(1000)); v >= next {
			t.Errorf("%d: %s is not less than what is seen a second later, %s", i, v, next)
		}
		if i > 0 && v <= SeenVersion(at(0)) {
			t.Errorf("%d: %s is not greater than what is seen of the same second", i, v)
		}
	}
	if first >= sameSecond || sameSecond >= gone || RecordedVersion(at(-5000), 1, gone) <= gone {
		t.Error("recorded versions do not rise")
	}
}

func TestObjectPointer(t *testing.T) {
	info := Info{Size: 3, ETag: "abc-1", Modified: time.Unix(100, 5), ContentType: "text/plain", CacheControl: "max-age=1\r\nX: y"}
	p, err := info.Pointer("s", "/a", "", "m/a")
	if err != nil || p.CacheControl != "" || p.EntityTag() != `"abc-1"` || p.Recorded() || p.Modified.Nanosecond() != 0 {
		t.Fatalf("%+v, %v", p, err)
	}
	q, err := UnmarshalPointer(MarshalPointer(p))
	if err != nil || q.ID() != p.ID() || q.ID().IsZero() {
		t.Errorf("%+v, %v", q, err)
	}
	for name, change := range map[string]func(*Pointer){
		"another ETag": func(p *Pointer) { p.ETag = "x" }, "another key": func(p *Pointer) { p.Blob = "m/b" }, "another store": func(p *Pointer) { p.Store = "x" },
		"another size": func(p *Pointer) { p.Size = 4 }, "another site": func(p *Pointer) { p.Site = "t" },
	} {
		c := *p
		change(&c)
		if c.ID() == p.ID() {
			t.Errorf("%s: the same bytes", name)
		}
	}
	for _, etag := range []string{"", `a"b`, "a\nb", strings.Repeat("x", 129), "ü"} {
		info.ETag = etag
		if p, err := info.Pointer("s", "/a", "", "m/a"); !errors.Is(err, ErrInvalid) || p != nil {
			t.Errorf("ETag %q: %v, %v", etag, p, err)
		}
	}
}
