package origin_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"

	"perigee/clock"
	"perigee/object"
	"perigee/origin"
	"perigee/origin/miniotest"
)

func halves(t *testing.T, cfg origin.Config) (*origin.Reader, *origin.Writer) {
	t.Helper()
	r, err := origin.NewReader(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	w, err := origin.NewWriter(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return r, w
}

// TestStoreKilledMidUpload: kill -9 of the store while parts are on their way loses none that was acknowledged, and the upload goes on.
func TestStoreKilledMidUpload(t *testing.T) {
	s := miniotest.Start(t, miniotest.Options{})
	r, w := halves(t, s.Config())
	const key object.Key = "u/00000000000000000000000000000001"
	bodies := [][]byte{bytes.Repeat([]byte("one "), origin.MinPart/4), bytes.Repeat([]byte("two "), 4*origin.MinPart), []byte("three")}
	id, err := w.Create(t.Context(), key, "")
	if err != nil {
		t.Fatal(err)
	}
	first, err := w.Part(t.Context(), key, id, 1, bodies[0])
	if err != nil {
		t.Fatal(err)
	}
	second := make(chan error, 1)
	go func() {
		_, err := w.Part(t.Context(), key, id, 2, bodies[1])
		second <- err
	}()
	s.Kill(t)
	broken := <-second
	if broken != nil && !errors.Is(broken, origin.ErrUnavailable) {
		t.Fatalf("a part whose store was killed: %v", broken)
	}
	s.Restart(t)
	parts, err := w.ListParts(t.Context(), key, id)
	if err != nil || len(parts) == 0 || parts[0].ETag != first.ETag {
		t.Fatalf("after the restart there are %+v, %v", parts, err)
	}
	if broken == nil && len(parts) != 2 {
		t.Fatal("a part that was acknowledged is gone")
	}
	parts = parts[:1]
	for i, body := range bodies[1:] {
		p, err := w.Part(t.Context(), key, id, i+2, body)
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, p)
	}
	if _, err := w.Complete(t.Context(), key, id, parts); err != nil {
		t.Fatal(err)
	}
	body, _, err := r.Get(t.Context(), key, origin.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, bytes.Join(bodies, nil)) {
		t.Fatalf("the object has %d bytes, %v", len(got), err)
	}
}

// TestStoreHangs: a store that keeps its connections and says nothing is a timeout, and serves again when it goes on.
func TestStoreHangs(t *testing.T) {
	s := miniotest.Start(t, miniotest.Options{})
	cfg := s.Config()
	cfg.Silence, cfg.MaxRetries = time.Second, -1
	r, w := halves(t, cfg)
	if _, err := w.Put(t.Context(), "b/x", []byte("x"), origin.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	s.Pause(t)
	if _, err := w.Put(t.Context(), "b/y", []byte("y"), origin.PutOptions{}); !errors.Is(err, origin.ErrTimeout) {
		t.Errorf("put: %v", err)
	}
	if _, err := r.Head(t.Context(), "b/x"); !errors.Is(err, origin.ErrTimeout) {
		t.Errorf("head: %v", err)
	}
	s.Resume(t)
	_, patient := halves(t, s.Config())
	if _, err := patient.Put(t.Context(), "b/y", []byte("y"), origin.PutOptions{}); err != nil {
		t.Error(err)
	}
}

// TestReadOnlyKey has temporary keys from MinIO's own token service, which may only read, by AWS's chain: what an edge is given.
func TestReadOnlyKey(t *testing.T) {
	s := miniotest.Start(t, miniotest.Options{})
	_, root := halves(t, s.Config())
	if _, err := root.Put(t.Context(), "b/x", []byte("x"), origin.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	sts, err := credentials.NewSTSAssumeRole(s.Endpoint(), credentials.STSAssumeRoleOptions{
		AccessKey: miniotest.RootAccess, SecretKey: miniotest.RootSecret,
		Policy: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetObject","s3:ListBucket"],"Resource":["arn:aws:s3:::` +
			miniotest.Bucket + `","arn:aws:s3:::` + miniotest.Bucket + `/*"]}]}`,
	})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := sts.GetWithContext(nil)
	if err != nil {
		t.Fatal(err)
	}
	if keys.SessionToken == "" {
		t.Fatal("the keys are not temporary")
	}
	bareEnvironment(t)
	t.Setenv("AWS_ACCESS_KEY_ID", keys.AccessKeyID)
	t.Setenv("AWS_SECRET_ACCESS_KEY", keys.SecretAccessKey)
	t.Setenv("AWS_SESSION_TOKEN", keys.SessionToken)
	cfg := s.Config()
	cfg.AccessKey, cfg.SecretKey = "", ""
	r, w := halves(t, cfg)
	if err := r.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if info, err := r.Head(t.Context(), "b/x"); err != nil || info.Size != 1 {
		t.Errorf("head: %+v, %v", info, err)
	}
	for info, err := range r.List(t.Context(), "b/") {
		if err != nil || info.Key != "b/x" {
			t.Errorf("list: %+v, %v", info, err)
		}
	}
	_, put := w.Put(t.Context(), "b/x", []byte("y"), origin.PutOptions{})
	_, conditional := w.Put(t.Context(), "b/y", []byte("y"), origin.PutOptions{IfNoneMatch: true})
	_, create := w.Create(t.Context(), "u/x", "")
	for what, err := range map[string]error{"put": put, "conditional put": conditional, "create": create, "delete": w.Delete(t.Context(), "b/x")} {
		if !errors.Is(err, origin.ErrDenied) {
			t.Errorf("%s with a key that may only read: %v", what, err)
		}
	}
}

// TestPresignedURLExpires: a URL stores its part while it is good, and nothing afterwards.
func TestPresignedURLExpires(t *testing.T) {
	s := miniotest.Start(t, miniotest.Options{})
	_, w := halves(t, s.Config())
	p, err := w.Presigner(s.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	const key object.Key = "u/00000000000000000000000000000002"
	id, err := p.Create(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	put := func(lasts time.Duration) func() (status int, body string) {
		url, err := p.Part(t.Context(), key, id, 1, 5, lasts)
		if err != nil {
			t.Fatal(err)
		}
		return func() (int, string) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url, strings.NewReader("hello"))
			if err != nil {
				t.Fatal(err)
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			b, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			return res.StatusCode, string(b)
		}
	}
	if status, body := put(time.Hour)(); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
	tick := clock.System.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for short := put(time.Second); ; <-tick.C() {
		status, body := short()
		if status == http.StatusOK {
			continue // a second has not passed for the server
		}
		if status != http.StatusForbidden || !strings.Contains(body, "expired") {
			t.Errorf("after its time: %d %s", status, body)
		}
		break
	}
}
