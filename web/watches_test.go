package web

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"perigee/origin/watch"
)

// TestBucketEvents: who shows the secret has events recorded, and hears whether they were.
func TestBucketEvents(t *testing.T) {
	const secret = "0123456789abcdef"
	var taken []watch.Event
	var fails error
	h := NewBucketEvents(EventsConfig{Secret: secret, Log: slog.New(slog.DiscardHandler), Take: func(_ context.Context, source string, e []watch.Event) (int, error) {
		if source != watch.SourceWebhook {
			t.Errorf("source %q", source)
		}
		taken = append(taken, e...)
		return len(e), fails
	}})
	const message = `{"Records":[{"s3":{"bucket":{"name":"media"},"object":{"key":"a"}}}]}`
	basic := httptest.NewRequest("POST", "/", nil)
	basic.SetBasicAuth("anyone", secret)
	for _, c := range []struct {
		name, method, auth, body string
		err                      error
		status                   int
	}{
		{"bearer", "POST", "Bearer " + secret, message, nil, 200},
		{"basic", "POST", basic.Header.Get("Authorization"), message, nil, 200},
		{"no secret", "POST", "", message, nil, 401},
		{"an empty one", "POST", "Bearer ", message, nil, 401},
		{"another one", "POST", "Bearer 0123456789abcdeX", message, nil, 401},
		{"a longer one", "POST", "Bearer " + secret + "x", message, nil, 401},
		{"not posted", "GET", "Bearer " + secret, "", nil, 405},
		{"no events", "POST", "Bearer " + secret, "hello", nil, 400},
		{"too large", "POST", "Bearer " + secret, strings.Repeat(" ", watch.MaxMessage+1), nil, 413},
		{"not recorded", "POST", "Bearer " + secret, message, errors.New("the store is away"), 503},
	} {
		taken, fails = nil, c.err
		r := httptest.NewRequest(c.method, BucketEventsPath, strings.NewReader(c.body))
		if c.auth != "" {
			r.Header.Set("Authorization", c.auth)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.status {
			t.Errorf("%s: %d %s", c.name, w.Code, w.Body)
		}
		if worked := c.status == 200 || c.status == 503; worked != (len(taken) == 1) {
			t.Errorf("%s: %d events were taken", c.name, len(taken))
		}
		if c.status != 200 && w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %s", c.name, w.Header().Get("Content-Type"))
		}
		if (w.Header().Get("Retry-After") != "") != (c.status == 503) || (w.Header().Get("WWW-Authenticate") != "") != (c.status == 401) {
			t.Errorf("%s: header %v", c.name, w.Header())
		}
	}
	nobody := NewBucketEvents(EventsConfig{Log: slog.New(slog.DiscardHandler)})
	r := httptest.NewRequest("POST", BucketEventsPath, strings.NewReader(message))
	r.Header.Set("Authorization", "Bearer ")
	w := httptest.NewRecorder()
	nobody.ServeHTTP(w, r)
	if w.Code != http.StatusUnauthorized {
		t.Errorf("without a secret anybody is let in: %d", w.Code)
	}
}
