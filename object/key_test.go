package object

import (
	"strings"
	"testing"
)

func TestKeyKind(t *testing.T) {
	blob := BlobKey(HashOf([]byte("x")))
	id := UploadID(strings.Repeat("0a", 16))
	version := Version(strings.Repeat("0", 16))
	for key, want := range map[Key]KeyKind{
		blob:                             BlobObject,
		UploadKey(id):                    BlobObject,
		TreeKey(blob):                    TreeObject,
		TreeKey(UploadKey(id)):           TreeObject,
		HeadKey("www", "/x"):             HeadObject,
		VersionKey("www", "/x", version): VersionObject,
		SiteKey("www"):                   SiteObject,
		WorkKey(id, "state"):             WorkObject,
		ScratchPrefix + "run/x":          ScratchObject,

		"": "", "b": "", "b/": "", "b/x": "", "B/x": "", "/": "", "x/": "", "u/x": "", "readme.txt": "",
		Key(strings.ToUpper(string(blob))): "",
		blob[:len(blob)-1]:                 "",
		blob + "/x":                        "",
		"t/x":                              "",
		HeadKey("www", "/x") + "/":         "",
		"p/www/x.html":                     "",
		VersionKey("www", "/x", "new"):     "",
		"v/x":                              "",
		SiteKey("www") + "/x":              "",
		"s/":                               "",
		WorkKey(id, ""):                    "",
		WorkKey(id, "a/b"):                 "",
		"w/x/state":                        "",
	} {
		if got := key.Kind(); got != want {
			t.Errorf("%q is of kind %q, want %q", key, got, want)
		}
	}
}

// FuzzKeyKind: whoever reads a foreign bucket meets any key.
func FuzzKeyKind(f *testing.F) {
	for _, key := range []Key{"b/00/x", "p/www/00/x", "v/www/00/x/y", "w//", "t/b/", "s/www"} {
		f.Add(string(key))
	}
	f.Fuzz(func(t *testing.T, s string) {
		if kind := Key(s).Kind(); kind != "" && !strings.ContainsRune(s, '/') {
			t.Fatalf("%q is of kind %q", s, kind)
		}
	})
}
