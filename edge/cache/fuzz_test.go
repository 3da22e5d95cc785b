package cache

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"reflect"
	"testing"

	"perigee/edge/cache/cachetest"
	"perigee/object"
	"perigee/purge"
)

// framed puts a body behind its length and checksum, so that the fuzzer gets past them.
func framed(body []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(body)))
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(body, castagnoli))
	return append(b, body...)
}

func FuzzJournal(f *testing.F) {
	pos := at(3)
	state := stateRecord{Seed: [2]uint64{1, 2}, Now: 5, Position: pos, Epochs: []epochRecord{{epochKey{purge.KindTag, "www", "t"}, marks{Soft: 1}}}}
	head := appendRecord(nil, &record{State: &state})
	for _, rec := range []*record{
		{Applied: &appliedRecord{purge.Entry{Format: 1, ID: "a", Kind: purge.KindSite, Site: "www"}, pos}},
		{State: &state},
		{Site: cachetest.Site("www", "www.example")},
		{Reset: &pos},
	} {
		f.Add(appendRecord(nil, rec)[8:], false)
		f.Add(appendRecord(nil, rec), true)
	}
	f.Add([]byte(`{"state":{}}`), false)
	f.Add([]byte(`{"applied":{}}`), false)
	f.Add([]byte{0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0}, true)
	f.Fuzz(func(t *testing.T, b []byte, raw bool) {
		if !raw {
			b = framed(b)
		}
		b = append(bytes.Clone(head), b...)
		k, size := replayed(t, b)
		if size < int64(len(head)) || size > int64(len(b)) {
			t.Fatalf("%d of %d bytes read", size, len(b))
		}
		// What was read is a state: read again, it is the same.
		if again, size2 := replayed(t, b[:size]); size2 != size || !reflect.DeepEqual(again, k) {
			t.Fatalf("read again it is %+v, not %+v", again, k)
		}
	})
}

// Any bytes are a name or none, and a name that was read is written as it was.
func FuzzDecodeName(f *testing.F) {
	data := []byte("content")
	plain := cachetest.Pointer("www", "/file", 1, data)
	tagged := cachetest.Pointer("www", "/a/b", 2, bytes.Repeat(data, 1<<18))
	tagged.Tags, tagged.ContentType, tagged.CacheControl = []object.Tag{"one", "two"}, "text/html", "max-age=5"
	tagged.Blob = object.UploadKey("00112233445566778899aabbccddeeff")
	for _, n := range []*storedName{
		{nameKey{site: "www", path: "/file"}, plain, 3, marks{1, 2}},
		{nameKey{"www", "/a/b", tagged.Version}, tagged, 1 << 40, marks{}},
		{nameKey{site: "www", path: "/gone"}, cachetest.Tombstone("www", "/gone", 3), 1, marks{Soft: 9}},
	} {
		b := appendName(nil, n)
		back, err := decodeName(b)
		if err != nil || !reflect.DeepEqual(back, n) {
			f.Fatalf("%+v (%v), want %+v; %+v, want %+v", back, err, n, back.pointer, n.pointer)
		}
		f.Add(b)
		for cut := range b {
			if _, err := decodeName(b[:cut]); err == nil {
				f.Fatalf("the first %d of %d bytes pass for a name", cut, len(b))
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := decodeName(b)
		if err != nil {
			return
		}
		again, err := decodeName(appendName(nil, n))
		if err != nil || !reflect.DeepEqual(again, n) {
			t.Fatalf("%+v (%v), was %+v", again, err, n)
		}
	})
}
