package embedded

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/gofiber/fiber/v3"
	"github.com/versity/versitygw/s3event"
	"github.com/versity/versitygw/s3response"
)

// Event names an object that was written or deleted. Key may be escaped as in a URL.
type Event struct {
	Bucket string `json:"bucket"`
	Key    string `json:"key"`
}

// maxDeleted bounds the body of a request that deletes many objects: 1,000 of them (S3), keys in XML.
const maxDeleted = 8 << 20

// sender gives the server's events to notify.
type sender struct{ notify func(Event) }

// SendEvent implements s3event.S3EventSender.
func (s sender) SendEvent(c fiber.Ctx, meta s3event.EventMeta) {
	kind := string(meta.EventName)
	if !strings.HasPrefix(kind, "s3:ObjectCreated:") && !strings.HasPrefix(kind, "s3:ObjectRemoved:") {
		return
	}
	// What is sent outlives the request, whose memory the server uses again.
	bucket, key, _ := strings.Cut(strings.TrimPrefix(strings.Clone(c.Path()), "/"), "/")
	if meta.EventName != s3event.EventObjectRemovedDeleteObjects {
		s.send(bucket, key)
		return
	}
	var list s3response.DeleteObjects
	if body := c.BodyRaw(); len(body) > maxDeleted || xml.Unmarshal(body, &list) != nil {
		return
	}
	for _, o := range list.Objects {
		if o.Key != nil {
			s.send(bucket, strings.Clone(*o.Key))
		}
	}
}

// send leaves out what is Perigee's own: names of one letter at the top of the bucket.
func (s sender) send(bucket, key string) {
	if key != "" && strings.IndexByte(key, '/') != 1 {
		s.notify(Event{bucket, key})
	}
}

// Close implements s3event.S3EventSender.
func (sender) Close() error { return nil }

// events returns the sender of cfg, or nil, which the server knows for none.
func (c Config) events() s3event.S3EventSender {
	if c.Notify == nil {
		return nil
	}
	return sender{c.Notify}
}

// sayEvent begins the line by which a child tells its parent of an event.
const sayEvent = "event "

// tell returns a Notify that writes lines to w.
func tell(w io.Writer) func(Event) {
	var mu sync.Mutex
	return func(e Event) {
		b, err := json.Marshal(e)
		if err != nil {
			return // bytes that are no text; a listing finds the object
		}
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(w, "%s%s\n", sayEvent, b)
	}
}

// parseEvent reads a line of tell's.
func parseEvent(line string) (e Event, ok bool) {
	rest, ok := strings.CutPrefix(line, sayEvent)
	if !ok {
		return e, false
	}
	dec := json.NewDecoder(bytes.NewReader([]byte(rest)))
	return e, dec.Decode(&e) == nil && e.Key != ""
}
