package miniotest

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"perigee/origin"
)

// TestServer puts an object, loses the server to kill -9, and finds the object again.
func TestServer(t *testing.T) {
	s := Start(t, Options{})
	w, err := origin.NewWriter(t.Context(), s.Config())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := w.Put(t.Context(), "b/x", []byte("kept"), origin.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	s.Kill(t)
	if _, err := w.Put(t.Context(), "b/y", nil, origin.PutOptions{}); !errors.Is(err, origin.ErrUnavailable) {
		t.Fatalf("a put to a server that was killed: %v", err)
	}
	s.Restart(t)
	r, err := origin.NewReader(s.Config())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	body, _, err := r.Get(t.Context(), "b/x", origin.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if got, err := io.ReadAll(body); err != nil || string(got) != "kept" {
		t.Fatalf("read %q, %v", got, err)
	}
}

// TestWebhook hears of an object below the prefix, and of none beside it.
func TestWebhook(t *testing.T) {
	type event struct {
		EventName string
		Key       string
		token     string
	}
	events := make(chan event, 10)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var e event
		if json.NewDecoder(r.Body).Decode(&e) != nil {
			return // MinIO asks whether somebody listens
		}
		e.token = r.Header.Get("Authorization")
		events <- e
	}))
	defer hook.Close()
	s := Start(t, Options{Webhook: hook.URL, WebhookToken: "secret"})
	s.Notify(t, "site/")
	w, err := origin.NewWriter(t.Context(), s.Config())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := w.Put(t.Context(), "other/x", nil, origin.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Put(t.Context(), "site/x", nil, origin.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := w.Delete(t.Context(), "site/x"); err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{"s3:ObjectCreated:Put": true, "s3:ObjectRemoved:Delete": true} // in any order
	for len(want) > 0 {
		e := <-events
		if !want[e.EventName] || e.Key != Bucket+"/site/x" || e.token != "Bearer secret" {
			t.Fatalf("event %+v, awaited are %v", e, want)
		}
		delete(want, e.EventName)
	}
}
