package miniotest

import (
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/notification"
)

// Notify has the server post every write and removal of an object of Bucket below prefix to the webhook of Options. MinIO refuses
// while nobody listens there, unless the events are queued.
func (s *Server) Notify(t testing.TB, prefix string) {
	t.Helper()
	c, err := minio.New(s.addr, &minio.Options{Creds: credentials.NewStaticV4(RootAccess, RootSecret, "")})
	if err != nil {
		t.Fatal(err)
	}
	arn, err := notification.NewArnFromString(WebhookARN)
	if err != nil {
		t.Fatal(err)
	}
	queue := notification.NewConfig(arn)
	queue.AddEvents(notification.ObjectCreatedAll, notification.ObjectRemovedAll)
	if prefix != "" {
		queue.AddFilterPrefix(prefix)
	}
	var cfg notification.Configuration
	cfg.AddQueue(queue)
	if err := c.SetBucketNotification(t.Context(), Bucket, cfg); err != nil {
		t.Fatalf("notifications of MinIO: %s", strings.TrimSpace(err.Error()))
	}
}
