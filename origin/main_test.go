package origin_test

import (
	"bytes"
	"io"
	"os"
	"testing"

	"perigee/object"
	"perigee/origin"
	"perigee/origin/miniotest"
	"perigee/origin/origintest"
)

func TestMain(m *testing.M) { origintest.Main(m) }

// TestEmbedded runs the suite against the embedded server, which keeps objects as files and so has the limits of file names.
func TestEmbedded(t *testing.T) {
	s := origintest.Start(t)
	origintest.Test(t, func(*testing.T) origin.Config { return s.Config() },
		"keys with a very long element", "a key and keys below it", "keys with an empty element")
}

// TestMinIO runs it against an S3 of another make.
func TestMinIO(t *testing.T) {
	s := miniotest.Start(t, miniotest.Options{})
	origintest.Test(t, func(*testing.T) origin.Config { return s.Config() },
		"keys with a very long element", "keys with an empty element")
}

// TestChecksumsRequired writes in both ways with the fewest checksums, as stores need it that refuse the newer ones.
func TestChecksumsRequired(t *testing.T) {
	s := origintest.Start(t)
	cfg := s.Config()
	cfg.Checksums = origin.ChecksumsRequired
	w, err := origin.NewWriter(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	r, err := origin.NewReader(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	body := bytes.Repeat([]byte("0123456789abcdef"), origin.MinPart/16)
	if _, err := w.Put(t.Context(), "b/x", body, origin.PutOptions{IfNoneMatch: true}); err != nil {
		t.Fatal(err)
	}
	id, err := w.Create(t.Context(), "u/x", "")
	if err != nil {
		t.Fatal(err)
	}
	var parts []origin.Part
	for n := 1; n <= 2; n++ {
		p, err := w.Part(t.Context(), "u/x", id, n, body)
		if err != nil || p.Checksum != "" {
			t.Fatalf("part %+v, %v", p, err)
		}
		parts = append(parts, p)
	}
	if _, err := w.Complete(t.Context(), "u/x", id, parts); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[object.Key][]byte{"b/x": body, "u/x": append(body, body...)} {
		stored, _, err := r.Get(t.Context(), key, origin.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(stored)
		stored.Close()
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%s has %d bytes, %v", key, len(got), err)
		}
	}
}

// TestExternal runs the suite against the S3 that the environment names, to see that configuration alone changes stores. Its
// account must be allowed to create buckets.
func TestExternal(t *testing.T) {
	endpoint := os.Getenv("TEST_S3_ENDPOINT")
	if endpoint == "" {
		t.Skip("TEST_S3_ENDPOINT, TEST_S3_ACCESS_KEY and TEST_S3_SECRET_KEY name no S3 to test")
	}
	origintest.Test(t, func(*testing.T) origin.Config {
		return origin.Config{
			Endpoint:  endpoint,
			AccessKey: os.Getenv("TEST_S3_ACCESS_KEY"),
			SecretKey: os.Getenv("TEST_S3_SECRET_KEY"),
			PathStyle: true,
		}
	})
}
