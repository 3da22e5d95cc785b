package bucketsites

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"perigee/origin"
	"perigee/origin/miniotest"
	"perigee/origin/watch"
	"perigee/web"
)

// TestMinIO: an S3 of another make, which posts its events as real ones do, to the route of the API.
func TestMinIO(t *testing.T) {
	const secret = "secret-of-the-webhook"
	var watcher atomic.Pointer[watch.Watcher]
	hook := httptest.NewServer(web.NewBucketEvents(web.EventsConfig{
		Secret: secret, Log: slog.New(slog.DiscardHandler),
		Take: func(ctx context.Context, source string, e []watch.Event) (int, error) {
			if w := watcher.Load(); w != nil {
				return w.Take(ctx, source, e)
			}
			return 0, errors.New("not yet")
		},
	}))
	defer hook.Close()
	s := miniotest.Start(t, miniotest.Options{Webhook: hook.URL + web.BucketEventsPath, WebhookToken: secret})
	cfg := s.Config()
	cfg.Bucket = miniotest.Bucket
	maker, err := origin.NewWriter(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer maker.Close()
	if err := maker.EnsureBucket(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, cfg, cfg, setup{poll: 3600})
	watcher.Store(w.watcher)
	s.Notify(t, prefix)
	w.everywhere("/a%20b+%C3%BC.txt", nil)
	for i := range 5 {
		body := fmt.Appendf(nil, "state %d", i)
		w.row("/a b+ü.txt", w.tool.Put(prefix+"a b+ü.txt", body))
		w.everywhere("/a%20b+%C3%BC.txt", body)
	}
	w.tool.Delete(prefix + "a b+ü.txt")
	w.row("/a b+ü.txt", "")
	w.everywhere("/a%20b+%C3%BC.txt", nil)
	if st := w.status(); st.Mode != watch.ModeWebhook || st.LastEvent.IsZero() {
		t.Errorf("status %+v", st)
	}
	t.Run("contract", func(t *testing.T) { contract(t, w) })
}
