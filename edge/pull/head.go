package pull

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"perigee/edge/cache/store"
	"perigee/edge/pull/rfc9111"
)

// head is a stored response without its content. It is not changed once it is shared.
type head struct {
	key       string // the primary key, which the hash of the record cannot give back
	vary      []string
	selecting string // what the request had in these fields
	id        contentID
	status    int
	header    http.Header // as rfc9111.Kept leaves it, without Content-Length and Content-Range of a part
	requested time.Time
	received  time.Time
	size      int64 // of the whole content
	secret    bool  // the request that brought the content was authorized
	parts     bool  // made of parts alone: no response was a whole one
	whole     bool  // all of it was received; chunks may be gone since
	tags      []string
	ttl       *time.Duration // a rule's, in place of what the origin says
	stamp     int64          // when the origin was asked, by Cache.stamp
	at        uint64         // how far the log was then

	facts rfc9111.Facts
}

// wireHead is a head as it is written.
type wireHead struct {
	Key       string      `json:"k"`
	Vary      []string    `json:"v,omitempty"`
	Selecting string      `json:"s,omitempty"`
	ID        []byte      `json:"i"`
	Status    int         `json:"c"`
	Header    http.Header `json:"h"`
	Requested int64       `json:"q"` // Unix nanoseconds
	Received  int64       `json:"r"`
	Size      int64       `json:"n"`
	Whole     bool        `json:"w,omitempty"`
	Parts     bool        `json:"p,omitempty"`
	Secret    bool        `json:"z,omitempty"`
	TTL       *int64      `json:"l,omitempty"` // nanoseconds
	Stamp     int64       `json:"t"`
	At        uint64      `json:"a,omitempty"`
}

var errHead = errors.New("a stored head cannot be read")

// encode returns the record of h.
func (h *head) encode() []byte {
	b, err := json.Marshal(wireHead{
		h.key, h.vary, h.selecting, h.id[:], h.status, h.header, h.requested.UnixNano(), h.received.UnixNano(), h.size, h.whole, h.parts, h.secret, (*int64)(h.ttl), h.stamp, h.at,
	})
	if err != nil {
		panic("pull: a head always marshals: " + err.Error())
	}
	return b
}

// decodeHead reads a record that encode wrote.
func decodeHead(b []byte) (*head, error) {
	var w wireHead
	if err := json.Unmarshal(b, &w); err != nil || len(w.ID) != len(contentID{}) || w.Size < 0 || w.Status < 200 || w.Status > 999 || w.Header == nil {
		return nil, errHead
	}
	h := &head{
		key: w.Key, vary: w.Vary, selecting: w.Selecting, id: contentID(w.ID), status: w.Status, header: w.Header,
		requested: time.Unix(0, w.Requested), received: time.Unix(0, w.Received), size: w.Size, whole: w.Whole, parts: w.Parts, secret: w.Secret, ttl: (*time.Duration)(w.TTL), stamp: w.Stamp, at: w.At,
	}
	h.learn()
	return h, nil
}

// learn computes what follows from the fields.
func (h *head) learn() {
	h.facts = rfc9111.FactsOf(&rfc9111.Response{
		Method: http.MethodGet, Status: h.status, Header: h.header, Requested: h.requested, Received: h.received,
	})
	if h.ttl != nil {
		h.facts.Override(*h.ttl)
	}
	h.tags = rfc9111.CacheGroups(h.header)
}

// ruled notes a lifetime that a rule has given.
func (h *head) ruled(f *rfc9111.Facts) {
	if f.Overridden {
		h.ttl = &f.Lifetime
	}
}

// date is when the origin made the response, for choosing among several.
func (h *head) date() time.Time {
	if t, ok := rfc9111.ParseDate(h.header.Get("Date"), h.received); ok {
		return t
	}
	return h.received
}

// recordKey is where h lies.
func (h *head) recordKey() store.Key { return headKey(h.key, h.vary, h.selecting) }

func headKey(key string, vary []string, selecting string) store.Key {
	parts := append([]string{key, selecting}, vary...)
	return recordKey(kindHead, parts...)
}

// strong returns the strong validator of h, "" if it has none: an entity tag that is not weak, or a Last-Modified of at least a minute before Date
// (RFC 9110 §8.8.1, §8.8.2.2). It is the value of If-Range.
func (h *head) strong() string {
	if tag := h.header.Get("Etag"); tag != "" {
		if tag[0] == '"' {
			return tag
		}
		return ""
	}
	lm := h.header.Get("Last-Modified")
	modified, ok := rfc9111.ParseDate(lm, h.received)
	date, ok2 := rfc9111.ParseDate(h.header.Get("Date"), h.received)
	if ok && ok2 && date.Sub(modified) >= time.Minute {
		return lm
	}
	return ""
}

// ended returns h after its bytes from from up to to have come.
func (h *head) ended(from, to int64) *head {
	n := *h
	if n.size < 0 {
		n.size = to
	}
	n.whole = n.whole || from == 0 && to == n.size
	return &n
}

// with returns h with other fields, as they came at another time.
func (h *head) with(header http.Header, requested, received time.Time, stamp int64, at uint64) *head {
	n := *h
	n.header, n.requested, n.received, n.stamp, n.at = header, requested, received, stamp, at
	n.learn()
	return &n
}
