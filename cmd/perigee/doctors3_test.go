package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

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
