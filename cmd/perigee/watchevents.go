package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"perigee/origin/embedded"
	"perigee/origin/watch"
)

// storageEvents carries events of the embedded server, which must not wait, to the watcher.
type storageEvents struct{ queue chan embedded.Event }

// storageQueue is how many events may wait. What does not fit is found by the next listing.
const storageQueue = 16_384

func newStorageEvents() *storageEvents {
	return &storageEvents{make(chan embedded.Event, storageQueue)}
}

// notify takes in an event. It does not block.
func (s *storageEvents) notify(e embedded.Event) {
	select {
	case s.queue <- e:
	default:
	}
}

// run gives events to the watcher until ctx ends, several at a time.
func (s *storageEvents) run(ctx context.Context, take func(context.Context, string, []watch.Event) (int, error), r *role) error {
	for {
		var batch []watch.Event
		select {
		case e := <-s.queue:
			batch = append(batch, watch.Event(e))
		case <-ctx.Done():
			return nil
		}
		for more := true; more && len(batch) < watch.MaxEvents; {
			select {
			case e := <-s.queue:
				batch = append(batch, watch.Event(e))
			default:
				more = false
			}
		}
		for pause := 100 * time.Millisecond; ctx.Err() == nil; pause = min(2*pause, 5*time.Second) {
			_, err := take(ctx, watch.SourceStorage, batch)
			if err == nil || ctx.Err() != nil {
				break
			}
			r.log.Debug("events of the storage are taken again", "events", len(batch), "err", err)
			t := r.clock.NewTimer(pause)
			select {
			case <-t.C():
			case <-ctx.Done():
				t.Stop()
			}
		}
	}
}

// post gives events to the API at an address until ctx ends: for a server that runs alone.
func (s *storageEvents) post(ctx context.Context, address, secret string, r *role) error {
	client := &http.Client{Timeout: 40 * time.Second}
	return s.run(ctx, func(ctx context.Context, _ string, events []watch.Event) (int, error) {
		type named struct {
			Name string `json:"name,omitempty"`
			Key  string `json:"key,omitempty"`
		}
		type record struct {
			S3 struct {
				Bucket named `json:"bucket"`
				Object named `json:"object"`
			} `json:"s3"`
		}
		var m struct{ Records []record }
		for _, e := range events {
			var rec record
			rec.S3.Bucket.Name, rec.S3.Object.Key = e.Bucket, e.Key
			m.Records = append(m.Records, rec)
		}
		b, err := json.Marshal(m)
		if err != nil {
			return 0, err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(b))
		if err != nil {
			return 0, err
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+secret)
		res, err := client.Do(req)
		if err != nil {
			return 0, err
		}
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return 0, fmt.Errorf("post events of the storage: HTTP %d", res.StatusCode)
		}
		return len(events), nil
	}, r)
}
