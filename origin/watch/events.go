package watch

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"perigee/object"
)

// MaxEvents is how many events one message may have, MaxMessage its size in bytes.
const (
	MaxEvents  = 1000
	MaxMessage = 1 << 20
)

// Event names an object that may have changed. It is a hint: what happened to it is not read.
type Event struct {
	Bucket string
	// Key is as it was sent. Some stores escape it as in a query (RFC 1866 §8.2.1), some do not, and nothing tells which.
	Key string
}

// Message is what a store, or something between, posts.
type Message struct {
	Events []Event
	// Confirm is an address that a person has to open for notifications to begin: SNS asks for that once.
	Confirm string
}

// record is an event of S3, as AWS, MinIO, Ceph and versitygw write it.
type record struct {
	S3 struct {
		Bucket struct {
			Name string `json:"name"`
		} `json:"bucket"`
		Object struct {
			Key string `json:"key"`
		} `json:"object"`
	} `json:"s3"`
}

// envelope is everything that a message may be.
type envelope struct {
	Records []record `json:"Records"`

	// SNS
	Type         string          `json:"Type"`
	Message      json.RawMessage `json:"Message"`
	SubscribeURL string          `json:"SubscribeURL"`

	// EventBridge, whose keys are never escaped
	DetailType string `json:"detail-type"`
	Detail     struct {
		Bucket struct {
			Name string `json:"name"`
		} `json:"bucket"`
		Object struct {
			Key string `json:"key"`
		} `json:"object"`
	} `json:"detail"`

	// The test that S3 sends when notifications are set up
	Event string `json:"Event"`
}

// ParseEvents reads a message: S3 event records, alone or within a message of SNS, or an event of EventBridge. One without an object, such as a
// test, has no events and is no error. An error wraps object.ErrInvalid.
func ParseEvents(b []byte) (Message, error) { return parseEvents(b, 0) }

// maxNesting is how deep messages may lie in messages: SNS may carry what EventBridge carries.
const maxNesting = 3

func parseEvents(b []byte, depth int) (Message, error) {
	var m Message
	if len(b) > MaxMessage {
		return m, fmt.Errorf("events: %w: the message has more than %d bytes", object.ErrInvalid, MaxMessage)
	}
	if depth > maxNesting {
		return m, fmt.Errorf("events: %w: messages lie in messages more than %d deep", object.ErrInvalid, maxNesting)
	}
	var e envelope
	if err := json.Unmarshal(b, &e); err != nil {
		return m, fmt.Errorf("events: %w: this is no JSON of S3 events: %v", object.ErrInvalid, err)
	}
	switch {
	case e.Type == "SubscriptionConfirmation":
		m.Confirm = e.SubscribeURL
		return m, nil
	case len(e.Message) > 0:
		inner := []byte(e.Message)
		var text string
		if json.Unmarshal(inner, &text) == nil {
			inner = []byte(text)
		}
		if len(inner) == 0 || inner[0] != '{' { // words for people
			return m, nil
		}
		return parseEvents(inner, depth+1)
	}
	if e.Detail.Object.Key != "" {
		m.add(e.Detail.Bucket.Name, e.Detail.Object.Key)
	}
	if len(e.Records) > MaxEvents {
		return m, fmt.Errorf("events: %w: %d records in one message, the limit is %d", object.ErrInvalid, len(e.Records), MaxEvents)
	}
	for _, r := range e.Records {
		m.add(r.S3.Bucket.Name, r.S3.Object.Key)
	}
	return m, nil
}

// add takes in an event that names an object.
func (m *Message) add(bucket, key string) {
	if bucket != "" && key != "" && len(key) <= 3*object.MaxKey {
		m.Events = append(m.Events, Event{bucket, key})
	}
}

// keys are the objects that an event may mean: more than one, if its key can be read in several ways. To look at one too many costs a request.
func (e Event) keys() []object.Key {
	var keys []object.Key
	add := func(s string, err error) {
		if k := object.Key(s); err == nil && utf8.ValidString(s) && len(s) <= object.MaxKey && !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	add(e.Key, nil)
	if strings.ContainsAny(e.Key, "%+") {
		add(url.QueryUnescape(e.Key))
		add(url.PathUnescape(e.Key))
	}
	return keys
}
