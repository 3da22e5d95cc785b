package object_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"perigee/object"
)

func TestParseEscapedPath(t *testing.T) {
	good := func(in string, want object.Path) {
		t.Helper()
		p, err := object.ParseEscapedPath(in)
		if err != nil || p != want {
			t.Errorf("%q: %q, %v", in, p, err)
			return
		}
		if back, err := object.ParseEscapedPath(p.Escape()); err != nil || back != p {
			t.Errorf("%q escapes to %q, which is %q, %v", p, p.Escape(), back, err)
		}
	}
	bad := func(in, rule string) {
		t.Helper()
		_, err := object.ParseEscapedPath(in)
		if !errors.Is(err, object.ErrInvalid) || !strings.Contains(err.Error(), rule) {
			t.Errorf("%q: %v, want an error that names %q", in, err, rule)
		}
	}
	good("/a", "/a")
	good("a/b.css", "/a/b.css")
	good("/%E4%BD%A0%E5%A5%BD.txt", "/你好.txt")
	good("/with%20space", "/with space")
	good("/a+b", "/a+b")
	good("/100%25", "/100%")
	good("/..hidden", "/..hidden")
	good("/a;b=c", "/a;b=c")
	good("/q%3Fx%23y", "/q?x#y")
	bad("/", "names no file")
	bad("", "names no file")
	bad("/a/", "cannot end in '/'")
	bad("/a//b", "empty segment")
	bad("/../etc/passwd", `".." segment`)
	bad("/a/%2e%2E/b", `".." segment`)
	bad("/a/./b", `"." segment`)
	bad("/a%2Fb", "%2F is refused")
	bad("/a%2fb", "%2f is refused")
	bad("/a%5Cb", "%5C is refused")
	bad("/a\\b", "U+005C")
	bad("/a%00b", "U+0000")
	bad("/a%0Ab", "U+000A")
	bad("/a%7F", "U+007F")
	bad("/%ff", "UTF-8")
	bad("/%c0%af", "UTF-8")
	bad("/%", "ends inside")
	bad("/%4", "ends inside")
	bad("/%zz", "no %-escape")
	bad("/"+strings.Repeat("x", 5000), "the limit is 2048")
	bad("/"+strings.Repeat("x", 256), "the limit is 255")
	bad("/_perigee/v/x", "reserved")
	bad("/_perigee", "reserved")
	if p, err := object.ParseRequestPath("/docs/"); err != nil || p != "/docs/index.html" {
		t.Errorf("%q %v", p, err)
	}
	if p, err := object.ParseRequestPath("/"); err != nil || p != "/index.html" {
		t.Errorf("%q %v", p, err)
	}
}

func FuzzParseEscapedPath(f *testing.F) {
	for _, s := range []string{"/a", "/%2F", "/a/../b", "/%E4%BD%A0", "//", "/%00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := object.ParseEscapedPath(s)
		if err != nil {
			return
		}
		if q, err := object.ParseEscapedPath(p.Escape()); err != nil || q != p {
			t.Fatalf("%q -> %q -> %q, %v", s, p, q, err)
		}
		for _, seg := range strings.Split(string(p)[1:], "/") {
			if seg == "" || seg == "." || seg == ".." {
				t.Fatalf("%q has the segment %q", p, seg)
			}
		}
	})
}

func TestPrefixes(t *testing.T) {
	got := slices.Collect(object.Path("/a/b/c").Prefixes)
	if !slices.Equal(got, []object.Prefix{"/", "/a/", "/a/b/"}) {
		t.Fatal(got)
	}
	for in, want := range map[string]object.Prefix{"": "/", "/": "/", "a": "/a/", "/a/b/": "/a/b/"} {
		if p, err := object.ParsePrefix(in); err != nil || p != want {
			t.Errorf("%q: %q %v", in, p, err)
		}
	}
}

func TestParseHost(t *testing.T) {
	for in, want := range map[string]object.Host{
		"WWW.Perigee.Test:8100": "www.perigee.test", "www.perigee.test.": "www.perigee.test", "127.0.0.1:80": "127.0.0.1", "[::1]:80": "[::1]",
	} {
		if h, err := object.ParseHost(in); err != nil || h != want {
			t.Errorf("%q: %q %v", in, h, err)
		}
	}
	for _, in := range []string{"", ":80", "a b", "a..b", "-a", "a/b", "[::1", "a\x00", strings.Repeat("a.", 200)} {
		if h, err := object.ParseHost(in); err == nil {
			t.Errorf("%q was accepted as %q", in, h)
		}
	}
}

func TestVersionsSortByAge(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	v1 := object.NextVersion(now, 0, "")
	v2 := object.NextVersion(now.Add(-time.Hour), 0, v1) // the clock stepped back
	v3 := object.NextVersion(now.Add(time.Hour), 0, v2)
	if !(v1 < v2 && v2 < v3) {
		t.Fatal(v1, v2, v3)
	}
	if !v1.Time().Equal(now) {
		t.Fatal(v1.Time())
	}
	if object.NextVersion(now, 1, "") == v1 {
		t.Fatal("two writers issued the same version")
	}
	for _, v := range []object.Version{v1, v2, v3, object.NextVersion(time.Unix(0, 0), 32767, "")} {
		if p, err := object.ParseVersion(string(v)); err != nil || p != v {
			t.Fatal(p, err)
		}
	}
	for _, s := range []string{"", "x", strings.Repeat("z", 16), strings.Repeat("v", 16), strings.Repeat("0", 17)} {
		if _, err := object.ParseVersion(s); err == nil {
			t.Errorf("%q was accepted", s)
		}
	}
}

func TestHasherAndTree(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int64{0, 1, object.ChunkSize - 1, object.ChunkSize, object.ChunkSize + 1, 3*object.ChunkSize + 17} {
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(rnd.Uint32())
		}
		h := object.NewHasher()
		for rest := data; len(rest) > 0; {
			n := min(len(rest), 1+rnd.IntN(700_000))
			h.Write(rest[:n])
			rest = rest[n:]
			state, err := h.MarshalBinary() // the process dies here and another goes on
			if err != nil {
				t.Fatal(err)
			}
			h = object.NewHasher()
			if err := h.UnmarshalBinary(state); err != nil {
				t.Fatal(err)
			}
		}
		sum, tree := h.Sum()
		if sum != object.Hash(sha256.Sum256(data)) {
			t.Fatalf("%d bytes: wrong hash", size)
		}
		for i := range object.Chunks(size) {
			off, n := object.ChunkSpan(i, size)
			if tree.Chunk(i) != object.HashOf(data[off:off+n]) {
				t.Fatalf("%d bytes: wrong hash of chunk %d", size, i)
			}
		}
		enc := tree.Encode()
		if int64(len(enc)) != object.TreeSize(size) {
			t.Fatalf("%d bytes: tree of %d, TreeSize %d", size, len(enc), object.TreeSize(size))
		}
		if object.Chunks(size) == 1 && tree.Root() != sum {
			t.Fatal("the root of one chunk is its hash")
		}
		if _, err := object.DecodeTree(enc, size, tree.Root()); err != nil {
			t.Fatal(err)
		}
		if len(enc) > 0 {
			enc[rnd.IntN(len(enc))] ^= 1
			if _, err := object.DecodeTree(enc, size, tree.Root()); !errors.Is(err, object.ErrInvalid) {
				t.Fatalf("a flipped bit in the tree was not noticed: %v", err)
			}
		}
	}
}

func TestDeepTree(t *testing.T) {
	const chunks = object.TreeFanout*3 + 5
	leaves := make([]object.Hash, chunks)
	for i := range leaves {
		leaves[i] = object.HashOf([]byte{byte(i), byte(i >> 8)})
	}
	size := int64(chunks) * object.ChunkSize
	tree := object.NewTree(size, leaves)
	enc := tree.Encode()
	if int64(len(enc)) != object.TreeSize(size) || len(enc) != (chunks+4)*32 {
		t.Fatal(len(enc))
	}
	if object.HashOf(enc[:4*32]) != tree.Root() {
		t.Fatal("the root is the hash of the top node")
	}
	if object.HashOf(enc[4*32:(4+object.TreeFanout)*32]) != object.Hash(enc[:32]) {
		t.Fatal("the first hash of the top node covers the first node below")
	}
	enc[len(enc)-1] ^= 1
	if _, err := object.DecodeTree(enc, size, tree.Root()); err == nil {
		t.Fatal("a flipped bit in a leaf was not noticed")
	}
	for _, at := range []int{0, 3 * 32} { // inner hashes are not trusted either: they are made anew
		enc := tree.Encode()
		enc[at] ^= 1
		if got, err := object.DecodeTree(enc, size, tree.Root()); err == nil && !bytes.Equal(got.Encode(), tree.Encode()) {
			t.Fatal("a damaged inner node survived")
		}
	}
}

func FuzzHasherState(f *testing.F) {
	h := object.NewHasher()
	h.Write(make([]byte, object.ChunkSize+3))
	b, _ := h.MarshalBinary()
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		h := object.NewHasher()
		if h.UnmarshalBinary(b) == nil {
			h.Write([]byte("x"))
			h.Sum()
		}
	})
}

func TestParseRange(t *testing.T) {
	f := func(field string, size int64, want object.Range, kind object.RangeKind) {
		t.Helper()
		if r, k := object.ParseRange(field, size); r != want || k != kind {
			t.Errorf("%q of %d: %v %v", field, size, r, k)
		}
	}
	ok, no, ignored := object.RangeSatisfiable, object.RangeUnsatisfiable, object.RangeIgnored
	f("bytes=0-0", 10, object.Range{Start: 0, Length: 1}, ok)
	f("bytes=2-5", 10, object.Range{Start: 2, Length: 4}, ok)
	f("bytes=2-", 10, object.Range{Start: 2, Length: 8}, ok)
	f("bytes=-3", 10, object.Range{Start: 7, Length: 3}, ok)
	f("bytes=-30", 10, object.Range{Start: 0, Length: 10}, ok)
	f("bytes=5-99999999999999999999", 10, object.Range{Start: 5, Length: 5}, ok)
	f("bytes=10-", 10, object.Range{}, no)
	f("bytes=-0", 10, object.Range{}, no)
	f("bytes=0-", 0, object.Range{}, no)
	f("", 10, object.Range{}, ignored)
	f("bytes=", 10, object.Range{}, ignored)
	f("bytes=-", 10, object.Range{}, ignored)
	f("bytes=5-2", 10, object.Range{}, ignored)
	f("bytes=0-1,3-4", 10, object.Range{}, ignored)
	f("bytes=+1-2", 10, object.Range{}, ignored)
	f("bytes=a-b", 10, object.Range{}, ignored)
	f("items=0-1", 10, object.Range{}, ignored)
}

func FuzzParseRange(f *testing.F) {
	f.Add("bytes=0-1", int64(10))
	f.Add("bytes=-5", int64(3))
	f.Fuzz(func(t *testing.T, field string, size int64) {
		if size < 0 {
			return
		}
		r, kind := object.ParseRange(field, size)
		if kind == object.RangeSatisfiable && (r.Start < 0 || r.Length < 1 || r.Start+r.Length > size) {
			t.Fatalf("%q of %d gave %+v", field, size, r)
		}
	})
}

func TestPointerRoundTripAndValidation(t *testing.T) {
	h := object.HashOf([]byte("hello"))
	p := object.Pointer{
		Format: 1, Site: "www", Path: "/你好 x.txt", Version: object.NextVersion(time.Now(), 0, ""), State: object.Live,
		Modified: time.Unix(1_800_000_000, 0).UTC(), Hash: h, Root: h, Size: 5, Blob: object.BlobKey(h),
		ContentType: "text/plain; charset=utf-8", Tags: []object.Tag{"a", "b:c"},
	}
	q, err := object.UnmarshalPointer(object.MarshalPointer(&p))
	if err != nil || q.Hash != p.Hash || q.Path != p.Path || !q.Modified.Equal(p.Modified) || !slices.Equal(q.Tags, p.Tags) {
		t.Fatalf("%+v, %v", q, err)
	}
	for name, change := range map[string]func(*object.Pointer){
		"format":    func(p *object.Pointer) { p.Format = 2 },
		"path":      func(p *object.Pointer) { p.Path = "x" },
		"version":   func(p *object.Pointer) { p.Version = "1" },
		"state":     func(p *object.Pointer) { p.State = "" },
		"root":      func(p *object.Pointer) { p.Root[0]++ },
		"no hash":   func(p *object.Pointer) { p.Hash = object.Hash{} },
		"size":      func(p *object.Pointer) { p.Size = -1 },
		"blob key":  func(p *object.Pointer) { p.Blob = "p/www/x" },
		"blob up":   func(p *object.Pointer) { p.Blob = "u/../p/x" },
		"type":      func(p *object.Pointer) { p.ContentType = "a\r\nSet-Cookie: x" },
		"rule":      func(p *object.Pointer) { p.CacheControl = "a\x00" },
		"tag":       func(p *object.Pointer) { p.Tags = []object.Tag{"a b"} },
		"sub-secs":  func(p *object.Pointer) { p.Modified = p.Modified.Add(1) },
		"many tags": func(p *object.Pointer) { p.Tags = make([]object.Tag, object.MaxTags+1) },
	} {
		c := p
		change(&c)
		if err := c.Validate(); !errors.Is(err, object.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKeys(t *testing.T) {
	h := object.HashOf([]byte("/a"))
	v := object.NextVersion(time.Unix(1, 0), 0, "")
	s := h.String()
	for _, c := range []struct{ got, want object.Key }{
		{object.BlobKey(h), object.Key("b/" + s[:2] + "/" + s)},
		{object.TreeKey(object.BlobKey(h)), object.Key("t/b/" + s[:2] + "/" + s)},
		{object.HeadKey("www", "/a"), object.Key("p/www/" + s[:2] + "/" + s)},
		{object.VersionKey("www", "/a", v), object.Key("v/www/" + s[:2] + "/" + s + "/" + string(v))},
		{object.SiteKey("www"), "s/www"},
	} {
		if c.got != c.want {
			t.Errorf("%s, want %s", c.got, c.want)
		}
	}
}

func TestSiteTable(t *testing.T) {
	table := object.NewSiteTable()
	record := func(site object.Site, n int, hosts ...object.Host) *object.SiteRecord {
		return &object.SiteRecord{Format: 1, Site: site, Kind: object.Published, Hosts: hosts, Version: object.NextVersion(time.Unix(int64(n), 0), 0, "")}
	}
	if table.Host("a.test") != nil || table.Site("a") != nil {
		t.Fatal("an empty table knows something")
	}
	if !table.Learn(record("b", 2, "b.test", "both.test")) || !table.Learn(record("a", 2, "a.test", "both.test")) {
		t.Fatal("new records were not taken")
	}
	if table.Learn(record("a", 1, "old.test")) || table.Learn(record("a", 2, "same.test")) {
		t.Fatal("a record that is no newer was taken")
	}
	if got := table.Host("both.test"); got == nil || got.Site != "a" {
		t.Fatalf("a host claimed twice goes to %+v", got)
	}
	table.Learn(record("a", 3, "new.test"))
	if table.Host("a.test") != nil || table.Host("new.test") == nil || table.Host("both.test").Site != "b" {
		t.Fatal("hosts of an old record are still there")
	}
	if r := table.Records(); len(r) != 2 || r[0].Site != "a" || len(table.Hosts()) != 3 {
		t.Fatalf("%v %v", r, table.Hosts())
	}
}
