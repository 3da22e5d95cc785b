package main

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"perigee/object"
	"perigee/origin"
	"perigee/origin/miniotest"
)

// TestDoctorTriesTheBucket runs the whole contract on MinIO, and has the keys of another tool reported.
func TestDoctorTriesTheBucket(t *testing.T) {
	s := miniotest.Start(t, miniotest.Options{})
	w, err := origin.NewWriter(t.Context(), s.Config())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := w.Put(t.Context(), "other-tool/file", nil, origin.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	args := []string{"doctor", "s3", "--json", "--url", "http://127.0.0.1:1", "--data", t.TempDir(), "--set", "storage.preset=minio",
		"--set", "storage.endpoint=" + s.Endpoint(), "--set", "storage.bucket=" + miniotest.Bucket, "--set", "storage.access_key=" + miniotest.RootAccess}
	r := perigee(t, nil, append(args, "--set", "storage.secret_key="+miniotest.RootSecret)...).want(t, 0)
	var got struct {
		OK     bool
		Lacks  int
		Checks []s3Finding
	}
	if err := json.Unmarshal([]byte(r.out), &got); err != nil || !got.OK {
		t.Fatal(err, r.out)
	}
	var lacks []string
	for _, f := range got.Checks {
		if !f.OK {
			lacks = append(lacks, f.Check)
			if f.Advice == "" {
				t.Errorf("%s fails, and nothing is said about what that means", f.Check)
			}
		}
	}
	want := []string{"keys with a very long element", "keys with an empty element", "prefixes of others", "records"} // no API is there
	if !slices.Equal(lacks, want) || got.Lacks != len(want) {
		t.Errorf("what lacks is %q, want %q", lacks, want)
	}
	if !strings.Contains(r.out, "other-tool/") || strings.Contains(r.out, miniotest.RootSecret) {
		t.Error(r.out)
	}
	r = perigee(t, nil, append(args, "--set", "storage.secret_key=wrong-secret-0123456789")...).want(t, 1)
	if !strings.Contains(r.out, "access denied") {
		t.Error(r.out)
	}
}

// TestDoctorVerifiesOwnKeys: what others have written under keys that look like Perigee's, or over its own, is named and counted, and what is right is not.
func TestDoctorVerifiesOwnKeys(t *testing.T) {
	s := miniotest.Start(t, miniotest.Options{})
	w, err := origin.NewWriter(t.Context(), s.Config())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	put := func(k object.Key, body []byte) {
		t.Helper()
		if _, err := w.Put(t.Context(), k, body, origin.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	// publish writes a file as Perigee does.
	publish := func(path object.Path, body []byte) (blob, version object.Key) {
		t.Helper()
		h := object.NewHasher()
		h.Write(body)
		sum, tree := h.Sum()
		p := object.Pointer{
			Format: 1, Site: "www", Path: path, Version: object.NextVersion(time.Unix(1_800_000_000, 0), 1, ""), State: object.Live, Hash: sum, Root: tree.Root(), Size: h.Size(),
			Blob: object.BlobKey(sum), ContentType: "text/plain", Modified: time.Unix(1_800_000_000, 0).UTC(),
		}
		put(p.Blob, body)
		if object.Chunks(p.Size) > 1 {
			put(object.TreeKey(p.Blob), tree.Encode())
		}
		version = object.VersionKey(p.Site, p.Path, p.Version)
		put(version, object.MarshalPointer(&p))
		return p.Blob, version
	}
	r, err := origin.NewReader(s.Config())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	look := func() map[string]s3Finding {
		a := &app{ctx: t.Context(), stdout: io.Discard}
		d := &s3Doctor{doctorS3Cmd: &doctorS3Cmd{Contents: 100}, a: a, reader: r}
		d.foreign()
		found := map[string]s3Finding{}
		for _, f := range d.all {
			found[f.Check] = f
		}
		return found
	}
	publish("/well", []byte("well"))
	publish("/well-and-large", bytes.Repeat([]byte("large "), 400_000))
	for check, f := range look() {
		if !f.OK {
			t.Errorf("%s, of what is well: %s", check, f.Detail)
		}
	}
	overwritten, refers := publish("/overwritten", []byte("as it was published"))
	put(overwritten, []byte("as somebody else has it"))
	large, _ := publish("/of-another-tree", bytes.Repeat([]byte("tree "), 400_000))
	put(object.TreeKey(large), bytes.Repeat([]byte{1}, 64))
	_, moved := publish("/moved", []byte("moved"))
	b, err := readAll(t, r, moved)
	if err != nil {
		t.Fatal(err)
	}
	under := object.VersionKey("www", "/elsewhere", object.NextVersion(time.Unix(1_800_000_000, 0), 1, ""))
	put(under, b)
	put("b/not-a-hash", []byte("twelve bytes"))
	got := look()
	for check, want := range map[string][]string{
		"contents of blobs":   {"1 are not what they should be", string(overwritten)},
		"hash trees":          {"1 are not what they should be", string(object.TreeKey(large))},
		"records of versions": {"3 are not what they should be", string(refers), string(under), string(overwritten)},
		"foreign keys":        {"1 with 12 B below Perigee's own prefixes: b/not-a-hash"},
	} {
		f := got[check]
		for _, w := range want {
			if f.OK || !strings.Contains(f.Detail, w) {
				t.Errorf("%s: no %q in %q", check, w, f.Detail)
			}
		}
	}
}

func readAll(t *testing.T, r *origin.Reader, k object.Key) ([]byte, error) {
	t.Helper()
	body, _, err := r.Get(t.Context(), k, origin.GetOptions{})
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(body)
}
