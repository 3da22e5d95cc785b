package e2e

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"perigee/config"
	"perigee/origin"
)

// TestBucketSite: the program as it is. A bucket site is made, another tool writes, and every edge has it; the API refuses uploads to it.
func TestBucketSite(t *testing.T) {
	s := up(t)
	post := func(body string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(within(t, long), http.MethodPost, s.URL("/api/v1/sites"), strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		a, err := do(http.DefaultClient, req)
		if err != nil {
			t.Fatal(err)
		}
		return a.Status
	}
	for body, want := range map[string]int{
		`{"site":"bad","kind":"bucket","bucket":{"prefix":"p/"}}`:                                            400,
		`{"site":"bad","kind":"bucket","bucket":{"store":"nowhere","prefix":"media/"}}`:                      400,
		`{"site":"media","kind":"bucket","hosts":["media.perigee.test"],"bucket":{"prefix":"media files/"}}`: 201,
	} {
		if status := post(body); status != want {
			t.Fatalf("%s: %d", body, status)
		}
	}
	secrets, err := config.Secrets(s.Dir)
	if err != nil {
		t.Fatal(err)
	}
	w, err := origin.NewWriter(t.Context(), origin.Config{
		Endpoint: "http://" + s.S3, Bucket: "perigee", AccessKey: secrets.AccessKey, SecretKey: secrets.SecretKey, PathStyle: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	seen := func(what, body string) {
		t.Helper()
		for name, addr := range s.Edges {
			err := s.await(within(t, long), what+" at "+name, func() bool {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/a.txt", nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Host = "media.perigee.test"
				a, err := do(http.DefaultClient, req)
				return err == nil && (body == "" && a.Status == 404 || body != "" && a.Status == 200 && string(a.Body) == body)
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	seen("nothing", "")
	for i := range 3 {
		body := fmt.Sprint("state ", i)
		if _, err := w.Put(t.Context(), "media files/a.txt", []byte(body), origin.PutOptions{ContentType: "text/plain"}); err != nil {
			t.Fatal(err)
		}
		seen(body, body)
	}
	if out, err := s.Perigee(within(t, long), "watches"); err != nil || !strings.Contains(out, "media") || !strings.Contains(out, "storage") {
		t.Errorf("watches: %s, %v", out, err)
	}
	if out, err := s.Perigee(within(t, long), "doctor"); !strings.Contains(out, "site media") {
		t.Errorf("doctor: %s, %v", out, err)
	}
	if out, err := s.Perigee(within(t, long), "ls", "media:/"); err != nil || !strings.Contains(out, "/a.txt") {
		t.Errorf("ls: %s, %v", out, err)
	}
	if out, err := s.Perigee(within(t, long), "put", filepath.Join("testdata", ".."), "media:/x"); err == nil {
		t.Errorf("put: %s", out)
	}
	if err := w.Delete(t.Context(), "media files/a.txt"); err != nil {
		t.Fatal(err)
	}
	seen("the end", "")
}
