package contract

import (
	"strings"

	"perigee/object"
)

const bucketSites = "Published sites are not concerned. In a bucket site, files that other tools store under such keys "

var keyChecks = []Check{
	{"Perigee's longest keys", Vital, "Some files cannot be published. " + useless, longestKeys},
	{"awkward characters in keys", Limited, bucketSites + "cannot be served.", awkwardKeys},
	{"keys of 1,024 bytes", Limited, bucketSites + "cannot be served.", longKeys},
	{"keys with a very long element", Limited, bucketSites + "(more than 255 bytes between two '/') cannot be stored.", longElements},
	{"a key and keys below it", Limited, bucketSites + "(a and a/b) exclude each other.", keyBelowKey},
	{"keys with an empty element", Limited, bucketSites + "(a//b) are not found by listing.", emptyElements},
}

// kept stores an object and finds it again, by its key and in a list.
func (t *trial) kept(key object.Key) {
	t.hidden = append(t.hidden, key)
	t.put(key, []byte(key))
	t.holds(key, []byte(key))
	found := 0
	for info, err := range t.reader.List(t.ctx, string(key)) {
		t.ok(err)
		if info.Key == key {
			found++
		}
	}
	if found != 1 {
		t.failf("%q is listed %d times", key, found)
	}
}

// longestKeys are as long as those that package object makes, here below the prefix of the trial.
func longestKeys(t *trial) {
	site := object.Site(strings.Repeat("s", 63))
	version := object.Version(strings.Repeat("0", 16))
	hash := object.HashOf([]byte("x"))
	for _, key := range []object.Key{
		object.BlobKey(hash), object.TreeKey(object.BlobKey(hash)), object.HeadKey(site, "/x"), object.VersionKey(site, "/x", version), object.SiteKey(site),
		object.UploadKey(object.UploadID(strings.Repeat("0", 32))), object.WorkKey(object.UploadID(strings.Repeat("0", 32)), "state"),
	} {
		t.kept(t.key(string(key)))
	}
}

func awkwardKeys(t *trial) {
	for _, name := range []string{"a b/c+d", "ü/日本語.txt", "q?x=1&y=2#z", "per%cent%2Fslash", "~tilde'quote\"", "=eq,comma;semi:colon@at!"} {
		t.kept(t.key(name))
	}
}

func longKeys(t *trial) {
	key := t.key(strings.Repeat("0123456789/", 100))
	t.kept(key[:1023] + "x")
}

func longElements(t *trial) { t.kept(t.key(strings.Repeat("x", 300))) }

func keyBelowKey(t *trial) {
	t.kept(t.key("a/b"))
	t.hidden = append(t.hidden, t.key("a"))
	t.put(t.key("a"), []byte("a"))
	t.holds(t.key("a"), []byte("a"))
	t.holds(t.key("a/b"), []byte(t.key("a/b")))
}

func emptyElements(t *trial) { t.kept(t.key("a//b")) }
