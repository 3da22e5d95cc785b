package pull

import (
	"encoding/binary"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"

	"perigee/edge/cache/store"
	"perigee/edge/pull/rfc9111"
	"perigee/object"
)

// chunkSize is the size of a chunk in bytes: that of the engine.
const chunkSize = object.ChunkSize

// maxSpecs is how many different Vary fields of one key are remembered, the newest first.
const maxSpecs = 8

// keyRecord is what is known of a key, beside its responses. Most keys have none.
type keyRecord struct {
	// Specs are the lists of fields that have selected responses, beside the empty one.
	Specs [][]string `json:"v,omitempty"`
	// Gone is the stamp of the last invalidation: responses of requests with an earlier one are not used any more.
	Gone int64 `json:"g,omitempty"`
}

func (c *Cache) keyRecord(key string) (r keyRecord) {
	k := recordKey(kindVary, key)
	ref, ok := c.records.Find(k)
	if !ok {
		return keyRecord{}
	}
	if r, ok = c.known.get(k, ref); ok {
		return r
	}
	rec, err := c.records.Read(k, ref, nil)
	if err != nil || json.Unmarshal(rec.Meta, &r) != nil {
		return keyRecord{}
	}
	c.known.put(k, ref, r, len(rec.Meta))
	return r
}

// changeKey changes the record of a key, one change at a time.
func (c *Cache) changeKey(key string, change func(r *keyRecord)) {
	c.keys.Lock()
	defer c.keys.Unlock()
	r := c.keyRecord(key)
	r.Specs = slices.Clone(r.Specs) // what is remembered is shared
	change(&r)
	k := recordKey(kindVary, key)
	b, err := json.Marshal(r)
	if err == nil {
		_, err = c.records.Put(store.Names, k, b, nil)
	}
	c.known.forget(k)
	if err != nil {
		c.log.Warn("what a key's responses depend on could not be written", "err", err)
	}
}

// rememberSpec notes that fields select responses of a key.
func (c *Cache) rememberSpec(key string, vary []string) {
	if len(vary) == 0 {
		return
	}
	if list := c.keyRecord(key).Specs; len(list) > 0 && slices.Equal(list[0], vary) {
		return
	}
	c.changeKey(key, func(r *keyRecord) {
		r.Specs = slices.DeleteFunc(r.Specs, func(s []string) bool { return slices.Equal(s, vary) })
		r.Specs = append([][]string{vary}, r.Specs...)
		r.Specs = r.Specs[:min(len(r.Specs), maxSpecs)]
	})
}

// forget makes every stored response of a key, and those on their way, unusable.
func (c *Cache) forget(key string) {
	now := c.stamp()
	c.changeKey(key, func(r *keyRecord) { r.Gone = now })
}

// selectHead returns the newest stored response that a request selects (RFC 9111 §4.1). why says what stands against it, or why there is none.
func (c *Cache) selectHead(key string, q http.Header) (best *head, why Reason) {
	r := c.keyRecord(key)
	why = ReasonAbsent
	if len(r.Specs) > 0 {
		why = ReasonVariant
	}
	for _, vary := range append(r.Specs[:len(r.Specs):len(r.Specs)], nil) {
		h := c.loadHead(key, vary, rfc9111.Selecting(vary, q))
		switch {
		case h == nil:
		case h.stamp <= r.Gone || c.groupGone(h):
			why = ReasonInvalidated
		case best == nil || h.date().After(best.date()):
			best = h
		}
	}
	return best, why
}

// loadHead reads a stored response, nil if there is none.
func (c *Cache) loadHead(key string, vary []string, selecting string) *head {
	k := headKey(key, vary, selecting)
	ref, ok := c.records.Find(k)
	if !ok {
		return nil
	}
	h, ok := c.heads.get(k, ref)
	if !ok {
		rec, err := c.records.Read(k, ref, nil)
		if err != nil {
			return nil
		}
		if h, err = decodeHead(rec.Meta); err != nil {
			return nil
		}
		c.heads.put(k, ref, h, len(rec.Meta))
	}
	if h.key != key || h.selecting != selecting || !slices.Equal(h.vary, vary) {
		return nil
	}
	return h
}

// keep writes a head. An error means that nothing, not even what was there before, can be relied on, and the old one is dropped.
func (c *Cache) keep(h *head) bool {
	k := h.recordKey()
	_, err := c.records.Put(store.Names, k, h.encode(), nil)
	c.heads.forget(k)
	if err != nil {
		c.drop(h)
		return false
	}
	c.rememberSpec(h.key, h.vary)
	return true
}

// drop forgets a head.
func (c *Cache) drop(h *head) {
	k := h.recordKey()
	if ref, ok := c.records.Find(k); ok {
		c.records.Drop(k, ref)
	}
}

// labelSize is the length of the meta part of a chunk: content, number, first byte within the chunk.
const labelSize = 16 + 8 + 4

func chunkLabel(id contentID, i int64, from int) []byte {
	b := make([]byte, 0, labelSize)
	b = append(b, id[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(i))
	return binary.BigEndian.AppendUint32(b, uint32(from))
}

// labelStart returns where in its chunk the bytes of a record begin; false if it is the record of something else.
func labelStart(label []byte, id contentID, i int64) (from int64, ok bool) {
	if len(label) != labelSize || contentID(label[:16]) != id || binary.BigEndian.Uint64(label[16:]) != uint64(i) {
		return 0, false
	}
	return int64(binary.BigEndian.Uint32(label[24:])), true
}

// keepChunk writes bytes of chunk i, from from on, and joins them with what is there if they touch.
func (c *Cache) keepChunk(id contentID, i, from int64, b []byte) error {
	if from > 0 || len(b) < chunkSize {
		from, b = c.joined(id, i, from, b)
	}
	_, err := c.records.Put(store.Bodies, id.chunk(i), chunkLabel(id, i, int(from)), b)
	return err
}

// joined returns the bytes of a chunk together with those that are stored, if they overlap or touch.
func (c *Cache) joined(id contentID, i, from int64, b []byte) (int64, []byte) {
	k := id.chunk(i)
	ref, ok := c.records.Find(k)
	if !ok {
		return from, b
	}
	rec, err := c.records.Read(k, ref, nil)
	if err != nil {
		return from, b
	}
	at, ok := labelStart(rec.Meta, id, i)
	end, to := at+int64(len(rec.Body)), from+int64(len(b))
	if !ok || end < from || at > to {
		return from, b
	}
	start := min(at, from)
	whole := make([]byte, max(end, to)-start)
	copy(whole[at-start:], rec.Body)
	copy(whole[from-start:], b)
	return start, whole
}

// span is a run of bytes of a content, from from up to to.
type span struct{ from, to int64 }

// heldIn returns which bytes of a chunk are held.
func (c *Cache) heldIn(h *head, i int64) span {
	start := i * chunkSize
	k := h.id.chunk(i)
	ref, ok := c.records.Find(k)
	if !ok {
		return span{}
	}
	if h.whole {
		return span{start, min(start+chunkSize, h.size)}
	}
	rec, err := c.records.Read(k, ref, nil)
	if err != nil {
		return span{}
	}
	from, ok := labelStart(rec.Meta, h.id, i)
	if !ok {
		return span{}
	}
	return span{start + from, start + from + int64(len(rec.Body))}
}

// maxLook bounds how many chunks of an answer are looked up before it begins: 1 GiB.
const maxLook = 1024

// gap returns the bytes of want that must be fetched, from the first missing one to the last; empty if none is missing.
func (c *Cache) gap(h *head, want span) (missing span) {
	at := want.from
	for i := want.from / chunkSize; at < want.to; i++ {
		end := min((i+1)*chunkSize, want.to)
		held := c.heldIn(h, i)
		if i-want.from/chunkSize >= maxLook {
			held = span{at, end} // it shows when it is read
		}
		if held.from > at || held.to < end {
			first := at
			if held.from <= at && held.to > at {
				first = held.to
			}
			last := end
			if held.to >= end && held.from > at {
				last = min(held.from, end)
			}
			if missing.to == 0 {
				missing.from = first
			}
			missing.to = last
		}
		at = end
	}
	return missing
}

// groupKey is the key under which the invalidation of a group (RFC 9875) is remembered; groups are of one origin.
func groupKey(u *url.URL, group string) string { return u.Scheme + "://" + u.Host + " group " + group }

// groupGone reports whether a group of h was invalidated since.
func (c *Cache) groupGone(h *head) bool {
	for _, g := range h.tags {
		if u, err := url.Parse(h.key); err == nil && c.keyRecord(groupKey(u, g)).Gone >= h.stamp {
			return true
		}
	}
	return false
}
